/* The manifest: encode and decode. */
#include "storage/manifest.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"

#include <assert.h>
#include <errno.h>

#define MAGIC           "ANNALMF1"
#define MAGIC_BYTES     8
#define CHECKSUM_OFFSET 56

static_assert(CHECKSUM_OFFSET + 8 == MANIFEST_BYTES, "the checksum comes last");

void manifest_encode(const struct manifest *manifest, uint8_t into[MANIFEST_BYTES])
{
	memcpy(into, MAGIC, MAGIC_BYTES);
	memcpy(into + 8, manifest->cluster_id, CLUSTER_ID_BYTES);
	bytes_set_le64(into + 24, manifest->applied_index);
	bytes_set_le64(into + 32, manifest->position);
	bytes_set_le64(into + 40, (uint64_t)manifest->created);
	bytes_set_le64(into + 48, manifest->hash);
	bytes_set_le64(into + CHECKSUM_OFFSET, checksum64(into, CHECKSUM_OFFSET));
}

int manifest_decode(struct span bytes, struct manifest *manifest, struct error *error)
{
	if (bytes.size != MANIFEST_BYTES)
		return error_set(error, -EBADMSG, "manifest: %zu bytes instead of %d", bytes.size,
				 MANIFEST_BYTES);
	if (memcmp(bytes.data, MAGIC, MAGIC_BYTES) != 0)
		return error_set(error, -EBADMSG, "manifest: it does not begin with " MAGIC);
	if (bytes_le64(bytes.data + CHECKSUM_OFFSET) != checksum64(bytes.data, CHECKSUM_OFFSET))
		return error_set(error, -EBADMSG, "manifest: the checksum is wrong");
	memcpy(manifest->cluster_id, bytes.data + 8, CLUSTER_ID_BYTES);
	manifest->applied_index = bytes_le64(bytes.data + 24);
	manifest->position = bytes_le64(bytes.data + 32);
	manifest->created = (int64_t)bytes_le64(bytes.data + 40);
	manifest->hash = bytes_le64(bytes.data + 48);
	return 0;
}
