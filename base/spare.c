#include "base/spare.h"

#include "base/assert.h"
#include "base/memory.h"

#include <string.h>

#ifdef __SANITIZE_ADDRESS__
#define KEEPS false
#else
#define KEEPS true
#endif

void *spare_take_kept(struct spare *spare)
{
	void *block = spare->first;

	ASSERT((block == NULL) == (spare->count == 0));
	if (block == NULL)
		return NULL;
	memcpy(&spare->first, block, sizeof spare->first);
	spare->count--;
	return block;
}

void *spare_take(struct spare *spare, size_t size)
{
	ASSERT(size >= sizeof spare->first && (spare->size == 0 || spare->size == size));
	spare->size = size;
	void *block = spare_take_kept(spare);

	return block != NULL ? block : memory_zeroed(1, size);
}

bool spare_give(struct spare *spare, void *block, uint32_t max)
{
	ASSERT(block != NULL && spare->size > 0);
	if (!KEEPS || spare->count >= max)
		return false;
	memcpy(block, &spare->first, sizeof spare->first);
	spare->first = block;
	spare->count++;
	return true;
}
