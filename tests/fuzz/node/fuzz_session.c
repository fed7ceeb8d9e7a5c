/*
 * Any bytes of a client, in two pieces: the session answers each request once, or ends with its last
 * words; what it says is msgpack; and another client is served afterwards. Each input gets a node of its
 * own that holds a few events. The first byte of the input says where the cut is.
 */
#include "client/wire.h"
#include "tests/unit/node/whole_node.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Requests are given up with their session, so a few turns are enough for each input. */
#define TURNS 20

static void check_output(const struct fake_client *client)
{
	struct msgpack_scanner scanner;
	size_t at = 0;

	while (at < client->out.size) {
		msgpack_scanner_init(&scanner, LIMIT_MESSAGE_BYTES, LIMIT_DEPTH);
		enum msgpack_scan found =
			msgpack_scan(&scanner, client->out.data + at, client->out.size - at);

		ASSERT(found == MSGPACK_SCAN_VALUE);
		at += scanner.offset;
	}
}

static void check_bystander(struct whole_node *whole)
{
	static const uint8_t ping[] = {0x94, 0x00, 0x01, 0xa4, 'p', 'i', 'n', 'g', 0x90};
	struct fake_client client;

	fake_client_open(&client, whole);
	session_receive(client.session, ping, sizeof ping);
	session_flush(client.session);
	ASSERT(client.out.size > 0 && !client.closed);
	fake_client_close_session(&client);
}

/* Some events, a checkpoint and a snapshot, by a client of their own. */
static void fill(struct whole_node *whole)
{
	static const char *const streams[] = {"s-1", "s-1", "a-1", "a"};
	struct fake_client client;
	struct wire_request request;
	bool settled;

	fake_client_open(&client, whole);
	wire_request_init(&request);
	for (uint32_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
		static const char *const tags[] = {"a", "b"};
		const struct annal_new_event event = {
			.type = "T", .data = {"d", 1}, .tags = tags, .tags_count = 1 + i % 2};
		const struct annal_write write = {streams[i], {ANNAL_EXPECT_ANY, 0}, &event, 1};
		const struct annal_checkpoint checkpoint = {.consumer = "c", .position = i};
		const struct annal_append append = {
			.writes = &write, .writes_count = 1, .checkpoint = &checkpoint};

		wire_append(&request, &append);
		wire_request_patch(&request, i, 1000, false);
		session_receive(client.session, request.bytes.data, request.bytes.size);
	}
	settled = fake_client_settle(&client, whole);
	ASSERT(settled && !client.closed && store_head(whole->node.store) >= 8);
	wire_request_close(&request);
	fake_client_close_session(&client);
}

/* It would be written, wherever the input says. */
static bool asks_for_a_backup(const uint8_t *data, size_t size)
{
	return memmem(data, size, "backup", strlen("backup")) != NULL &&
	       memchr(data, '/', size) != NULL;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct whole_node whole;
	struct fake_client client;

	if (size < 1 || asks_for_a_backup(data, size))
		return 0;
	size_t cut = size > 1 ? data[0] % (size - 1) : 0;

	data++;
	size--;
	log_set_level(LOG_LEVEL_ERROR);
	whole_node_init(&whole);
	whole.has_barriers = true;
	fill(&whole);
	fake_client_open(&client, &whole);
	session_receive(client.session, data, cut);
	session_receive(client.session, data + cut, size - cut);
	for (int i = 0; i < TURNS; i++) {
		whole_node_turn(&whole);
		session_flush(client.session);
		if (session_requests_in_flight(client.session) == 0)
			break;
		usleep(100);
	}
	check_output(&client);
	fake_client_close_session(&client);
	check_bystander(&whole);
	whole_node_close(&whole);
	return 0;
}
