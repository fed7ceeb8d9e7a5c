/* Closed chunks of a list, taken off its front. */
#include "storage/chunks.h"

#include "base/assert.h"

#include <errno.h>

static int damaged(struct kv_txn *txn, const struct chunks_taken *taken, struct error *error)
{
	return tables_damage(txn->kv, error, "list %llu of table %s",
			     (unsigned long long)taken->number,
			     kv_table_name(tables_of_chunks(taken->kind)));
}

/* Unpack the chunk at taken->ordinal behind what is there; it stays where it is. */
static int append_chunk(struct kv_txn *txn, const struct chunks_taken *taken,
			const struct tables_key *key, uint32_t *count, struct error *error)
{
	struct span value, chunk;
	uint64_t *room = (uint64_t *)(void *)buffer_reserve(taken->after,
							    POSTING_COUNT_MAX * sizeof room[0]);
	int rc = kv_get(txn, tables_of_chunks(taken->kind), tables_key_span(key), &value, error);

	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (rc != 0 || tables_chunk_open(tables_key_span(key), value, &chunk) != 0 ||
	    posting_unpack(chunk, room, count) != 0 || *count == 0)
		return damaged(txn, taken, error);
	return 0;
}

int chunks_take(struct kv_txn *txn, struct chunks_taken *taken, uint64_t last, struct error *error)
{
	while (taken->ordinal < taken->end) {
		struct tables_key key;
		uint32_t count;

		tables_chunk_key(taken->number, taken->ordinal, &key);
		int rc = append_chunk(txn, taken, &key, &count, error);
		if (rc != 0)
			return rc;
		const uint64_t *positions =
			(const uint64_t *)(const void *)(taken->after->data + taken->after->size);
		if (positions[0] > last)
			return 0;
		taken->after->size += count * sizeof positions[0];
		rc = kv_delete(txn, tables_of_chunks(taken->kind), tables_key_span(&key), error);
		if (rc != 0)
			return rc;
		taken->ordinal += count;
	}
	return taken->ordinal == taken->end ? 0 : damaged(txn, taken, error);
}

int chunks_put(struct kv_txn *txn, enum tables_list kind, uint64_t number, uint64_t ordinal,
	       const uint64_t *positions, size_t count, struct error *error)
{
	struct tables_key key;
	struct buffer value;

	buffer_init(&value);
	size_t packed = posting_pack(positions, count, POSTING_CLOSED_BYTES, &value);
	ASSERT(packed == count && count > 0);
	tables_chunk_key(number, ordinal, &key);
	tables_chunk_seal(tables_key_span(&key), &value);
	int rc = kv_put(txn, tables_of_chunks(kind), tables_key_span(&key), buffer_span(&value),
			false, error);
	buffer_close(&value);
	return rc;
}
