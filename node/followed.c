#include "node/followed.h"

#include "base/assert.h"
#include "base/memory.h"
#include "base/text.h"

/* A name that items are found by; gone with the last of them. */
struct label {
	struct table_link link;
	enum label_kind kind;
	uint32_t watch_count;
	struct watch *watches;
	struct span name; /* behind the struct */
};

/* One item under one label. */
struct watch {
	struct label *label;
	struct followed *followed;
	struct watch *next, **link; /* of the label */
	uint32_t item;
};

void followed_set_init(struct followed_set *set)
{
	*set = (struct followed_set){0};
	table_init(&set->queries);
	table_init(&set->labels);
}

void followed_set_close(struct followed_set *set)
{
	ASSERT(set->bytes == 0);
	table_close(&set->queries);
	table_close(&set->labels);
}

/* ---- labels ---- */

static uint64_t label_hash(enum label_kind kind, struct span name)
{
	return table_hash(name) + (uint64_t)kind * UINT64_C(0x9e3779b97f4a7c15);
}

static struct label *label_find(const struct followed_set *set, enum label_kind kind,
				struct span name)
{
	if (set->label_counts[kind] == 0)
		return NULL;
	for (struct table_link *link = table_first(&set->labels, label_hash(kind, name));
	     link != NULL; link = table_next(link)) {
		struct label *label = TABLE_ENTRY(link, struct label, link);

		if (label->kind == kind && span_equal(label->name, name))
			return label;
	}
	return NULL;
}

static void count_prefix(struct followed_set *set, size_t bytes, bool more)
{
	ASSERT(bytes >= 1 && bytes <= LIMIT_STREAM_NAME_BYTES);
	if (more)
		set->prefix_counts[bytes]++;
	else
		set->prefix_counts[bytes]--;
	if (more && bytes > set->prefix_bytes_max)
		set->prefix_bytes_max = bytes;
	while (set->prefix_bytes_max > 0 && set->prefix_counts[set->prefix_bytes_max] == 0)
		set->prefix_bytes_max--;
}

static struct label *label_make(struct followed_set *set, enum label_kind kind, struct span name)
{
	struct label *label = memory_zeroed(1, sizeof *label + name.size);

	memcpy(label + 1, name.data, name.size);
	label->kind = kind;
	label->name = span_of(label + 1, name.size);
	table_put(&set->labels, &label->link, label_hash(kind, name));
	set->label_counts[kind]++;
	if (kind == LABEL_PREFIX)
		count_prefix(set, name.size, true);
	return label;
}

static void label_free(struct followed_set *set, struct label *label)
{
	ASSERT(label->watch_count == 0 && label->watches == NULL);
	table_remove(&set->labels, &label->link);
	set->label_counts[label->kind]--;
	if (label->kind == LABEL_PREFIX)
		count_prefix(set, label->name.size, false);
	memory_free(label);
}

/* ---- watches ---- */

static void watch_put(struct followed_set *set, struct followed *followed, uint32_t item,
		      enum label_kind kind, struct span name)
{
	struct watch *watch = &followed->watches[followed->watch_count++];
	struct label *label = label_find(set, kind, name);

	if (label == NULL)
		label = label_make(set, kind, name);
	*watch = (struct watch){
		.label = label, .followed = followed, .item = item, .next = label->watches};
	watch->link = &label->watches;
	if (label->watches != NULL)
		label->watches->link = &watch->next;
	label->watches = watch;
	label->watch_count++;
}

static void watch_remove(struct followed_set *set, struct watch *watch)
{
	struct label *label = watch->label;

	ASSERT(label->watch_count > 0);
	*watch->link = watch->next;
	if (watch->next != NULL)
		watch->next->link = watch->link;
	if (--label->watch_count == 0)
		label_free(set, label);
}

static void watch_all_of(struct followed_set *set, struct followed *followed, uint32_t index,
			 enum query_part part, enum label_kind kind)
{
	const struct query_item *item = query_item(&followed->query, index);
	const struct span *names = query_item_names(&followed->query, item, part);

	for (uint32_t i = 0; i < item->count[part]; i++)
		watch_put(set, followed, index, kind, names[i]);
}

/* The tag that the fewest are found by. */
static void watch_one_tag(struct followed_set *set, struct followed *followed, uint32_t index)
{
	const struct query_item *item = query_item(&followed->query, index);
	const struct span *tags = query_item_names(&followed->query, item, QUERY_TAGS);
	uint32_t best = 0, best_count = UINT32_MAX;

	for (uint32_t i = 0; i < item->count[QUERY_TAGS] && best_count > 0; i++) {
		const struct label *label = label_find(set, LABEL_TAG, tags[i]);
		uint32_t count = label == NULL ? 0 : label->watch_count;

		if (count < best_count) {
			best = i;
			best_count = count;
		}
	}
	watch_put(set, followed, index, LABEL_TAG, tags[best]);
}

static bool names_category(struct span prefix)
{
	return prefix.size > 1 && memchr(prefix.data + 1, '-', prefix.size - 1) != NULL &&
	       prefix.data[0] != '-';
}

static void watch_item(struct followed_set *set, struct followed *followed, uint32_t index)
{
	const struct query_item *item = query_item(&followed->query, index);

	if (item->count[QUERY_STREAMS] > 0)
		watch_all_of(set, followed, index, QUERY_STREAMS, LABEL_STREAM);
	else if (item->count[QUERY_TAGS] > 0)
		watch_one_tag(set, followed, index);
	else if (item->count[QUERY_CATEGORIES] > 0)
		watch_all_of(set, followed, index, QUERY_CATEGORIES, LABEL_CATEGORY);
	else if (names_category(item->prefix))
		watch_put(set, followed, index, LABEL_CATEGORY, text_category(item->prefix));
	else if (item->count[QUERY_TYPES] > 0)
		watch_all_of(set, followed, index, QUERY_TYPES, LABEL_TYPE);
	else if (item->prefix.size <= LIMIT_STREAM_NAME_BYTES) /* a longer one begins no name */
		watch_put(set, followed, index, LABEL_PREFIX, item->prefix);
}

/* ---- queries ---- */

static struct followed *find(const struct followed_set *set, struct span encoded, uint64_t hash)
{
	for (struct table_link *link = table_first(&set->queries, hash); link != NULL;
	     link = table_next(link)) {
		struct followed *followed = TABLE_ENTRY(link, struct followed, link);

		if (span_equal(followed->encoded, encoded))
			return followed;
	}
	return NULL;
}

/* With its labels, as if no other query had them. */
static uint64_t bytes_of(const struct query *query, struct span encoded)
{
	uint64_t names = query_name_count(query);

	return sizeof(struct followed) + 2 * encoded.size +
	       query_item_count(query) * sizeof(struct query_item) +
	       names * (sizeof(struct span) + sizeof(struct watch) + sizeof(struct label));
}

static struct followed *make(struct followed_set *set, const struct query *query,
			     struct span encoded, uint64_t hash)
{
	struct followed *followed = memory_zeroed(1, sizeof *followed + encoded.size);
	struct error error;

	memcpy(followed + 1, encoded.data, encoded.size);
	followed->encoded = span_of(followed + 1, encoded.size);
	followed->bytes = bytes_of(query, encoded);
	followed->audience.live.last = &followed->audience.live.first;
	query_init(&followed->query);
	int rc = query_parse(followed->encoded, &followed->query, &error);

	ASSERT(rc == 0);
	followed->watches = memory_zeroed(query_name_count(query), sizeof *followed->watches);
	for (uint32_t i = 0; i < query_item_count(query); i++)
		watch_item(set, followed, i);
	table_put(&set->queries, &followed->link, hash);
	set->bytes += followed->bytes;
	return followed;
}

struct followed *followed_hold(struct followed_set *set, const struct query *query)
{
	struct buffer bytes;

	ASSERT(!query_is_all(query));
	buffer_init(&bytes);
	query_encode(query, &bytes);
	struct span encoded = buffer_span(&bytes);
	uint64_t hash = table_hash(encoded);
	struct followed *followed = find(set, encoded, hash);

	if (followed == NULL && set->bytes + bytes_of(query, encoded) <= LIMIT_FOLLOWED_BYTES)
		followed = make(set, query, encoded, hash);
	buffer_close(&bytes);
	return followed == NULL ? NULL : followed_again(followed);
}

struct followed *followed_again(struct followed *followed)
{
	followed->references++;
	return followed;
}

void followed_release(struct followed_set *set, struct followed *followed)
{
	ASSERT(followed->references > 0);
	if (--followed->references > 0)
		return;
	ASSERT(followed->audience.chain_first == 0 && followed->audience.live.first == NULL);
	for (uint32_t i = 0; i < followed->watch_count; i++)
		watch_remove(set, &followed->watches[i]);
	table_remove(&set->queries, &followed->link);
	set->bytes -= followed->bytes;
	query_close(&followed->query);
	memory_free(followed->watches);
	memory_free(followed);
}

/* ---- records ---- */

/* Calls visit(arg, label) for each label that the record has; false as soon as that does. */
static bool each_label(const struct followed_set *set, const struct record *record,
		       bool (*visit)(void *arg, const struct label *label), void *arg)
{
	const struct {
		enum label_kind kind;
		struct span name;
	} single[] = {{LABEL_STREAM, record->stream},
		      {LABEL_CATEGORY, text_category(record->stream)},
		      {LABEL_TYPE, record->type}};
	const struct label *label;

	for (size_t i = 0; i < sizeof single / sizeof single[0]; i++) {
		label = label_find(set, single[i].kind, single[i].name);
		if (label != NULL && !visit(arg, label))
			return false;
	}
	for (uint32_t i = 0; i < record->tag_count; i++) {
		label = label_find(set, LABEL_TAG, record->tags[i]);
		if (label != NULL && !visit(arg, label))
			return false;
	}
	for (size_t bytes = 1; bytes <= set->prefix_bytes_max && bytes <= record->stream.size;
	     bytes++) {
		label = set->prefix_counts[bytes] == 0
				? NULL
				: label_find(set, LABEL_PREFIX,
					     span_of(record->stream.data, bytes));
		if (label != NULL && !visit(arg, label))
			return false;
	}
	return true;
}

static bool stop_at_any(void *arg, const struct label *label)
{
	(void)arg;
	(void)label;
	return false;
}

static bool is_system(const struct record *record)
{
	return record->stream.data[0] == '$';
}

bool followed_set_concerns(const struct followed_set *set, const struct record *record)
{
	return !is_system(record) && !each_label(set, record, stop_at_any, NULL);
}

struct matching {
	const struct record *record;
	void (*matched)(void *arg, struct followed *followed);
	void *arg;
};

static bool match_label(void *arg, const struct label *label)
{
	const struct matching *matching = arg;
	const struct record *record = matching->record;

	for (const struct watch *watch = label->watches; watch != NULL; watch = watch->next) {
		struct followed *followed = watch->followed;
		const struct query *query = &followed->query;

		if (followed->audience.live.first == NULL ||
		    followed->matched == record->position ||
		    !query_item_matches(query, query_item(query, watch->item), record))
			continue;
		followed->matched = record->position;
		matching->matched(matching->arg, followed);
	}
	return true;
}

void followed_set_match(const struct followed_set *set, const struct record *record,
			void (*matched)(void *arg, struct followed *followed), void *arg)
{
	struct matching matching = {.record = record, .matched = matched, .arg = arg};

	if (!is_system(record))
		each_label(set, record, match_label, &matching);
}
