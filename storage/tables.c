/* Keys and values of the tables, and the lookups that everybody shares. */
#include "storage/tables.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/mutant.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>

#define STATE_MAGIC        "ANNALST2"
#define STATE_MAGIC_BEFORE "ANNALST1"
#define STATE_BYTES        160
#define STATE_KEY          "state"
#define STATE_INGESTING    UINT64_C(1)
#define IDENTITY_MAGIC     "ANNALID1"
#define IDENTITY_BYTES     40
#define IDENTITY_KEY       "identity"
#define ROW_NAME_FLAG      0x80
#define ROW_HEAD_BYTES_MAX (1 + 4 * VARINT_BYTES_MAX + 16)
#define ROW_CHECKSUM_BYTES 4
#define LONG_NAME_MARK     0xff
#define ID_POSITION_BITS   44
#define ID_POSITION_MASK   ((UINT64_C(1) << ID_POSITION_BITS) - 1)
#define ID_CHECKED         (UINT64_C(1) << 63)

enum kv_table tables_of_names(enum tables_list list)
{
	static const enum kv_table tables[] = {KV_STREAM, KV_CATEGORY, KV_TYPE, KV_TAG};

	ASSERT(list < TABLES_LISTS);
	return tables[list];
}

enum kv_table tables_of_chunks(enum tables_list list)
{
	static const enum kv_table tables[] = {KV_STREAM_RECORD, KV_CATEGORY_RECORD, KV_TYPE_RECORD,
					       KV_TAG_RECORD};

	ASSERT(list < TABLES_LISTS);
	return tables[list];
}

/* ---- keys ---- */

void tables_name_key(struct span name, uint32_t probe, struct tables_key *key)
{
	ASSERT(name.size >= 1);
	if (name.size <= TABLES_NAME_BYTES_MAX) {
		ASSERT(probe == 0);
		memcpy(key->bytes, name.data, name.size);
		key->size = name.size;
		return;
	}
	uint8_t *end = key->bytes + TABLES_NAME_BYTES_MAX;

	memcpy(key->bytes, name.data, TABLES_NAME_BYTES_MAX);
	*end = LONG_NAME_MARK;
	bytes_set_be64(end + 1, checksum64(name.data, name.size));
	bytes_set_be32(end + 9, probe);
	key->size = TABLES_KEY_BYTES_MAX;
}

void tables_number_key(uint64_t number, struct tables_key *key)
{
	bytes_set_be64(key->bytes, number);
	key->size = 8;
}

void tables_chunk_key(uint64_t number, uint64_t ordinal, struct tables_key *key)
{
	bytes_set_be64(key->bytes, number);
	bytes_set_be64(key->bytes + 8, ordinal);
	key->size = 16;
}

void tables_time_key(int64_t created, uint64_t position, struct tables_key *key)
{
	bytes_set_be64(key->bytes, (uint64_t)created + (UINT64_C(1) << 63));
	bytes_set_be64(key->bytes + 8, position);
	key->size = 16;
}

/* ---- meta ---- */

void tables_state_encode(const struct tables_state *state, struct buffer *into)
{
	uint8_t *at = buffer_reserve(into, STATE_BYTES);

	memcpy(at, STATE_MAGIC, 8);
	bytes_set_le64(at + 8, state->applied_index);
	bytes_set_le64(at + 16, state->position);
	bytes_set_le64(at + 24, (uint64_t)state->created);
	bytes_set_le64(at + 32, state->hash);
	bytes_set_le64(at + 40, state->events);
	bytes_set_le64(at + 48, state->last_block);
	for (int list = 0; list < TABLES_LISTS; list++)
		bytes_set_le64(at + 56 + 8 * list, state->lists[list]);
	memcpy(at + 88, state->greatest_v7, UUID_BYTES);
	bytes_set_le64(at + 104, state->ingesting ? STATE_INGESTING : 0);
	bytes_set_le64(at + 112, state->last_record);
	bytes_set_le64(at + 120, state->checkpoint_streams);
	bytes_set_le64(at + 128, state->superseded);
	bytes_set_le64(at + 136, state->horizon);
	bytes_set_le64(at + 144, state->last_event);
	bytes_set_le64(at + 152, checksum64(at, 152));
	into->size += STATE_BYTES;
}

int tables_state_decode(struct span value, struct tables_state *state)
{
	const uint8_t *at = value.data;

	if (value.size != STATE_BYTES || memcmp(at, STATE_MAGIC, 8) != 0 ||
	    bytes_le64(at + 152) != checksum64(at, 152) || bytes_le64(at + 104) > STATE_INGESTING)
		return -EBADMSG;
	state->applied_index = bytes_le64(at + 8);
	state->position = bytes_le64(at + 16);
	state->created = (int64_t)bytes_le64(at + 24);
	state->hash = bytes_le64(at + 32);
	state->events = bytes_le64(at + 40);
	state->last_block = bytes_le64(at + 48);
	for (int list = 0; list < TABLES_LISTS; list++)
		state->lists[list] = bytes_le64(at + 56 + 8 * list);
	memcpy(state->greatest_v7, at + 88, UUID_BYTES);
	state->ingesting = bytes_le64(at + 104) == STATE_INGESTING;
	state->last_record = bytes_le64(at + 112);
	state->checkpoint_streams = bytes_le64(at + 120);
	state->superseded = bytes_le64(at + 128);
	state->horizon = bytes_le64(at + 136);
	state->last_event = bytes_le64(at + 144);
	return 0;
}

void tables_identity_encode(const struct store_identity *identity, struct buffer *into)
{
	uint8_t *at = buffer_reserve(into, IDENTITY_BYTES);

	memcpy(at, IDENTITY_MAGIC, 8);
	memcpy(at + 8, identity->cluster_id, CLUSTER_ID_BYTES);
	bytes_set_le64(at + 24, identity->node_id);
	bytes_set_le64(at + 32, checksum64(at, 32));
	into->size += IDENTITY_BYTES;
}

int tables_identity_decode(struct span value, struct store_identity *identity)
{
	const uint8_t *at = value.data;

	if (value.size != IDENTITY_BYTES || memcmp(at, IDENTITY_MAGIC, 8) != 0 ||
	    bytes_le64(at + 32) != checksum64(at, 32))
		return -EBADMSG;
	memcpy(identity->cluster_id, at + 8, CLUSTER_ID_BYTES);
	identity->node_id = bytes_le64(at + 24);
	return 0;
}

/* ---- rows and chunks ---- */

static uint32_t checksum_of(struct span key, struct span value)
{
	return (uint32_t)checksum64_seeded(value.data, value.size, checksum64(key.data, key.size));
}

static void seal(struct span key, struct buffer *value, size_t start)
{
	struct span content = span_of(value->data + start, value->size - start);
	uint32_t checksum = checksum_of(key, content);

	bytes_set_le32(buffer_reserve(value, ROW_CHECKSUM_BYTES), checksum);
	value->size += ROW_CHECKSUM_BYTES;
}

static int unseal(struct span key, struct span value, struct span *content)
{
	if (value.size < ROW_CHECKSUM_BYTES)
		return -EBADMSG;
	struct span rest = span_of(value.data, value.size - ROW_CHECKSUM_BYTES);

	if (bytes_le32(rest.data + rest.size) != checksum_of(key, rest) && !MUTANT(ROW_UNCHECKED))
		return -EBADMSG;
	*content = rest;
	return 0;
}

void tables_row_encode(struct span key, const struct tables_row *row, struct buffer *into)
{
	size_t start = into->size, size = 1;
	uint8_t *at = buffer_reserve(into, ROW_HEAD_BYTES_MAX);

	ASSERT(row->number >= 1 && row->chunk.size <= POSTING_OPEN_BYTES);
	at[0] = (uint8_t)((unsigned)row->facts.state | (row->name.size > 0 ? ROW_NAME_FLAG : 0u));
	size += varint_write(at + size, row->number);
	size += varint_write(at + size, row->facts.version);
	size += varint_write(at + size, row->facts.first_version);
	bytes_set_le64(at + size, (uint64_t)row->facts.created);
	bytes_set_le64(at + size + 8, (uint64_t)row->facts.updated);
	size += 16;
	if (row->name.size > 0)
		size += varint_write(at + size, row->name.size);
	into->size += size;
	buffer_append_span(into, row->name);
	buffer_append_span(into, row->chunk);
	seal(key, into, start);
}

static bool read_facts(struct span *rest, struct tables_row *row)
{
	struct stream_facts *facts = &row->facts;

	if (!varint_read(rest, &row->number) || !varint_read(rest, &facts->version) ||
	    !varint_read(rest, &facts->first_version) || rest->size < 16)
		return false;
	facts->created = (int64_t)bytes_le64(rest->data);
	facts->updated = (int64_t)bytes_le64(rest->data + 8);
	*rest = span_of(rest->data + 16, rest->size - 16);
	return true;
}

int tables_row_decode(struct span key, struct span value, struct tables_row *row)
{
	struct span rest;
	uint64_t name_bytes = 0;

	if (unseal(key, value, &rest) != 0 || rest.size < 1)
		return -EBADMSG;
	unsigned flags = rest.data[0], state = flags & ~(unsigned)ROW_NAME_FLAG;
	rest = span_of(rest.data + 1, rest.size - 1);
	if (state > STREAM_TOMBSTONED || !read_facts(&rest, row) || row->number == 0)
		return -EBADMSG;
	row->facts.state = state;
	if ((flags & ROW_NAME_FLAG) != 0 && (!varint_read(&rest, &name_bytes) || name_bytes == 0))
		return -EBADMSG;
	if (name_bytes > rest.size || rest.size - name_bytes > POSTING_OPEN_BYTES)
		return -EBADMSG;
	row->name = span_of(rest.data, name_bytes);
	row->chunk = span_of(rest.data + name_bytes, rest.size - name_bytes);
	return 0;
}

static uint64_t seal_id(struct span id, uint64_t position)
{
	uint64_t checksum = checksum64_seeded(id.data, id.size, position) << ID_POSITION_BITS;

	return checksum | ID_CHECKED | position;
}

/* Positions that leave no room for a checksum are as far away as the end of the address space. */
void tables_id_encode(const uint8_t id[UUID_BYTES], uint64_t position, uint8_t value[8])
{
	bool has_room = position <= ID_POSITION_MASK;

	bytes_set_le64(value, has_room ? seal_id(span_of(id, UUID_BYTES), position) : position);
}

static int id_decode(struct span key, struct span value, uint64_t *position)
{
	if (value.size != 8 || key.size != UUID_BYTES)
		return -EBADMSG;
	uint64_t stored = bytes_le64(value.data), masked = stored & ID_POSITION_MASK;

	if (stored == 0 || ((stored & ID_CHECKED) != 0 && stored != seal_id(key, masked)))
		return -EBADMSG;
	*position = (stored & ID_CHECKED) != 0 ? masked : stored;
	return 0;
}

void tables_chunk_seal(struct span key, struct buffer *chunk)
{
	ASSERT(chunk->size >= 1 && chunk->size <= POSTING_CLOSED_BYTES);
	seal(key, chunk, 0);
}

int tables_chunk_open(struct span key, struct span value, struct span *chunk)
{
	return unseal(key, value, chunk);
}

/* ---- lookups ---- */

int tables_damage(struct kv *kv, struct error *error, const char *format, ...)
{
	char what[ERROR_MESSAGE_BYTES / 2];
	va_list arguments;

	va_start(arguments, format);
	vsnprintf(what, sizeof what, format, arguments);
	va_end(arguments);
	return error_set(error, -EBADMSG,
			 "store %s: %s is damaged; move this node's data away, start it empty as a "
			 "non-voter, and let it sync from its peers",
			 kv->name, what);
}

int tables_put_state(struct kv_txn *txn, const struct tables_state *state, struct error *error)
{
	struct buffer value;

	buffer_init(&value);
	tables_state_encode(state, &value);
	int rc = kv_put(txn, KV_META, span_of_string(STATE_KEY), buffer_span(&value), false, error);
	buffer_close(&value);
	return rc;
}

static int put_identity(struct kv_txn *txn, void *arg, struct error *error)
{
	const struct store_identity *identity = arg;
	struct buffer value;

	buffer_init(&value);
	tables_identity_encode(identity, &value);
	int rc = kv_put(txn, KV_META, span_of_string(IDENTITY_KEY), buffer_span(&value), false,
			error);
	buffer_close(&value);
	return rc;
}

int tables_write_identity(struct kv *kv, const struct store_identity *identity, struct error *error)
{
	struct store_identity copy = *identity;

	return kv_write(kv, put_identity, &copy, error);
}

static bool is_whole(enum kv_table table, const struct kv_pair *pair)
{
	struct span content;
	uint64_t position;

	if (pair->key.size == 0)
		return true;
	if (table == KV_META)
		return span_equal_string(pair->key, STATE_KEY) ||
		       span_equal_string(pair->key, IDENTITY_KEY);
	return table == KV_EVENT_ID ? id_decode(pair->key, pair->value, &position) == 0
				    : unseal(pair->key, pair->value, &content) == 0;
}

/* -ENOENT, when what is around a key that was not found leaves it no other place (tables.h). */
static int check_absent(struct kv_txn *txn, enum kv_table table, struct span key,
			const struct kv_around *around, struct error *error)
{
	const struct kv_pair *before = &around->before, *after = &around->after;
	bool in_order = (before->key.size == 0 || span_compare(before->key, key) < 0) &&
			(after->key.size == 0 || span_compare(after->key, key) > 0);

	if ((in_order && is_whole(table, before) && is_whole(table, after)) ||
	    MUTANT(NEIGHBOURS_UNCHECKED))
		return -ENOENT;
	return tables_damage(txn->kv, error, "table %s, around a key that is not found,",
			     kv_table_name(table));
}

static int confirm_absent(struct kv_txn *txn, enum kv_table table, struct span key,
			  struct error *error)
{
	struct kv_around around;
	int rc = kv_find_around(txn, table, key, &around, error);

	return rc == 0 ? check_absent(txn, table, key, &around, error) : rc;
}

static int get_meta(struct kv_txn *txn, const char *name, struct span *value, struct error *error)
{
	int rc = kv_get(txn, KV_META, span_of_string(name), value, error);

	return rc == -ENOENT ? confirm_absent(txn, KV_META, span_of_string(name), error) : rc;
}

int tables_get_state(struct kv_txn *txn, struct tables_state *state, struct error *error)
{
	struct span value;
	int rc = get_meta(txn, STATE_KEY, &value, error);

	if (rc == 0 && value.size >= 8 && memcmp(value.data, STATE_MAGIC_BEFORE, 8) == 0)
		return error_set(error, -ENOTSUP,
				 "store %s is of an earlier format (" STATE_MAGIC_BEFORE
				 "), which this version cannot read: export it with the version "
				 "that wrote it, and import into a new one",
				 txn->kv->name);
	if (rc == 0 && tables_state_decode(value, state) != 0)
		rc = tables_damage(txn->kv, error, "the state of the tables (meta)");
	return rc;
}

int tables_get_identity(struct kv_txn *txn, struct store_identity *identity, struct error *error)
{
	struct span value;
	int rc = get_meta(txn, IDENTITY_KEY, &value, error);

	if (rc == 0 && tables_identity_decode(value, identity) != 0)
		rc = tables_damage(txn->kv, error, "the identity (meta)");
	return rc;
}

int tables_get_row(struct kv_txn *txn, enum tables_list list, struct span name,
		   struct tables_key *key, struct tables_row *row, struct error *error)
{
	bool is_long = name.size > TABLES_NAME_BYTES_MAX;

	for (uint32_t probe = 0;; probe++) {
		struct tables_row found = {0}; /* perhaps that of another long name */
		struct span value;

		tables_name_key(name, probe, key);
		int rc = kv_get(txn, tables_of_names(list), tables_key_span(key), &value, error);
		if (rc == -ENOENT)
			return confirm_absent(txn, tables_of_names(list), tables_key_span(key),
					      error);
		if (rc != 0)
			return rc;
		if (tables_row_decode(tables_key_span(key), value, &found) != 0)
			return tables_damage(txn->kv, error, "table %s, the row of %.*s",
					     kv_table_name(tables_of_names(list)),
					     (int)(name.size < 100 ? name.size : 100),
					     (const char *)name.data);
		if (!is_long || span_equal(found.name, name)) {
			*row = found;
			return 0;
		}
	}
}

int tables_get_id(struct kv_txn *txn, const uint8_t id[UUID_BYTES], uint64_t *position,
		  struct error *error)
{
	struct span key = span_of(id, UUID_BYTES);
	struct kv_around around;
	int rc = kv_find_around(txn, KV_EVENT_ID, key, &around, error);

	if (rc != 0)
		return rc;
	if (!span_equal(around.after.key, key))
		return check_absent(txn, KV_EVENT_ID, key, &around, error);
	if (id_decode(key, around.after.value, position) != 0)
		return tables_damage(txn->kv, error, "a row of table event_id");
	return 0;
}

bool tables_id_is_v7(const uint8_t id[UUID_BYTES])
{
	return id[6] >> 4 == 7;
}
