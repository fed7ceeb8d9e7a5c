/* What there is: streams, categories, types, how many events, which position was when. */
#include "client/client.h"

#include "base/memory.h"

/* A page with the memory behind it. */
struct names {
	struct annal_names public; /* first: the user's pointer is ours */
	struct annal_name *items;
	size_t capacity;
	uint8_t *raw;
};

void annal_names_free(struct annal_names *names)
{
	struct names *whole = (struct names *)names;

	if (names == NULL)
		return;
	memory_free(whole->items);
	memory_free(whole->raw);
	memory_free(whole);
}

/* ---- requests ---- */

static uint32_t list_pairs(const struct annal_list *list)
{
	return (uint32_t)((list->prefix != NULL) + (list->category != NULL) +
			  (list->after.size > 0) + (list->limit > 0));
}

void list_begin(struct annal_client *client, struct call *call, const char *method,
		const struct annal_list *list)
{
	struct buffer *bytes = &call->request.bytes;

	read_begin(client, call, method, list_pairs(list));
	if (list->prefix != NULL)
		wire_write_text(bytes, "prefix", list->prefix);
	if (list->category != NULL)
		wire_write_text(bytes, "category", list->category);
	if (list->after.size > 0)
		wire_write_string(bytes, "after", list->after);
	if (list->limit > 0)
		wire_write_number(bytes, "limit", list->limit);
}

/* ---- answers ---- */

static bool read_name(struct msgpack_reader *reader, struct annal_name *name)
{
	struct span text;
	uint32_t count;

	if (!msgpack_read_array(reader, &count) || count < 2 || !msgpack_read_str(reader, &text) ||
	    !msgpack_read_u64(reader, &name->number))
		return false;
	name->name = decode_bytes(text);
	while (count-- > 2)
		if (!msgpack_read_skip(reader))
			return false;
	return true;
}

static bool read_names(struct span array, struct names *names)
{
	struct msgpack_reader reader = msgpack_reader_of(array);
	uint32_t count;

	if (array.size == 0 || !msgpack_read_array(&reader, &count) || count > LIMIT_NAMES)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		names->items =
			decode_make_room(names->items, i, &names->capacity, sizeof names->items[0]);
		if (!read_name(&reader, &names->items[i]))
			return false;
	}
	names->public.items = names->items;
	names->public.count = count;
	return true;
}

static bool decode_names(struct span answer, const char *key, struct names *names)
{
	struct annal_names *public = &names->public;
	struct span array = {0};
	const struct decode_field fields[] = {{key, DECODE_RAW, &array},
					      {"next", DECODE_TEXT, &public->next},
					      {"end", DECODE_BOOL, &public->end},
					      {"head", DECODE_U64, &public->head}};

	if (!DECODE_FIELDS(answer, fields) || !read_names(array, names))
		return false;
	/* A page that leads nowhere would be asked for again, for ever. */
	return public->end || public->next.size > 0;
}

static enum annal_code list_names(struct annal_client *client, const char *method, const char *key,
				  const struct annal_list *list, struct annal_names **into)
{
	struct call *call = call_new_read(client);
	struct span answer;
	size_t size;

	if (call == NULL)
		return ANNAL_MISUSE;
	list_begin(client, call, method, list);
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	struct names *names = memory_zeroed(1, sizeof *names);

	names->raw = buffer_take(&client->answer, &size);
	if (!decode_names(span_of(names->raw, size), key, names)) {
		annal_names_free(&names->public);
		return call_bad_answer(client, method);
	}
	client_observe(client, names->public.head);
	*into = &names->public;
	return ANNAL_OK;
}

enum annal_code annal_list_streams(struct annal_client *client, const struct annal_list *list,
				   struct annal_names **names)
{
	return list_names(client, "stream_list", "streams", list, names);
}

enum annal_code annal_list_categories(struct annal_client *client, const struct annal_list *list,
				      struct annal_names **names)
{
	return list_names(client, "category_list", "categories", list, names);
}

enum annal_code annal_list_types(struct annal_client *client, const struct annal_list *list,
				 struct annal_names **names)
{
	return list_names(client, "type_list", "types", list, names);
}

/* ---- numbers ---- */

/* Run a call whose answer has a number, and the head. */
static enum annal_code read_number(struct annal_client *client, struct call *call,
				   const char *method, const char *key, uint64_t *number)
{
	uint64_t head = 0, value = UINT64_MAX;
	struct span answer;
	const struct decode_field fields[] = {{key, DECODE_U64, &value},
					      {"head", DECODE_U64, &head}};
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!DECODE_FIELDS(answer, fields) || value == UINT64_MAX)
		return call_bad_answer(client, method);
	client_observe(client, head);
	*number = value;
	return ANNAL_OK;
}

enum annal_code annal_count(struct annal_client *client, const struct annal_query *query,
			    uint64_t *count)
{
	struct call *call = call_new_read(client);

	if (call == NULL)
		return ANNAL_MISUSE;
	read_begin(client, call, "count", 1);
	msgpack_write_string(&call->request.bytes, "query");
	wire_write_query(&call->request.bytes, query);
	return read_number(client, call, "count", "count", count);
}

enum annal_code annal_position_at(struct annal_client *client, int64_t time_ns, uint64_t *position)
{
	struct call *call = call_new_read(client);

	if (call == NULL)
		return ANNAL_MISUSE;
	read_begin(client, call, "position_at", 1);
	msgpack_write_string(&call->request.bytes, "time");
	msgpack_write_i64(&call->request.bytes, time_ns);
	return read_number(client, call, "position_at", "position", position);
}
