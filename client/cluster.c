/* Any method, and typed forms of those about nodes, streams and the cluster. */
#include "client/client.h"

/* A call with what every method here needs; NULL with the error set. */
static struct call *new_call(struct annal_client *client, enum annal_target target)
{
	return target == ANNAL_TARGET_LEADER ? call_new_write(client, false)
					     : call_new_read(client);
}

static bool is_one_value(struct span params)
{
	struct msgpack_scanner scanner;

	/* The request around it adds an array and an array: two levels. */
	msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES - 4096, LIMIT_DEPTH - 2);
	return msgpack_scan(&scanner, params.data, params.size) == MSGPACK_SCAN_VALUE &&
	       scanner.offset == params.size;
}

enum annal_code annal_call(struct annal_client *client, enum annal_target target,
			   const char *method, struct annal_bytes params,
			   struct annal_bytes *result)
{
	struct call *call = new_call(client, target);
	uint32_t timeout_ms = 0;
	struct span answer;

	if (call == NULL)
		return ANNAL_MISUSE;
	if (strlen(method) > LIMIT_METHOD_NAME_BYTES ||
	    (params.size > 0 && !is_one_value(decode_span(params))) ||
	    !wire_generic(&call->request, method, decode_span(params), &timeout_ms)) {
		call_abandon(client, call);
		return client_fail(client, ANNAL_INVALID_ARGUMENT,
				   "params must be one msgpack map, the method at most %u bytes",
				   LIMIT_METHOD_NAME_BYTES);
	}
	enum annal_code code = call_run(client, call, timeout_ms, &answer);

	if (code == ANNAL_OK)
		*result = decode_bytes(answer);
	return code;
}

/* A method without parameters. */
static enum annal_code call_plain(struct annal_client *client, const char *method,
				  struct span *answer)
{
	struct annal_bytes result;
	enum annal_code code =
		annal_call(client, ANNAL_TARGET_READ, method, (struct annal_bytes){0}, &result);

	if (code == ANNAL_OK)
		*answer = decode_span(result);
	return code;
}

enum annal_code annal_hello(struct annal_client *client, struct annal_server *server)
{
	struct annal_server decoded = {0};
	struct span answer, limits = {0};
	const struct decode_field fields[] = {
		{"version", DECODE_TEXT, &decoded.version},
		{"protocol", DECODE_U64, &decoded.protocol},
		{"cluster", DECODE_TEXT, &decoded.cluster},
		{"node_id", DECODE_U64, &decoded.node_id},
		{"role", DECODE_TEXT, &decoded.role},
		{"leader_id", DECODE_U64, &decoded.leader_id},
		{"leader", DECODE_TEXT, &decoded.leader},
		{"head", DECODE_U64, &decoded.head},
		{"limits", DECODE_RAW, &limits},
	};
	const struct decode_field limit_fields[] = {
		{"max_event", DECODE_U64, &decoded.max_event},
		{"max_append", DECODE_U64, &decoded.max_append},
		{"max_message", DECODE_U64, &decoded.max_message},
		{"max_depth", DECODE_U64, &decoded.max_depth},
	};
	enum annal_code code = call_plain(client, "hello", &answer);

	if (code != ANNAL_OK)
		return code;
	if (!DECODE_FIELDS(answer, fields) || !DECODE_FIELDS(limits, limit_fields))
		return call_bad_answer(client, "hello");
	*server = decoded;
	return ANNAL_OK;
}

enum annal_code annal_ping(struct annal_client *client, struct annal_pong *pong)
{
	struct annal_pong decoded = {0};
	struct span answer;
	const struct decode_field fields[] = {{"time", DECODE_I64, &decoded.time_ns},
					      {"head", DECODE_U64, &decoded.head},
					      {"role", DECODE_TEXT, &decoded.role}};
	enum annal_code code = call_plain(client, "ping", &answer);

	if (code != ANNAL_OK)
		return code;
	if (!DECODE_FIELDS(answer, fields))
		return call_bad_answer(client, "ping");
	*pong = decoded;
	return ANNAL_OK;
}

enum annal_code annal_digest(struct annal_client *client, uint64_t *position,
			     struct annal_bytes *hash)
{
	struct call *call = new_call(client, ANNAL_TARGET_READ);
	struct annal_bytes text = {0};
	uint64_t at = 0;
	struct span answer;
	const struct decode_field fields[] = {{"position", DECODE_U64, &at},
					      {"hash", DECODE_BIN, &text}};

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, "digest", *position > 0, false);
	if (*position > 0)
		wire_write_number(&call->request.bytes, "position", *position);
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!DECODE_FIELDS(answer, fields))
		return call_bad_answer(client, "digest");
	*position = at;
	*hash = text;
	return ANNAL_OK;
}

enum annal_code annal_stream_info(struct annal_client *client, const char *stream,
				  struct annal_stream_info *info)
{
	struct call *call = new_call(client, ANNAL_TARGET_READ);
	struct annal_stream_info decoded = {0};
	struct span answer;
	const struct decode_field fields[] = {
		{"state", DECODE_TEXT, &decoded.state},
		{"version", DECODE_U64, &decoded.version},
		{"first_version", DECODE_U64, &decoded.first_version},
		{"count", DECODE_U64, &decoded.count},
		{"created", DECODE_I64, &decoded.created_ns},
		{"updated", DECODE_I64, &decoded.updated_ns},
		{"head", DECODE_U64, &decoded.head},
	};

	if (call == NULL)
		return ANNAL_MISUSE;
	read_begin(client, call, "stream_info", 1);
	wire_write_text(&call->request.bytes, "stream", stream);
	enum annal_code code = call_run(client, call, 0, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!DECODE_FIELDS(answer, fields))
		return call_bad_answer(client, "stream_info");
	client_observe(client, decoded.head);
	*info = decoded;
	return ANNAL_OK;
}

/* ---- cluster ---- */

static bool decode_member(struct span map, struct annal_member *member)
{
	const struct decode_field fields[] = {
		{"id", DECODE_U64, &member->id},
		{"address", DECODE_TEXT, &member->address},
		{"client_address", DECODE_TEXT, &member->client_address},
		{"role", DECODE_TEXT, &member->role},
		{"state", DECODE_TEXT, &member->state},
		{"match", DECODE_U64, &member->match},
		{"head", DECODE_U64, &member->head},
		{"lag", DECODE_U64, &member->lag},
		{"last_contact_ms", DECODE_U64, &member->last_contact_ms},
	};

	*member = (struct annal_member){.match = ANNAL_ABSENT,
					.head = ANNAL_ABSENT,
					.lag = ANNAL_ABSENT,
					.last_contact_ms = ANNAL_ABSENT};
	return DECODE_FIELDS(map, fields);
}

static bool decode_members(struct span array, struct annal_cluster_status *status)
{
	struct msgpack_reader reader = msgpack_reader_of(array);
	struct span map;
	uint32_t count;

	if (array.size == 0 || !msgpack_read_array(&reader, &count) || count > ANNAL_NODES_MAX)
		return false;
	for (uint32_t i = 0; i < count; i++)
		if (!msgpack_read_raw(&reader, &map) || !decode_member(map, &status->nodes[i]))
			return false;
	status->nodes_count = count;
	return true;
}

enum annal_code annal_cluster_status(struct annal_client *client,
				     struct annal_cluster_status *status)
{
	struct span answer, nodes = {0};
	const struct decode_field fields[] = {
		{"cluster", DECODE_TEXT, &status->cluster},
		{"term", DECODE_U64, &status->term},
		{"leader_id", DECODE_U64, &status->leader_id},
		{"nodes", DECODE_RAW, &nodes},
		{"head", DECODE_U64, &status->head},
		{"commit_index", DECODE_U64, &status->commit_index},
		{"applied_index", DECODE_U64, &status->applied_index},
	};
	enum annal_code code = call_plain(client, "cluster_status", &answer);

	if (code != ANNAL_OK)
		return code;
	*status = (struct annal_cluster_status){0};
	if (!DECODE_FIELDS(answer, fields) || !decode_members(nodes, status))
		return call_bad_answer(client, "cluster_status");
	return ANNAL_OK;
}

enum annal_code annal_cluster_add(struct annal_client *client, uint64_t id,
				  const char *peer_address, const char *client_address,
				  const char *role)
{
	struct call *call = new_call(client, ANNAL_TARGET_LEADER);
	struct span answer;

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, "cluster_add", 3u + (role != NULL), false);
	wire_write_number(&call->request.bytes, "id", id);
	wire_write_text(&call->request.bytes, "peer_address", peer_address);
	wire_write_text(&call->request.bytes, "client_address", client_address);
	if (role != NULL)
		wire_write_text(&call->request.bytes, "role", role);
	return call_run(client, call, 0, &answer);
}

enum annal_code annal_cluster_assign(struct annal_client *client, uint64_t id, const char *role)
{
	struct call *call = new_call(client, ANNAL_TARGET_LEADER);
	struct span answer;

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, "cluster_assign", 2, false);
	wire_write_number(&call->request.bytes, "id", id);
	wire_write_text(&call->request.bytes, "role", role);
	return call_run(client, call, 0, &answer);
}

/* A method whose one parameter is a node; 0: none. */
static enum annal_code call_about_node(struct annal_client *client, const char *method, uint64_t id)
{
	struct call *call = new_call(client, ANNAL_TARGET_LEADER);
	struct span answer;

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_request_begin(&call->request, method, id > 0, false);
	if (id > 0)
		wire_write_number(&call->request.bytes, "id", id);
	return call_run(client, call, 0, &answer);
}

enum annal_code annal_cluster_remove(struct annal_client *client, uint64_t id)
{
	if (id == 0)
		return client_fail(client, ANNAL_INVALID_ARGUMENT, "which node? ids begin at 1");
	return call_about_node(client, "cluster_remove", id);
}

enum annal_code annal_cluster_transfer(struct annal_client *client, uint64_t id)
{
	return call_about_node(client, "cluster_transfer", id);
}
