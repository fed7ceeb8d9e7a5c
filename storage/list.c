/* Reading lists of the tables. */
#include "storage/list.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>

static int damaged_list(const struct list_reader *reader, struct error *error)
{
	return tables_damage(reader->txn->kv, error, "list %llu of table %s",
			     (unsigned long long)reader->row.number,
			     kv_table_name(tables_of_chunks(reader->kind)));
}

static int unpack(struct list_reader *reader, struct span chunk, struct error *error)
{
	return posting_unpack(chunk, reader->positions, &reader->count) == 0
		       ? 0
		       : damaged_list(reader, error);
}

int list_reader_open(struct list_reader *reader, struct kv_txn *txn, enum tables_list kind,
		     struct span name, struct error *error)
{
	struct tables_key key;

	reader->txn = txn;
	reader->kind = kind;
	reader->cursor = NULL;
	int rc = tables_get_row(txn, kind, name, &key, &reader->row, error);
	if (rc != 0)
		return rc;
	rc = unpack(reader, reader->row.chunk, error);
	if (rc != 0)
		return rc;
	if (reader->count > reader->row.facts.version)
		return damaged_list(reader, error);
	reader->open_ordinal = reader->row.facts.version - reader->count + 1;
	reader->first_ordinal = reader->open_ordinal;
	return 0;
}

void list_reader_close(struct list_reader *reader)
{
	if (reader->cursor != NULL)
		kv_cursor_close(reader->cursor);
}

static bool has_unpacked(const struct list_reader *reader, uint64_t ordinal)
{
	return ordinal >= reader->first_ordinal && ordinal - reader->first_ordinal < reader->count;
}

static int load_closed(struct list_reader *reader, uint64_t ordinal, struct error *error)
{
	struct tables_key key;
	struct kv_pair pair;
	struct span chunk;
	int rc = 0;

	if (reader->cursor == NULL)
		rc = kv_cursor_open(reader->txn, tables_of_chunks(reader->kind), &reader->cursor,
				    error);
	if (rc != 0)
		return rc;
	tables_chunk_key(reader->row.number, ordinal, &key);
	rc = kv_cursor_seek(reader->cursor, KV_AT_MOST, tables_key_span(&key), &pair, error);
	if (rc == -ENOENT)
		return damaged_list(reader, error);
	if (rc != 0)
		return rc;
	if (pair.key.size != 16 || bytes_be64(pair.key.data) != reader->row.number ||
	    tables_chunk_open(pair.key, pair.value, &chunk) != 0)
		return damaged_list(reader, error);
	reader->first_ordinal = bytes_be64(pair.key.data + 8);
	return unpack(reader, chunk, error);
}

static int load_open(struct list_reader *reader, struct error *error)
{
	reader->first_ordinal = reader->open_ordinal;
	return unpack(reader, reader->row.chunk, error);
}

int list_reader_get(struct list_reader *reader, uint64_t ordinal, uint64_t *position,
		    struct error *error)
{
	ASSERT(ordinal >= 1 && ordinal <= reader->row.facts.version);
	if (!has_unpacked(reader, ordinal)) {
		int rc = ordinal >= reader->open_ordinal ? load_open(reader, error)
							 : load_closed(reader, ordinal, error);

		if (rc != 0)
			return rc;
		if (!has_unpacked(reader, ordinal))
			return damaged_list(reader, error);
	}
	*position = reader->positions[ordinal - reader->first_ordinal];
	return 0;
}
