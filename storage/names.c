/*
 * Names of streams, categories and types, with their counts, as of one moment.
 *
 * First those of the tail are gathered under its lock, some at a time, beginning again when a flush
 * has moved records meanwhile. Then those of the tables, in a transaction begun in the same moment.
 * Of both only the lowest are kept, as many as the page takes, and one more to see the end.
 */
#include "base/assert.h"
#include "base/text.h"
#include "storage/page.h"

#include <errno.h>
#include <stdlib.h>

#define TAIL_STEPS 4096u /* names looked at while the tail's lock is held */
#define SPARE      1024u /* names gathered beyond the page before they are sorted out */

enum source { IN_TABLES, IN_FROZEN, IN_ACTIVE, SOURCES };

struct found {
	uint32_t offset, size; /* of the name in the text */
	uint64_t counts[SOURCES];
};

struct gathering {
	const struct name_range *range;
	enum tables_list kind;
	uint64_t head;
	struct buffer found; /* struct found */
	struct buffer text, other_text;
	bool bounded; /* the first `limit + 1` are sorted: what is above them is not wanted */
	bool has_frozen;
	uint64_t frozen_last; /* position */
};

/* ---- order and choice ---- */

/* The order of their keys; of names with equal ones (but for the probe) that of their bytes. */
static int compare_names(struct span left, struct span right)
{
	struct tables_key left_key, right_key;

	if (left.size <= TABLES_NAME_BYTES_MAX && right.size <= TABLES_NAME_BYTES_MAX)
		return span_compare(left, right);
	tables_name_key(left, 0, &left_key);
	tables_name_key(right, 0, &right_key);
	int order = span_compare(tables_key_span(&left_key), tables_key_span(&right_key));

	return order != 0 ? order : span_compare(left, right);
}

static bool begins_with(struct span name, struct span prefix)
{
	return name.size >= prefix.size &&
	       (prefix.size == 0 || memcmp(name.data, prefix.data, prefix.size) == 0);
}

static bool is_wanted(const struct name_range *range, struct span name)
{
	if (!begins_with(name, range->prefix))
		return false;
	if (range->kind == NAMES_STREAMS && name.data[0] == '$' && range->prefix.size == 0)
		return false;
	if (range->kind == NAMES_STREAMS && range->category.size > 0 &&
	    !span_equal(text_category(name), range->category))
		return false;
	return range->after.size == 0 || compare_names(name, range->after) > 0;
}

/* ---- gathering ---- */

static struct found *found_of(const struct gathering *gathering)
{
	return (struct found *)(void *)gathering->found.data;
}

static uint32_t found_count(const struct gathering *gathering)
{
	return (uint32_t)(gathering->found.size / sizeof(struct found));
}

static struct span found_name(const struct gathering *gathering, const struct found *found)
{
	return span_of(gathering->text.data + found->offset, found->size);
}

static int compare_found(const void *left, const void *right, void *gathering)
{
	return compare_names(found_name(gathering, left), found_name(gathering, right));
}

/* Sort, make one of equal names, and keep the lowest. */
static void sort_out(struct gathering *gathering)
{
	struct found *found = found_of(gathering);
	uint32_t count = found_count(gathering), kept = 0, wanted = gathering->range->limit + 1;

	if (count > 0)
		qsort_r(found, count, sizeof found[0], compare_found, gathering);
	buffer_clear(&gathering->other_text);
	for (uint32_t i = 0; i < count; i++) {
		struct span name = found_name(gathering, &found[i]);
		struct found *last = kept > 0 ? &found[kept - 1] : NULL;

		if (last != NULL &&
		    span_equal(name,
			       span_of(gathering->other_text.data + last->offset, last->size))) {
			for (int source = 0; source < SOURCES; source++)
				last->counts[source] += found[i].counts[source];
			continue;
		}
		if (kept == wanted)
			break;
		found[kept] = found[i];
		found[kept++].offset = (uint32_t)gathering->other_text.size;
		buffer_append_span(&gathering->other_text, name);
	}
	struct buffer text = gathering->text;

	gathering->text = gathering->other_text;
	gathering->other_text = text;
	gathering->found.size = kept * sizeof found[0];
	gathering->bounded = kept == wanted;
}

static void gather(struct gathering *gathering, struct span name, enum source source,
		   uint64_t count)
{
	uint32_t wanted = gathering->range->limit + 1;
	struct found found = {.offset = (uint32_t)gathering->text.size,
			      .size = (uint32_t)name.size};

	if (gathering->bounded &&
	    compare_names(name, found_name(gathering, &found_of(gathering)[wanted - 1])) > 0)
		return;
	found.counts[source] = count;
	buffer_append(&gathering->found, &found, sizeof found);
	buffer_append_span(&gathering->text, name);
	if (found_count(gathering) >= 2 * wanted + SPARE)
		sort_out(gathering);
}

/* ---- the tail ---- */

/* How many of the list's records are not beyond the head. */
static uint32_t count_places(const struct tail_generation *generation, const struct tail_list *list,
			     uint64_t head)
{
	const uint32_t *places = tail_places(list);
	uint32_t beyond = tail_place(generation, head + 1), low = 0, high = list->count;

	if (places[high - 1] < beyond)
		return high;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (places[middle] < beyond)
			low = middle + 1;
		else
			high = middle;
	}
	return low;
}

static void gather_name(struct gathering *gathering, const struct tail_generation *generation,
			uint32_t index, enum source source)
{
	const struct map *names = &generation->names[gathering->kind].map;
	struct span name = map_key(names, &names->entries[index]);

	if (!is_wanted(gathering->range, name))
		return;
	const struct tail_list *list = tail_list(generation, gathering->kind, index);
	uint64_t count = count_places(generation, list, gathering->head);

	if (count > 0 && gathering->kind == TABLES_STREAMS)
		count = record_version(generation->records[tail_places(list)[count - 1]].bytes);
	if (count > 0)
		gather(gathering, name, source, count);
}

struct generations {
	const struct tail_generation *frozen, *active;
	uint64_t frozen_first, active_first;
};

static struct generations generations_of(const struct tail *tail)
{
	return (struct generations){.frozen = tail->frozen,
				    .active = tail->active,
				    .frozen_first =
					    tail->frozen != NULL ? tail->frozen->first_position : 0,
				    .active_first = tail->active->first_position};
}

/* Let those who wait for the lock come first; false: a flush has moved records. */
static bool pause_in_tail(struct tail *tail, const struct generations *before)
{
	pthread_rwlock_unlock(&tail->lock);
	pthread_rwlock_rdlock(&tail->lock);
	struct generations now = generations_of(tail);

	return now.frozen == before->frozen && now.active == before->active &&
	       now.frozen_first == before->frozen_first && now.active_first == before->active_first;
}

/* All that the tail has up to the head; false: begin again. The lock is held. */
static bool gather_tail(struct gathering *gathering, struct store *store)
{
	struct generations now = generations_of(&store->tail);
	const struct tail_generation *generations[] = {now.frozen, now.active};
	uint32_t looked_at = 0;

	buffer_clear(&gathering->found);
	buffer_clear(&gathering->text);
	gathering->bounded = false;
	gathering->head = store->head.position;
	gathering->has_frozen = now.frozen != NULL;
	gathering->frozen_last = now.active_first - 1;
	for (int i = 0; i < 2; i++) {
		if (generations[i] == NULL)
			continue;
		uint32_t count = generations[i]->names[gathering->kind].map.count;

		for (uint32_t index = 0; index < count; index++) {
			gather_name(gathering, generations[i], index,
				    i == 0 ? IN_FROZEN : IN_ACTIVE);
			if (++looked_at % TAIL_STEPS == 0 && !pause_in_tail(&store->tail, &now))
				return false;
		}
	}
	return true;
}

/* ---- the tables ---- */

static bool same_but_for_probe(struct span left, struct span right)
{
	return left.size == TABLES_KEY_BYTES_MAX && right.size == TABLES_KEY_BYTES_MAX &&
	       memcmp(left.data, right.data, TABLES_KEY_BYTES_MAX - 4) == 0;
}

/* Count what is wanted of it: a row once, whether or not it is kept. */
static int gather_row(struct gathering *gathering, struct kv_txn *txn, const struct kv_pair *pair,
		      uint32_t *wanted, struct error *error)
{
	struct tables_row row;

	if (tables_row_decode(pair->key, pair->value, &row) != 0)
		return tables_damage(txn->kv, error, "a row of table %s",
				     kv_table_name(tables_of_names(gathering->kind)));
	struct span name = row.name.size > 0 ? row.name : pair->key;

	if (!is_wanted(gathering->range, name))
		return 0;
	gather(gathering, name, IN_TABLES, row.facts.version);
	(*wanted)++;
	return 0;
}

/* The rows from `pair` on whose keys begin with `start`, as many as the page takes. */
static int gather_from(struct gathering *gathering, struct kv_cursor *cursor, struct kv_pair *pair,
		       struct span start, struct error *error)
{
	bool skip_system = gathering->kind == TABLES_STREAMS && start.size == 0;
	struct span last = {0};
	uint32_t wanted = 0;
	int rc = 0;

	while (rc == 0 && begins_with(pair->key, start)) {
		enum kv_seek how = KV_NEXT;

		if (wanted > gathering->range->limit && !same_but_for_probe(pair->key, last))
			break;
		last = pair->key;
		if (skip_system && last.data[0] == '$')
			how = KV_AT_LEAST;
		else
			rc = gather_row(gathering, cursor->txn, pair, &wanted, error);
		if (rc == 0)
			rc = kv_cursor_seek(cursor, how, span_of_string("%"), pair, error);
	}
	return rc;
}

static int gather_rows(struct gathering *gathering, struct kv_txn *txn, struct span start,
		       struct error *error)
{
	struct span after = gathering->range->after, from = start;
	struct tables_key key;
	struct kv_cursor *cursor;
	struct kv_pair pair;
	int rc = kv_cursor_open(txn, tables_of_names(gathering->kind), &cursor, error);

	if (rc != 0)
		return rc;
	if (after.size > 0)
		tables_name_key(after, 0, &key);
	if (after.size > 0 && span_compare(tables_key_span(&key), start) > 0)
		from = tables_key_span(&key);
	rc = kv_cursor_seek(cursor, from.size > 0 ? KV_AT_LEAST : KV_FIRST, from, &pair, error);
	if (rc == 0)
		rc = gather_from(gathering, cursor, &pair, start, error);
	kv_cursor_close(cursor);
	return rc == -ENOENT ? 0 : rc;
}

static int gather_one(struct gathering *gathering, struct kv_txn *txn, struct span name,
		      struct error *error)
{
	struct tables_key key;
	struct tables_row row;

	if (!is_wanted(gathering->range, name))
		return 0;
	int rc = tables_get_row(txn, gathering->kind, name, &key, &row, error);
	if (rc == 0)
		gather(gathering, name, IN_TABLES, row.facts.version);
	return rc == -ENOENT ? 0 : rc;
}

/* The start of the keys of the names that begin so. */
static struct span key_start(struct span name_start)
{
	return span_of(name_start.data, name_start.size < TABLES_NAME_BYTES_MAX
						? name_start.size
						: TABLES_NAME_BYTES_MAX);
}

/* A category's streams are the one of its name, and those with a '-' behind that. */
static int gather_category(struct gathering *gathering, struct kv_txn *txn, struct error *error)
{
	struct span category = gathering->range->category, prefix = gathering->range->prefix;
	uint8_t start[TABLES_NAME_BYTES_MAX];
	int rc = 0;

	if (memchr(category.data, '-', category.size) != NULL ||
	    (category.data[0] == '$' && prefix.size == 0))
		return 0;
	if (prefix.size > category.size)
		return begins_with(prefix, category) && prefix.data[category.size] == '-'
			       ? gather_rows(gathering, txn, key_start(prefix), error)
			       : 0;
	if (category.size >= TABLES_NAME_BYTES_MAX)
		return gather_rows(gathering, txn, key_start(category), error);
	memcpy(start, category.data, category.size);
	start[category.size] = '-';
	rc = gather_one(gathering, txn, category, error);
	return rc == 0 && begins_with(category, prefix)
		       ? gather_rows(gathering, txn, span_of(start, category.size + 1), error)
		       : rc;
}

static int gather_tables(struct gathering *gathering, struct kv_txn *txn, struct error *error)
{
	const struct name_range *range = gathering->range;
	struct tables_state state = {0};
	int rc = tables_get_state(txn, &state, error);

	if (rc == -ENOENT)
		return 0;
	if (rc != 0)
		return rc;
	/* A flush that has committed, but not dropped the frozen part yet: do not count it twice. */
	if (gathering->has_frozen && state.position >= gathering->frozen_last)
		for (uint32_t i = 0; i < found_count(gathering); i++)
			found_of(gathering)[i].counts[IN_FROZEN] = 0;
	return range->kind == NAMES_STREAMS && range->category.size > 0
		       ? gather_category(gathering, txn, error)
		       : gather_rows(gathering, txn, key_start(range->prefix), error);
}

/* ---- the page ---- */

static int gather_all(struct gathering *gathering, struct store *store, struct error *error)
{
	struct kv_txn *txn;
	bool again = true;
	int rc = 0;

	pthread_rwlock_rdlock(&store->tail.lock);
	while (rc == 0 && again)
		if (gather_tail(gathering, store))
			rc = store_begin_read(store, &txn, &again, error);
	pthread_rwlock_unlock(&store->tail.lock);
	if (rc != 0)
		return rc;
	rc = gather_tables(gathering, txn, error);
	kv_abort(txn);
	return rc;
}

/* Of a stream the newest version; of the others the sum. */
static uint64_t total(const struct gathering *gathering, const struct found *found)
{
	uint64_t sum = 0, most = 0;

	for (int source = 0; source < SOURCES; source++) {
		uint64_t count = found->counts[source];

		sum += count;
		most = count > most ? count : most;
	}
	return gathering->kind == TABLES_STREAMS ? most : sum;
}

static void fill_page(const struct gathering *gathering, struct name_page *page)
{
	uint32_t limit = gathering->range->limit, count = found_count(gathering);

	page->count = count < limit ? count : limit;
	page->end = count <= limit;
	page->head = gathering->head;
	for (uint32_t i = 0; i < page->count; i++) {
		const struct found *found = &found_of(gathering)[i];
		struct name_entry entry = {.offset = (uint32_t)page->text.size,
					   .size = found->size,
					   .count = total(gathering, found)};

		buffer_append(&page->entries, &entry, sizeof entry);
		buffer_append_span(&page->text, found_name(gathering, found));
	}
}

int store_list_names(struct store *store, const struct name_range *range, struct name_page *page,
		     struct error *error)
{
	static const enum tables_list kinds[] = {TABLES_STREAMS, TABLES_CATEGORIES, TABLES_TYPES};
	struct gathering gathering = {.range = range, .kind = kinds[range->kind]};

	ASSERT(range->limit >= 1 && range->limit <= LIMIT_NAMES);
	int rc = gather_all(&gathering, store, error);
	if (rc == 0) {
		sort_out(&gathering);
		fill_page(&gathering, page);
	}
	buffer_close(&gathering.found);
	buffer_close(&gathering.text);
	buffer_close(&gathering.other_text);
	return rc;
}
