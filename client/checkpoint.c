/* Checkpoints: how far consumers have come. */
#include "client/client.h"

#include "base/memory.h"

/* A page with the memory behind it. */
struct checkpoints {
	struct annal_checkpoints public; /* first: the user's pointer is ours */
	struct annal_checkpoint_info *items;
	size_t capacity;
	uint8_t *raw;
};

/* ---- write ---- */

enum annal_code annal_checkpoint_put(struct annal_client *client,
				     const struct annal_checkpoint *checkpoint,
				     const uint64_t *if_position)
{
	/* Done twice, it would find its own position instead of the one that it expects. */
	bool idempotent = if_position == NULL;

	if (checkpoint->consumer == NULL)
		return client_fail(client, ANNAL_INVALID_ARGUMENT,
				   "the checkpoint has no consumer");
	struct call *call = call_new_write(client, idempotent);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, "checkpoint_put",
			   wire_checkpoint_pairs(checkpoint) + (if_position != NULL), true);
	wire_write_checkpoint(&call->request.bytes, checkpoint);
	if (if_position != NULL)
		wire_write_number(&call->request.bytes, "if_position", *if_position);
	return call_run_write(client, call, "checkpoint_put");
}

enum annal_code annal_checkpoint_delete(struct annal_client *client, const char *consumer)
{
	struct call *call = call_new_write(client, true);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, "checkpoint_delete", 1, true);
	wire_write_text(&call->request.bytes, "consumer", consumer);
	return call_run_write(client, call, "checkpoint_delete");
}

/* ---- read ---- */

static bool decode_checkpoint(struct span map, struct annal_checkpoint_info *info, uint64_t *head)
{
	const struct decode_field fields[] = {{"consumer", DECODE_TEXT, &info->consumer},
					      {"position", DECODE_U64, &info->position},
					      {"epoch", DECODE_U64, &info->epoch},
					      {"updated", DECODE_I64, &info->updated_ns},
					      {"head", DECODE_U64, head}};

	*info = (struct annal_checkpoint_info){.position = UINT64_MAX};
	return DECODE_FIELDS(map, fields) && info->position != UINT64_MAX;
}

enum annal_code annal_checkpoint_get(struct annal_client *client, const char *consumer,
				     struct annal_checkpoint_info *info)
{
	struct call *call = call_new_read(client);
	struct annal_checkpoint_info decoded;
	uint64_t head = 0;
	struct span answer;

	if (call == NULL)
		return ANNAL_MISUSE;
	read_begin(client, call, "checkpoint_get", 1);
	wire_write_text(&call->request.bytes, "consumer", consumer);
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!decode_checkpoint(answer, &decoded, &head))
		return call_bad_answer(client, "checkpoint_get");
	client_observe(client, head);
	decoded.consumer = annal_text(consumer);
	*info = decoded;
	return ANNAL_OK;
}

void annal_checkpoints_free(struct annal_checkpoints *checkpoints)
{
	struct checkpoints *whole = (struct checkpoints *)checkpoints;

	if (checkpoints == NULL)
		return;
	memory_free(whole->items);
	memory_free(whole->raw);
	memory_free(whole);
}

static bool read_checkpoints(struct span array, struct checkpoints *list)
{
	struct msgpack_reader reader = msgpack_reader_of(array);
	uint32_t count;
	uint64_t head;
	struct span map;

	if (array.size == 0 || !msgpack_read_array(&reader, &count) || count > LIMIT_NAMES)
		return false;
	for (uint32_t i = 0; i < count; i++) {
		list->items =
			decode_make_room(list->items, i, &list->capacity, sizeof list->items[0]);
		if (!msgpack_read_raw(&reader, &map) ||
		    !decode_checkpoint(map, &list->items[i], &head))
			return false;
	}
	list->public.items = list->items;
	list->public.count = count;
	return true;
}

static bool decode_checkpoints(struct span answer, struct checkpoints *list)
{
	struct annal_checkpoints *public = &list->public;
	struct span array = {0};
	const struct decode_field fields[] = {{"checkpoints", DECODE_RAW, &array},
					      {"next", DECODE_TEXT, &public->next},
					      {"end", DECODE_BOOL, &public->end},
					      {"head", DECODE_U64, &public->head}};

	return DECODE_FIELDS(answer, fields) && read_checkpoints(array, list) &&
	       (public->end || public->next.size > 0);
}

enum annal_code annal_checkpoint_list(struct annal_client *client, const struct annal_list *list,
				      struct annal_checkpoints **into)
{
	struct call *call = call_new_read(client);
	struct span answer;
	size_t size;

	if (call == NULL)
		return ANNAL_MISUSE;
	list_begin(client, call, "checkpoint_list", list);
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	struct checkpoints *checkpoints = memory_zeroed(1, sizeof *checkpoints);

	checkpoints->raw = buffer_take(&client->answer, &size);
	if (!decode_checkpoints(span_of(checkpoints->raw, size), checkpoints)) {
		annal_checkpoints_free(&checkpoints->public);
		return call_bad_answer(client, "checkpoint_list");
	}
	client_observe(client, checkpoints->public.head);
	*into = &checkpoints->public;
	return ANNAL_OK;
}
