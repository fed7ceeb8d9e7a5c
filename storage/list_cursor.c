/* Cursors over lists by position. */
#include "storage/list_cursor.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>

#define STEP_MIN 512u /* ordinals: about what a closed chunk holds */

/* ---- in the tail ---- */

int list_cursor_open_tail(struct list_cursor *cursor, const struct tail *tail,
			  enum tables_list kind, struct span name, bool backward)
{
	const struct tail_generation *generations[2] = {tail->frozen, tail->active};

	cursor->backward = backward;
	cursor->key = 0;
	cursor->count = 0;
	cursor->tables = NULL;
	for (int i = 0; i < 2; i++) {
		cursor->generations[i] = generations[i];
		cursor->parts[i] = NULL;
		if (generations[i] == NULL)
			continue;
		cursor->parts[i] = tail_find_list(generations[i], kind, name);
		if (cursor->parts[i] == NULL)
			continue;
		cursor->count += cursor->parts[i]->count;
		cursor->at[i] = backward ? cursor->parts[i]->count - 1 : 0;
	}
	return cursor->count > 0 ? 0 : -ENOENT;
}

/* The index of the first place that is at least this one, from `low` on; count: none. */
static uint32_t first_at_least(const uint32_t *places, uint32_t low, uint32_t count, uint32_t place)
{
	uint32_t step = 1, high = low;

	while (high < count && places[high] < place) {
		low = high + 1;
		high = step < count - high ? high + step : count;
		step *= 2;
	}
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (places[middle] < place)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static uint64_t tail_first_at_least(struct list_cursor *cursor, uint64_t position)
{
	for (int i = 0; i < 2; i++) {
		const struct tail_list *list = cursor->parts[i];
		const struct tail_generation *generation = cursor->generations[i];

		if (list == NULL)
			continue;
		cursor->at[i] = first_at_least(tail_places(list), cursor->at[i], list->count,
					       tail_place(generation, position));
		if (cursor->at[i] < list->count)
			return tail_position(generation, tail_places(list)[cursor->at[i]]);
	}
	return 0;
}

/* The index of the last place that is below this one, from `high` downwards; there is one. */
static uint32_t last_below(const uint32_t *places, uint32_t high, uint32_t place)
{
	uint32_t low = 0;

	if (places[high] < place)
		return high;
	if (places[high - 1] < place) /* most of the time */
		return high - 1;
	while (low < high) {
		uint32_t middle = high - (high - low) / 2;

		if (places[middle] < place)
			low = middle;
		else
			high = middle - 1;
	}
	return low;
}

static uint64_t tail_last_at_most(struct list_cursor *cursor, uint64_t position)
{
	for (int i = 1; i >= 0; i--) {
		const struct tail_list *list = cursor->parts[i];
		const struct tail_generation *generation = cursor->generations[i];

		if (list == NULL)
			continue;
		uint32_t place = tail_place(generation, position + 1);

		if (tail_places(list)[0] >= place)
			continue;
		cursor->at[i] = last_below(tail_places(list), cursor->at[i], place);
		return tail_position(generation, tail_places(list)[cursor->at[i]]);
	}
	return 0;
}

/* ---- in the tables: chunks ---- */

static int damaged(const struct list_cursor *cursor, struct error *error)
{
	return tables_damage(cursor->tables->txn->kv, error, "list %llu of table %s",
			     (unsigned long long)cursor->number,
			     kv_table_name(tables_of_chunks(cursor->kind)));
}

#define TOP_BITS UINT64_C(0x8080808080808080)
#define LOW_BITS UINT64_C(0x0101010101010101)

/* Each has one byte whose top bit is clear, its last. */
static uint32_t count_packed(struct span chunk)
{
	uint32_t count = 0;
	size_t i = 0;

	for (; i + 8 <= chunk.size; i += 8)
		count += (uint32_t)(((~bytes_le64(chunk.data + i) & TOP_BITS) >> 7) * LOW_BITS >>
				    56);
	for (; i < chunk.size; i++)
		count += chunk.data[i] < 0x80;
	return count;
}

static int unpack_next(struct list_cursor *cursor, struct error *error)
{
	struct span *rest = &cursor->rest;
	uint64_t difference;

	if (rest->data[0] < 0x80) { /* most of them, in a long list */
		difference = rest->data[0];
		*rest = span_of(rest->data + 1, rest->size - 1);
	} else if (!varint_read(rest, &difference)) {
		return damaged(cursor, error);
	}
	if (difference == 0 || difference > UINT64_MAX - cursor->last)
		return damaged(cursor, error);
	cursor->last += difference;
	cursor->next_ordinal++;
	return 0;
}

/* Go over what is below the position, eight at a time while they are of a byte each. */
static void skip_below(struct list_cursor *cursor, uint64_t position)
{
	while (cursor->rest.size >= 8) {
		uint64_t eight = bytes_le64(cursor->rest.data);
		uint64_t pairs = (eight & UINT64_C(0x00ff00ff00ff00ff)) +
				 (eight >> 8 & UINT64_C(0x00ff00ff00ff00ff));
		uint64_t sum = pairs * UINT64_C(0x0001000100010001) >> 48;
		bool has_zero = ((eight - LOW_BITS) & ~eight & TOP_BITS) != 0;

		if ((eight & TOP_BITS) != 0 || has_zero || cursor->last + sum >= position ||
		    cursor->last + sum < sum)
			return;
		cursor->last += sum;
		cursor->next_ordinal += 8;
		cursor->rest = span_of(cursor->rest.data + 8, cursor->rest.size - 8);
	}
}

static void rewind_chunk(struct list_cursor *cursor)
{
	cursor->rest = cursor->chunk;
	cursor->next_ordinal = cursor->chunk_ordinal;
	cursor->last = 0;
	cursor->window_count = 0;
}

static int use_chunk(struct list_cursor *cursor, struct span chunk, uint64_t ordinal,
		     struct error *error)
{
	struct span rest = chunk;

	if (!varint_read(&rest, &cursor->chunk_first) || cursor->chunk_first == 0)
		return damaged(cursor, error);
	cursor->chunk = chunk;
	cursor->chunk_ordinal = ordinal;
	cursor->loaded = true;
	rewind_chunk(cursor);
	return 0;
}

/* The closed chunk that holds this ordinal. */
static int load_closed(struct list_cursor *cursor, uint64_t ordinal, struct error *error)
{
	struct kv_cursor **chunks = &cursor->tables->cursors[cursor->kind];
	struct tables_key key;
	struct kv_pair pair;
	struct span chunk;
	int rc = 0;

	ASSERT(ordinal >= 1 && ordinal < cursor->open_ordinal);
	if (*chunks == NULL)
		rc = kv_cursor_open(cursor->tables->txn, tables_of_chunks(cursor->kind), chunks,
				    error);
	if (rc != 0)
		return rc;
	tables_chunk_key(cursor->number, ordinal, &key);
	rc = kv_cursor_seek(*chunks, KV_AT_MOST, tables_key_span(&key), &pair, error);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	if (rc == -ENOENT || pair.key.size != 16 || bytes_be64(pair.key.data) != cursor->number ||
	    tables_chunk_open(pair.key, pair.value, &chunk) != 0)
		return damaged(cursor, error);
	uint64_t first = bytes_be64(pair.key.data + 8);

	if (first == 0 || ordinal - first >= count_packed(chunk))
		return damaged(cursor, error);
	return use_chunk(cursor, chunk, first, error);
}

static int load_open(struct list_cursor *cursor, struct error *error)
{
	return use_chunk(cursor, cursor->open, cursor->open_ordinal, error);
}

/*
 * Load, of the closed chunks that hold ordinals from `low` to before `high`, the last one that
 * begins at or before the position; the first one if none does. It is sought in growing steps from
 * the one end, near which it mostly is, and then by halves.
 */
static int load_around(struct list_cursor *cursor, uint64_t position, uint64_t low, uint64_t high,
		       bool from_high, struct error *error)
{
	uint64_t best = low, step = 1;

	ASSERT(low >= 1 && low < high);
	while (low + 1 < high) {
		uint64_t middle = low + (high - low) / 2;

		if (step < (high - low) / 2)
			middle = from_high ? high - step : low + step;
		int rc = load_closed(cursor, middle, error);

		if (rc != 0)
			return rc;
		bool is_above = cursor->chunk_first > position;
		uint64_t last = cursor->chunk_ordinal + count_packed(cursor->chunk) - 1;

		if (is_above) {
			high = cursor->chunk_ordinal;
		} else {
			best = cursor->chunk_ordinal;
			low = last > middle ? last : middle;
		}
		step = is_above != from_high    ? UINT64_MAX
		       : step <= UINT64_MAX / 2 ? step * 2 + STEP_MIN
						: UINT64_MAX;
	}
	return cursor->loaded && cursor->chunk_ordinal == best ? 0
							       : load_closed(cursor, best, error);
}

static bool is_open_from(const struct list_cursor *cursor, uint64_t position)
{
	return cursor->open.size > 0 && cursor->open_first <= position;
}

/* ---- in the tables: forward ---- */

/* Load the next chunk that can hold the position or one behind it; -ENOENT: there is none. */
static int load_forward(struct list_cursor *cursor, uint64_t position, struct error *error)
{
	bool fresh = !cursor->loaded, missed = cursor->missed;
	uint64_t next = fresh ? 1 : cursor->next_ordinal, last = fresh ? 0 : cursor->last;
	int rc;

	cursor->missed = true; /* until something is found in it */
	if (next > cursor->count)
		return -ENOENT;
	if (next >= cursor->open_ordinal || is_open_from(cursor, position))
		rc = load_open(cursor, error);
	else if (fresh || missed)
		rc = load_around(cursor, position, next, cursor->open_ordinal, fresh, error);
	else
		rc = load_closed(cursor, next, error);
	if (rc == 0 && (cursor->chunk_ordinal < next || cursor->chunk_first <= last))
		rc = damaged(cursor, error);
	return rc;
}

/* Unpack a window that begins at the position or behind it, if the chunk has such. */
static int fill_forward(struct list_cursor *cursor, uint64_t position, struct error *error)
{
	cursor->window_count = 0;
	cursor->window_at = 0;
	while (cursor->rest.size > 0 && cursor->window_count < LIST_WINDOW) {
		int rc = unpack_next(cursor, error);

		if (rc != 0)
			return rc;
		if (cursor->last < position) {
			skip_below(cursor, position);
			continue;
		}
		if (cursor->window_count == 0)
			cursor->window_ordinal = cursor->next_ordinal - 1;
		cursor->window[cursor->window_count++] = cursor->last;
	}
	return 0;
}

static int tables_first_at_least(struct list_cursor *cursor, uint64_t position, uint64_t *found,
				 struct error *error)
{
	for (;;) {
		while (cursor->window_at < cursor->window_count &&
		       cursor->window[cursor->window_at] < position)
			cursor->window_at++;
		if (cursor->window_at < cursor->window_count) {
			cursor->missed = false;
			*found = cursor->window[cursor->window_at];
			return 0;
		}
		int rc = cursor->rest.size > 0 ? fill_forward(cursor, position, error)
					       : load_forward(cursor, position, error);
		if (rc != 0)
			return rc;
	}
}

/* ---- in the tables: backward ---- */

/* Load a chunk that begins at or before the position; -ENOENT: there is none. */
static int load_backward(struct list_cursor *cursor, uint64_t position, struct error *error)
{
	bool fresh = !cursor->loaded;
	uint64_t high = fresh ? cursor->open_ordinal : cursor->chunk_ordinal;
	int rc = 0;

	if (fresh && is_open_from(cursor, position))
		return load_open(cursor, error);
	if (high <= 1)
		return -ENOENT;
	if (!fresh) { /* its neighbour, most of the time */
		rc = load_closed(cursor, high - 1, error);
		if (rc != 0 || cursor->chunk_first <= position)
			return rc;
		high = cursor->chunk_ordinal;
	}
	if (high > 1)
		rc = load_around(cursor, position, 1, high, true, error);
	if (rc == 0 && cursor->chunk_first > position)
		rc = -ENOENT;
	return rc;
}

/* Unpack a window that ends at the position or before it; the chunk begins at or before it. */
static int fill_backward(struct list_cursor *cursor, uint64_t position, struct error *error)
{
	uint64_t ring[LIST_WINDOW];
	uint64_t unpacked = 0;

	rewind_chunk(cursor);
	while (cursor->rest.size > 0) {
		int rc = unpack_next(cursor, error);

		if (rc != 0)
			return rc;
		if (cursor->last > position)
			break;
		ring[unpacked++ % LIST_WINDOW] = cursor->last;
	}
	ASSERT(unpacked > 0);
	cursor->window_count = unpacked < LIST_WINDOW ? (uint32_t)unpacked : LIST_WINDOW;
	cursor->window_ordinal = cursor->chunk_ordinal + unpacked - cursor->window_count;
	for (uint32_t i = 0; i < cursor->window_count; i++)
		cursor->window[i] = ring[(unpacked - cursor->window_count + i) % LIST_WINDOW];
	cursor->window_at = cursor->window_count - 1;
	return 0;
}

static int tables_last_at_most(struct list_cursor *cursor, uint64_t position, uint64_t *found,
			       struct error *error)
{
	if (cursor->window_count == 0 || cursor->window[0] > position) {
		int rc = 0;

		if (!cursor->loaded || cursor->chunk_first > position)
			rc = load_backward(cursor, position, error);
		if (rc == 0)
			rc = fill_backward(cursor, position, error);
		if (rc != 0)
			return rc;
	}
	while (cursor->window[cursor->window_at] > position)
		cursor->window_at--;
	*found = cursor->window[cursor->window_at];
	return 0;
}

/* ---- doors ---- */

int list_cursor_open_tables(struct list_cursor *cursor, struct list_tables *tables,
			    enum tables_list kind, struct span name, bool backward,
			    struct error *error)
{
	struct tables_key key;
	struct tables_row row;
	int rc = tables_get_row(tables->txn, kind, name, &key, &row, error);

	if (rc != 0)
		return rc;
	uint32_t open_count = count_packed(row.chunk);

	cursor->backward = backward;
	cursor->key = 0;
	cursor->count = row.facts.version;
	cursor->tables = tables;
	cursor->kind = kind;
	cursor->number = row.number;
	cursor->open = row.chunk;
	cursor->open_first = 0;
	cursor->loaded = false;
	cursor->missed = false;
	cursor->rest = span_of(NULL, 0);
	cursor->window_at = 0;
	cursor->window_count = 0;
	if (row.facts.version == 0 || open_count > row.facts.version)
		return damaged(cursor, error);
	cursor->open_ordinal = row.facts.version - open_count + 1;
	if (row.chunk.size > 0 &&
	    (!varint_read(&row.chunk, &cursor->open_first) || cursor->open_first == 0))
		return damaged(cursor, error);
	return 0;
}

int list_cursor_seek(struct list_cursor *cursor, uint64_t key, struct error *error)
{
	uint64_t position = list_key(key, cursor->backward), found = 0;
	int rc = 0;

	ASSERT(key > cursor->key && key < LIST_NONE);
	if (cursor->tables == NULL)
		found = cursor->backward ? tail_last_at_most(cursor, position)
					 : tail_first_at_least(cursor, position);
	else
		rc = cursor->backward ? tables_last_at_most(cursor, position, &found, error)
				      : tables_first_at_least(cursor, position, &found, error);
	if (rc != 0 && rc != -ENOENT)
		return rc;
	cursor->key = rc == -ENOENT || found == 0 ? LIST_NONE : list_key(found, cursor->backward);
	return 0;
}

static uint64_t rank_in_tail(struct list_cursor *cursor, uint64_t position)
{
	uint64_t rank = 0;

	for (int i = 0; i < 2; i++) {
		const struct tail_list *list = cursor->parts[i];

		if (list != NULL)
			rank += first_at_least(tail_places(list), 0, list->count,
					       tail_place(cursor->generations[i], position + 1));
	}
	return rank;
}

int list_cursor_rank(struct list_cursor *cursor, uint64_t position, uint64_t *rank,
		     struct error *error)
{
	int rc = 0;

	ASSERT(!cursor->backward && position < LIST_NONE - 1);
	if (cursor->tables == NULL) {
		*rank = rank_in_tail(cursor, position);
		return 0;
	}
	if (cursor->key <= position)
		rc = list_cursor_seek(cursor, position + 1, error);
	if (rc == 0)
		*rank = cursor->key == LIST_NONE ? cursor->count
						 : cursor->window_ordinal + cursor->window_at - 1;
	return rc;
}

void list_tables_close(struct list_tables *tables)
{
	for (int kind = 0; kind < TABLES_LISTS; kind++)
		if (tables->cursors[kind] != NULL)
			kv_cursor_close(tables->cursors[kind]);
	*tables = (struct list_tables){0};
}
