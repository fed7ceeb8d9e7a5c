/*
 * Any bytes of a client, in two pieces: the session answers each request once, or ends with its last
 * words; what it says is msgpack; and another client is served all along. The first byte of the input
 * says where the cut is.
 */
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

static struct whole_node *get_node(void)
{
	static struct whole_node whole;
	static bool begun;

	if (!begun) {
		log_set_level(LOG_LEVEL_ERROR);
		whole_node_init(&whole);
	}
	begun = true;
	return &whole;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct whole_node *whole = get_node();
	struct fake_client client;

	if (size < 1)
		return 0;
	size_t cut = size > 1 ? data[0] % (size - 1) : 0;

	data++;
	size--;
	fake_client_open(&client, whole);
	session_receive(client.session, data, cut);
	session_receive(client.session, data + cut, size - cut);
	for (int i = 0; i < TURNS; i++) {
		whole_node_turn(whole);
		session_flush(client.session);
		if (session_requests_in_flight(client.session) == 0)
			break;
		usleep(100);
	}
	check_output(&client);
	fake_client_close_session(&client);
	check_bystander(whole);
	return 0;
}
