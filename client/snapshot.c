/* Snapshots, and streams loaded by them. */
#include "client/client.h"

#include "base/memory.h"

/* With the memory behind it. */
struct aggregate {
	struct annal_aggregate public; /* first: the user's pointer is ours */
	struct annal_snapshot snapshot;
	struct decode_events events;
	uint8_t *raw;
};

/* ---- write ---- */

enum annal_code annal_snapshot_put(struct annal_client *client, const char *stream,
				   const struct annal_snapshot *snapshot)
{
	struct call *call = call_new_write(client, true);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, "snapshot_put", 3u + (snapshot->type.size > 0), true);
	wire_write_text(&call->request.bytes, "stream", stream);
	wire_write_number(&call->request.bytes, "version", snapshot->version);
	if (snapshot->type.size > 0)
		wire_write_string(&call->request.bytes, "type", snapshot->type);
	wire_write_bin(&call->request.bytes, "data", snapshot->data);
	return call_run_write(client, call, "snapshot_put");
}

enum annal_code annal_snapshot_delete(struct annal_client *client, const char *stream)
{
	struct call *call = call_new_write(client, true);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, "snapshot_delete", 1, true);
	wire_write_text(&call->request.bytes, "stream", stream);
	return call_run_write(client, call, "snapshot_delete");
}

/* ---- read ---- */

static bool decode_snapshot(struct span map, struct annal_snapshot *snapshot, uint64_t *head)
{
	const struct decode_field fields[] = {{"version", DECODE_U64, &snapshot->version},
					      {"type", DECODE_TEXT, &snapshot->type},
					      {"data", DECODE_BIN, &snapshot->data},
					      {"created", DECODE_I64, &snapshot->created_ns},
					      {"head", DECODE_U64, head}};

	*snapshot = (struct annal_snapshot){0};
	return DECODE_FIELDS(map, fields) && snapshot->version > 0;
}

enum annal_code annal_snapshot_get(struct annal_client *client, const char *stream,
				   uint64_t max_version, struct annal_snapshot *snapshot)
{
	struct call *call = call_new_read(client);
	struct annal_snapshot decoded;
	uint64_t head = 0;
	struct span answer;

	if (call == NULL)
		return ANNAL_MISUSE;
	read_begin(client, call, "snapshot_get", 1u + (max_version > 0));
	wire_write_text(&call->request.bytes, "stream", stream);
	if (max_version > 0)
		wire_write_number(&call->request.bytes, "max_version", max_version);
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!decode_snapshot(answer, &decoded, &head))
		return call_bad_answer(client, "snapshot_get");
	client_observe(client, head);
	*snapshot = decoded;
	return ANNAL_OK;
}

void annal_aggregate_free(struct annal_aggregate *aggregate)
{
	struct aggregate *whole = (struct aggregate *)aggregate;

	if (aggregate == NULL)
		return;
	decode_events_close(&whole->events);
	memory_free(whole->raw);
	memory_free(whole);
}

static bool decode_aggregate(struct span answer, struct aggregate *aggregate)
{
	struct annal_aggregate *public = &aggregate->public;
	struct span events = {0}, snapshot = {0};
	uint64_t unused;
	const struct decode_field fields[] = {
		{"snapshot", DECODE_RAW, &snapshot},       {"events", DECODE_RAW, &events},
		{"version", DECODE_U64, &public->version}, {"next", DECODE_U64, &public->next},
		{"end", DECODE_BOOL, &public->end},        {"head", DECODE_U64, &public->head}};

	public->end = true; /* a node that says nothing else has sent all */
	if (!DECODE_FIELDS(answer, fields) || !decode_events(events, &aggregate->events))
		return false;
	if (snapshot.size > 0) {
		if (!decode_snapshot(snapshot, &aggregate->snapshot, &unused))
			return false;
		public->snapshot = &aggregate->snapshot;
	}
	public->events = aggregate->events.events;
	public->count = aggregate->events.count;
	return true;
}

enum annal_code annal_load(struct annal_client *client, const char *stream,
			   struct annal_aggregate **into)
{
	struct call *call = call_new_read(client);
	struct span answer;
	size_t size;

	if (call == NULL)
		return ANNAL_MISUSE;
	read_begin(client, call, "load", 1);
	wire_write_text(&call->request.bytes, "stream", stream);
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	struct aggregate *aggregate = memory_zeroed(1, sizeof *aggregate);

	decode_events_init(&aggregate->events);
	aggregate->raw = buffer_take(&client->answer, &size);
	if (!decode_aggregate(span_of(aggregate->raw, size), aggregate)) {
		annal_aggregate_free(&aggregate->public);
		return call_bad_answer(client, "load");
	}
	client_observe(client, aggregate->public.head);
	*into = &aggregate->public;
	return ANNAL_OK;
}
