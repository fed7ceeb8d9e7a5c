/* Reading blocks of the tables. */
#include "storage/block_reader.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>

int block_reader_open(struct block_reader *reader, struct kv_txn *txn, struct error *error)
{
	reader->txn = txn;
	reader->block.count = 0;
	return kv_cursor_open(txn, KV_BLOCK, &reader->cursor, error);
}

void block_reader_close(struct block_reader *reader)
{
	kv_cursor_close(reader->cursor);
}

static int seek_block(struct block_reader *reader, uint64_t position, struct error *error)
{
	struct block *block = &reader->block;
	bool is_next =
		block->count > 0 && position == block->first_position + block->position_count;
	struct tables_key key;
	struct kv_pair pair;

	block->count = 0;
	tables_number_key(position, &key);
	int rc = kv_cursor_seek(reader->cursor, is_next ? KV_NEXT : KV_AT_MOST,
				tables_key_span(&key), &pair, error);
	if (rc != 0)
		return rc;
	if (pair.key.size != 8 || block_open(pair.value, block) != 0 ||
	    block->first_position != bytes_be64(pair.key.data)) {
		block->count = 0;
		return tables_damage(reader->txn->kv, error, "the block around position %llu",
				     (unsigned long long)position);
	}
	return 0;
}

int block_reader_load(struct block_reader *reader, uint64_t position, struct error *error)
{
	ASSERT(position >= 1);
	if (block_holds(&reader->block, position))
		return 0;
	int rc = seek_block(reader, position, error);

	if (rc != 0)
		return rc;
	return block_holds(&reader->block, position) ? 0 : -ENOENT;
}

int block_reader_get(struct block_reader *reader, uint64_t position, struct span *record,
		     uint64_t *hash, struct error *error)
{
	const struct block *block = &reader->block;
	struct block_entry entry;
	int rc = block_reader_load(reader, position, error);

	if (rc != 0)
		return rc;
	rc = block_find(block, position, &entry);
	if (rc == 0 && entry.is_hole) {
		block_get_hole(block, &entry, &reader->hole);
		return -ENODATA;
	}
	if (rc == 0)
		rc = block_record(block, entry.index, record, hash);
	if (rc != 0)
		return tables_damage(reader->txn->kv, error, "the record at position %llu",
				     (unsigned long long)position);
	return 0;
}
