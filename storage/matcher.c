/* Combining lists: what matches a query. */
#include "storage/matcher.h"

#include "base/assert.h"
#include "base/mutant.h"
#include "base/text.h"

#include <errno.h>

struct matcher_group {
	uint32_t number;       /* in its item, before they are sorted */
	uint32_t first, count; /* of its cursors, in the order */
	uint64_t size;         /* positions in its lists */
	uint64_t key;          /* the lowest of its cursors' */
};

struct matcher_item {
	uint32_t first, count; /* of its groups; none: every position is a candidate */
	bool must_look;        /* candidates are checked for the prefix */
	bool is_candidate;     /* at the key; else nothing is before it */
	struct span prefix;
	uint64_t key;
};

static struct matcher_item *items_of(const struct matcher *matcher)
{
	return (struct matcher_item *)(void *)matcher->items.data;
}

static uint32_t item_count(const struct matcher *matcher)
{
	return (uint32_t)(matcher->items.size / sizeof(struct matcher_item));
}

static struct matcher_group *groups_of(const struct matcher *matcher)
{
	return (struct matcher_group *)(void *)matcher->groups.data;
}

static struct list_cursor *cursors_of(const struct matcher *matcher)
{
	return (struct list_cursor *)(void *)matcher->cursors.data;
}

static uint32_t *order_of(const struct matcher *matcher)
{
	return (uint32_t *)(void *)matcher->order.data;
}

static bool begins_with(struct span name, struct span prefix)
{
	return name.size >= prefix.size &&
	       (prefix.size == 0 || memcmp(name.data, prefix.data, prefix.size) == 0);
}

/* ---- opening: items to groups to lists ---- */

static void begin_group(struct matcher *matcher, const struct matcher_item *planned)
{
	uint32_t number = (uint32_t)(matcher->groups.size / sizeof(struct matcher_group));
	struct matcher_group group = {.number = number - planned->first,
				      .first = (uint32_t)(matcher->order.size / sizeof(uint32_t))};

	buffer_append(&matcher->groups, &group, sizeof group);
}

static struct matcher_group *last_group(struct matcher *matcher)
{
	ASSERT(matcher->groups.size > 0);
	return (struct matcher_group *)(void *)(matcher->groups.data + matcher->groups.size) - 1;
}

/* Add a list to the last group, if there is one of that name. */
static int add_list(struct matcher *matcher, enum tables_list kind, struct span name,
		    struct error *error)
{
	uint32_t index = (uint32_t)(matcher->cursors.size / sizeof(struct list_cursor));
	struct list_cursor *cursor =
		(struct list_cursor *)(void *)buffer_reserve(&matcher->cursors, sizeof *cursor);
	struct matcher_group *group = last_group(matcher);
	int rc = matcher->tail != NULL ? list_cursor_open_tail(cursor, matcher->tail, kind, name,
							       matcher->backward)
				       : list_cursor_open_tables(cursor, &matcher->tables, kind,
								 name, matcher->backward, error);

	if (rc != 0)
		return rc == -ENOENT ? 0 : rc;
	matcher->cursors.size += sizeof *cursor;
	buffer_append(&matcher->order, &index, sizeof index);
	group->count++;
	group->size += cursor->count;
	return 0;
}

/* The category that a prefix names: empty when it has no '-', or begins with one. */
static struct span prefix_category(struct span prefix)
{
	struct span category = text_category(prefix);

	return category.size < prefix.size ? category : span_of(NULL, 0);
}

static bool is_category_wanted(struct span category, struct span prefix)
{
	bool goes_beyond = prefix.size > 0 && memchr(prefix.data, '-', prefix.size) != NULL;

	return goes_beyond ? span_equal(category, prefix_category(prefix))
			   : begins_with(category, prefix);
}

static bool is_stream_wanted(const struct query *query, const struct query_item *item,
			     struct span stream)
{
	const struct span *categories = query_item_names(query, item, QUERY_CATEGORIES);
	struct span category = text_category(stream);
	bool wanted = item->count[QUERY_CATEGORIES] == 0;

	for (uint32_t i = 0; i < item->count[QUERY_CATEGORIES]; i++)
		wanted = wanted || span_equal(categories[i], category);
	return wanted && stream.data[0] != '$' && begins_with(stream, item->prefix);
}

/* The group of what an item says of its streams, if any of it can be answered by lists. */
static int add_places(struct matcher *matcher, const struct query_item *item,
		      struct matcher_item *planned, struct error *error)
{
	const struct query *query = matcher->query;
	struct span prefix = item->prefix, category = prefix_category(prefix);
	enum query_part part = item->count[QUERY_STREAMS] > 0 ? QUERY_STREAMS : QUERY_CATEGORIES;
	bool goes_beyond = prefix.size > 0 && memchr(prefix.data, '-', prefix.size) != NULL;
	int rc = 0;

	planned->prefix = prefix;
	planned->must_look = prefix.size > 0 && part != QUERY_STREAMS &&
			     (goes_beyond || item->count[QUERY_CATEGORIES] == 0);
	if (item->count[part] == 0 && category.size == 0)
		return 0;
	begin_group(matcher, planned);
	if (item->count[part] == 0)
		return add_list(matcher, TABLES_CATEGORIES, category, error);
	for (uint32_t i = 0; rc == 0 && i < item->count[part]; i++) {
		struct span name = query_item_names(query, item, part)[i];

		if (part == QUERY_STREAMS && is_stream_wanted(query, item, name))
			rc = add_list(matcher, TABLES_STREAMS, name, error);
		else if (part == QUERY_CATEGORIES && is_category_wanted(name, prefix))
			rc = add_list(matcher, TABLES_CATEGORIES, name, error);
	}
	return rc;
}

static int add_groups(struct matcher *matcher, const struct query_item *item,
		      struct matcher_item *planned, struct error *error)
{
	const struct span *types = query_item_names(matcher->query, item, QUERY_TYPES);
	const struct span *tags = query_item_names(matcher->query, item, QUERY_TAGS);
	int rc = add_places(matcher, item, planned, error);

	if (rc == 0 && item->count[QUERY_TYPES] > 0)
		begin_group(matcher, planned);
	for (uint32_t i = 0; rc == 0 && i < item->count[QUERY_TYPES]; i++)
		rc = add_list(matcher, TABLES_TYPES, types[i], error);
	for (uint32_t i = 0; rc == 0 && i < item->count[QUERY_TAGS]; i++) {
		begin_group(matcher, planned);
		rc = add_list(matcher, TABLES_TAGS, tags[i], error);
	}
	return rc;
}

/* The rarest first. */
static void sort_groups(struct matcher_group *groups, uint32_t count)
{
	for (uint32_t i = 1; i < count; i++) {
		struct matcher_group group = groups[i];
		uint32_t at = i;

		for (; at > 0 && groups[at - 1].size > group.size; at--)
			groups[at] = groups[at - 1];
		groups[at] = group;
	}
}

static int add_item(struct matcher *matcher, const struct query_item *item, struct error *error)
{
	struct matcher_item planned = {
		.first = (uint32_t)(matcher->groups.size / sizeof(struct matcher_group))};
	size_t cursors = matcher->cursors.size, order = matcher->order.size;
	bool nothing = item->prefix.size > 0 && item->prefix.data[0] == '$';
	int rc = nothing ? 0 : add_groups(matcher, item, &planned, error);

	if (rc != 0)
		return rc;
	planned.count =
		(uint32_t)(matcher->groups.size / sizeof(struct matcher_group)) - planned.first;
	for (uint32_t i = 0; i < planned.count; i++)
		nothing = nothing || groups_of(matcher)[planned.first + i].count == 0;
	if (nothing && !matcher->decides) {
		matcher->groups.size = planned.first * sizeof(struct matcher_group);
		matcher->cursors.size = cursors;
		matcher->order.size = order;
		return 0;
	}
	if (nothing)
		planned.key = LIST_NONE;
	if (planned.count > 1)
		sort_groups(groups_of(matcher) + planned.first, planned.count);
	buffer_append(&matcher->items, &planned, sizeof planned);
	return 0;
}

static int open_items(struct matcher *matcher, struct error *error)
{
	const struct query *query = matcher->query;
	int rc = 0;

	ASSERT(!query_is_all(query));
	ASSERT(matcher->items.size == 0 && !matcher->blocks_open);
	matcher->last_key = LIST_NONE - 1;
	matcher->looks = UINT64_MAX;
	matcher->steps = UINT64_MAX;
	matcher->rounds = UINT64_MAX;
	for (uint32_t i = 0; rc == 0 && i < query_item_count(query); i++)
		rc = add_item(matcher, query_item(query, i), error);
	if (rc != 0)
		matcher_close(matcher);
	return rc;
}

void matcher_open_tail(struct matcher *matcher, const struct query *query, const struct tail *tail,
		       bool backward)
{
	matcher->query = query;
	matcher->tail = tail;
	matcher->backward = backward;
	int rc = open_items(matcher, NULL);
	ASSERT(rc == 0);
}

int matcher_open_tables(struct matcher *matcher, const struct query *query, struct kv_txn *txn,
			bool backward, struct error *error)
{
	matcher->query = query;
	matcher->tail = NULL;
	matcher->tables.txn = txn;
	matcher->backward = backward;
	return open_items(matcher, error);
}

void matcher_close(struct matcher *matcher)
{
	if (matcher->blocks_open)
		block_reader_close(&matcher->blocks);
	matcher->blocks_open = false;
	list_tables_close(&matcher->tables);
	buffer_clear(&matcher->items);
	buffer_clear(&matcher->groups);
	buffer_clear(&matcher->cursors);
	buffer_clear(&matcher->order);
}

void matcher_free(struct matcher *matcher)
{
	ASSERT(matcher->items.size == 0);
	buffer_close(&matcher->items);
	buffer_close(&matcher->groups);
	buffer_close(&matcher->cursors);
	buffer_close(&matcher->order);
}

/* ---- groups ---- */

/* The cursor at the top of the heap has moved on: put it where it belongs. */
static void sift_down(const struct list_cursor *cursors, uint32_t *heap, uint32_t count)
{
	uint32_t moved = heap[0], at = 0;

	for (uint32_t child = 1; child < count; child = 2 * at + 1) {
		if (child + 1 < count && cursors[heap[child + 1]].key < cursors[heap[child]].key)
			child++;
		if (cursors[heap[child]].key >= cursors[moved].key)
			break;
		heap[at] = heap[child];
		at = child;
	}
	heap[at] = moved;
}

static int seek_group(struct matcher *matcher, struct matcher_group *group, uint64_t key,
		      struct error *error)
{
	struct list_cursor *cursors = cursors_of(matcher);
	uint32_t *heap = order_of(matcher) + group->first;

	while (cursors[heap[0]].key < key) {
		int rc = list_cursor_seek(&cursors[heap[0]], key, error);

		if (rc != 0)
			return rc;
		sift_down(cursors, heap, group->count);
		matcher->steps -= matcher->steps > 0;
	}
	group->key = cursors[heap[0]].key;
	return 0;
}

/* ---- items ---- */

/*
 * To the first candidate at or behind the key, or as far as the steps and rounds go. The groups are asked
 * in turn until all agree, so that each goes on by a position at least in every round but the last.
 */
static int seek_item(struct matcher *matcher, struct matcher_item *item, uint64_t key,
		     struct error *error)
{
	uint32_t at = 0, agreed = 0; /* how many of those asked last hold the key */

	while (agreed < item->count && key <= matcher->last_key) {
		if (matcher->steps == 0 || matcher->rounds == 0) {
			item->is_candidate = false;
			item->key = key;
			return 0;
		}
		struct matcher_group *group = groups_of(matcher) + item->first + at;
		int rc = seek_group(matcher, group, key, error);
		if (rc != 0)
			return rc;
		agreed = group->key == key ? agreed + 1 : 1;
		key = group->key;
		at = at + 1 < item->count ? at + 1 : 0;
		matcher->rounds -= at == 0 && item->count > 1;
	}
	item->is_candidate = true;
	item->key = key <= matcher->last_key ? key : LIST_NONE;
	return 0;
}

/* The item with the lowest key, the first of several; NULL when all are through. */
static struct matcher_item *lowest_item(struct matcher *matcher)
{
	struct matcher_item *items = items_of(matcher), *lowest = NULL;

	for (uint32_t i = 0; i < item_count(matcher); i++)
		if (items[i].key != LIST_NONE && (lowest == NULL || items[i].key < lowest->key))
			lowest = &items[i];
	return lowest;
}

/* ---- records ---- */

static int open_blocks(struct matcher *matcher, struct error *error)
{
	if (matcher->blocks_open)
		return 0;
	int rc = block_reader_open(&matcher->blocks, matcher->tables.txn, error);
	matcher->blocks_open = rc == 0;
	return rc;
}

/* -ENODATA without a message: it was dropped, and *hole is where. */
static int get_from_tail(const struct tail *tail, uint64_t position, struct span *record,
			 struct hole *hole)
{
	const struct tail_record *found = tail_find(tail, position);

	if (found != NULL) {
		*record = span_of(found->bytes, found->size);
		return 0;
	}
	const struct hole *dropped = tail_find_hole(tail, position);

	ASSERT(dropped != NULL);
	*hole = *dropped;
	return -ENODATA;
}

static int get_record(struct matcher *matcher, uint64_t position, struct span *record,
		      struct hole *hole, struct error *error)
{
	uint64_t hash;

	if (matcher->tail != NULL)
		return get_from_tail(matcher->tail, position, record, hole);
	int rc = open_blocks(matcher, error);
	if (rc == 0)
		rc = block_reader_get(&matcher->blocks, position, record, &hash, error);
	if (rc == -ENOENT)
		rc = tables_damage(matcher->tables.txn->kv, error, "the block table: position %llu",
				   (unsigned long long)position);
	if (rc == -ENODATA)
		*hole = matcher->blocks.hole;
	return rc;
}

int matcher_record(struct matcher *matcher, uint64_t position, struct span *record,
		   struct error *error)
{
	struct hole hole;
	int rc = get_record(matcher, position, record, &hole, error);

	ASSERT(rc != -ENODATA || matcher->tail == NULL);
	if (rc == -ENODATA)
		rc = tables_damage(matcher->tables.txn->kv, error,
				   "a list: it holds position %llu, which was dropped; it",
				   (unsigned long long)position);
	return rc;
}

/* Go behind a hole; if that counts, no farther than the looks allow. */
static uint64_t skip_hole(struct matcher *matcher, uint64_t key, const struct hole *hole)
{
	uint64_t last = list_key(matcher->backward ? hole->first : hole->last, matcher->backward);
	uint64_t skipped = last - key + 1;

	ASSERT(last >= key);
	if (matcher->decides) {
		skipped = skipped < matcher->looks ? skipped : matcher->looks;
		matcher->looks -= skipped;
	}
	return key + skipped;
}

/* Check the candidate for the prefix; *next: the first key that may be one after it. */
static int look(struct matcher *matcher, const struct matcher_item *item, bool *matches,
		uint64_t *next, struct error *error)
{
	struct span record;
	struct hole hole;
	int rc = get_record(matcher, list_key(item->key, matcher->backward), &record, &hole, error);

	if (rc == -ENODATA && item->count == 0) {
		*next = skip_hole(matcher, item->key, &hole);
		return 0;
	}
	if (rc == -ENODATA)
		rc = tables_damage(matcher->tables.txn->kv, error,
				   "a list: it holds position %llu, which was dropped; it",
				   (unsigned long long)list_key(item->key, matcher->backward));
	*next = item->key + 1;
	*matches = rc == 0 && (begins_with(record_stream(record.data), item->prefix) ||
			       MUTANT(PREFIX_IGNORED));
	matcher->looks--;
	return rc;
}

/* ---- the query ---- */

int matcher_next(struct matcher *matcher, uint64_t *key, enum matcher_result *result,
		 struct error *error)
{
	struct matcher_item *items = items_of(matcher);
	int rc = 0;

	for (uint32_t i = 0; rc == 0 && i < item_count(matcher); i++)
		if (items[i].key < *key)
			rc = seek_item(matcher, &items[i], *key, error);
	while (rc == 0) {
		struct matcher_item *item = lowest_item(matcher);
		uint64_t next = item != NULL ? item->key : 0;
		bool matches = false;

		*result = MATCHER_END;
		if (item == NULL)
			return 0;
		*key = item->key;
		if (item->is_candidate) {
			*result = MATCHER_FOUND;
			if (!item->must_look)
				return 0;
			*result = MATCHER_NO_LOOKS;
			if (matcher->looks == 0)
				return 0;
			rc = look(matcher, item, &matches, &next, error);
			*result = MATCHER_FOUND;
			if (rc != 0 || matches)
				return rc;
		} else if (matcher->steps == 0 || matcher->rounds == 0) {
			*result = MATCHER_NO_STEPS;
			return 0;
		}
		rc = seek_item(matcher, item, next, error);
	}
	return rc;
}

struct list_cursor *matcher_single(struct matcher *matcher)
{
	const struct matcher_item *item = items_of(matcher);

	if (item_count(matcher) != 1 || item->count != 1 || item->must_look ||
	    groups_of(matcher)->count != 1)
		return NULL;
	return &cursors_of(matcher)[order_of(matcher)[groups_of(matcher)->first]];
}

/* ---- how large the groups are ---- */

uint32_t matcher_group_count(const struct matcher *matcher)
{
	return (uint32_t)(matcher->groups.size / sizeof(struct matcher_group));
}

void matcher_add_sizes(const struct matcher *matcher, uint64_t *counts)
{
	const struct matcher_group *groups = groups_of(matcher);

	ASSERT(matcher->decides && item_count(matcher) <= 1);
	for (uint32_t i = 0; i < matcher_group_count(matcher); i++)
		counts[groups[i].number] += groups[i].size;
}

static int add_between(struct list_cursor *list, uint64_t after, uint64_t last, uint64_t *count,
		       struct error *error)
{
	uint64_t before, rank;
	int rc = list_cursor_rank(list, after, &before, error);

	if (rc == 0)
		rc = list_cursor_rank(list, last, &rank, error);
	if (rc == 0)
		*count += rank - before;
	return rc;
}

int matcher_add_between(struct matcher *matcher, uint64_t after, uint64_t last, uint64_t *counts,
			struct error *error)
{
	const struct matcher_group *groups = groups_of(matcher);
	int rc = 0;

	ASSERT(matcher->decides && item_count(matcher) <= 1 && after <= last);
	for (uint32_t i = 0; i < matcher_group_count(matcher); i++)
		for (uint32_t list = 0; rc == 0 && list < groups[i].count; list++)
			rc = add_between(
				&cursors_of(matcher)[order_of(matcher)[groups[i].first + list]],
				after, last, &counts[groups[i].number], error);
	return rc;
}
