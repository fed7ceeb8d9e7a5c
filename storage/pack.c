#include "storage/pack.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/limits.h"
#include "base/memory.h"
#include "storage/command.h"

#include <errno.h>
#include <lz4.h>

/* Of LZ4: looks for repetitions a little less, and is nearly twice as fast for it. */
#define ACCELERATION 4

static_assert(LIMIT_ENTRY_BYTES_MAX <= LZ4_MAX_INPUT_SIZE, "any batch can be packed");
static_assert(PACK_HEADER_BYTES == COMMAND_HEADER_BYTES + 4, "a header, and one number");

void pack_init(struct pack *pack)
{
	*pack = (struct pack){0};
}

void pack_close(struct pack *pack)
{
	memory_free(pack->memory);
	pack_init(pack);
}

bool pack_wants(struct pack *pack, size_t size)
{
	if (size < PACK_BYTES_MIN)
		return false;
	if (pack->paused == 0)
		return true;
	pack->paused--;
	return false;
}

static void pause_more(struct pack *pack)
{
	pack->pause = pack->pause == 0 ? 1 : pack->pause * 2;
	if (pack->pause > PACK_PAUSE_MAX)
		pack->pause = PACK_PAUSE_MAX;
	pack->paused = pack->pause;
}

size_t pack_batch(struct pack *pack, struct span batch, uint8_t *into)
{
	ASSERT(batch.size >= PACK_BYTES_MIN && batch.size <= LIMIT_ENTRY_BYTES_MAX);
	ASSERT(batch.data[0] == COMMAND_BATCH);
	size_t items = batch.size - COMMAND_HEADER_BYTES;
	size_t room = batch.size - batch.size / 8 - PACK_HEADER_BYTES;

	if (pack->memory == NULL)
		pack->memory = memory_alloc((size_t)LZ4_sizeofState());
	int packed = LZ4_compress_fast_extState(
		pack->memory, (const char *)batch.data + COMMAND_HEADER_BYTES,
		(char *)into + PACK_HEADER_BYTES, (int)items, (int)room, ACCELERATION);

	if (packed <= 0) {
		pause_more(pack);
		return 0;
	}
	pack->pause = 0;
	memcpy(into, batch.data, COMMAND_HEADER_BYTES);
	into[0] = COMMAND_PACKED;
	bytes_set_le32(into + COMMAND_HEADER_BYTES, (uint32_t)items);
	return PACK_HEADER_BYTES + (size_t)packed;
}

bool pack_is_packed(struct span body)
{
	return body.size > 0 && body.data[0] == COMMAND_PACKED;
}

int pack_open(struct span body, uint8_t **batch, size_t *size, struct error *error)
{
	ASSERT(pack_is_packed(body));
	if (body.size < PACK_HEADER_BYTES || body.size > LIMIT_ENTRY_BYTES_MAX)
		return error_set(error, -EBADMSG, "command: %zu bytes cannot be a packed one",
				 body.size);
	uint32_t items = bytes_le32(body.data + COMMAND_HEADER_BYTES);

	if (items > LIMIT_ENTRY_BYTES_MAX - COMMAND_HEADER_BYTES)
		return error_set(error, -EBADMSG,
				 "command: packed items of %u bytes, at most %llu make an entry",
				 items, (unsigned long long)LIMIT_ENTRY_BYTES_MAX);
	uint8_t *opened = memory_alloc(COMMAND_HEADER_BYTES + items);
	int found = LZ4_decompress_safe((const char *)body.data + PACK_HEADER_BYTES,
					(char *)opened + COMMAND_HEADER_BYTES,
					(int)(body.size - PACK_HEADER_BYTES), (int)items);

	if (found < 0 || (uint32_t)found != items) {
		memory_free(opened);
		return error_set(
			error, -EBADMSG,
			"command: its packed items are not the %u bytes that they should be",
			items);
	}
	memcpy(opened, body.data, COMMAND_HEADER_BYTES);
	opened[0] = COMMAND_BATCH;
	*batch = opened;
	*size = COMMAND_HEADER_BYTES + items;
	return 0;
}
