/*
 * The first frame of whoever connects: what is decoded can be encoded again to the same bytes, and a
 * node of each kind can judge it and be welcomed by it.
 *
 * Input: the meta of a handshake.
 */
#include "base/assert.h"
#include "base/memory.h"
#include "raft/form.h"

#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void judge(const struct handshake *handshake, uint64_t id, enum peers_stage stage)
{
	struct peers peers = {.node_id = id, .instance = 5, .stage = stage};
	struct raft_configuration configuration;
	struct handshake welcome = {.purpose = handshake->purpose};
	char problem[HANDSHAKE_REASON_BYTES];
	struct roster roster;
	struct form form;
	struct error error;
	struct buffer frame;

	ASSERT(roster_parse("1=a:1/a:2,2=b:1/b:2", &roster, &error) == 0);
	form_init(&form, id, "test", &roster, &peers);
	snprintf(form.endpoint, sizeof form.endpoint, "a:1/a:2#0");
	form_first_configuration(&form, &configuration);
	form.running = stage == PEERS_STARTED;
	form.configuration = form.running ? &configuration : NULL;
	form.configuration_settled = true;
	form_judge(&form, handshake, &welcome);
	ASSERT(welcome.verdict != HANDSHAKE_NONE);
	buffer_init(&frame);
	handshake_encode(&welcome, WIRE_WELCOME, &frame);
	buffer_close(&frame);
	form_welcomed(&form, 2, handshake, problem);
	ASSERT(memchr(problem, '\0', sizeof problem) != NULL);
	raft_configuration_close(&configuration);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct handshake handshake;
	struct buffer frame;
	struct error error;

	/* A copy that ends where the bytes end, for the sanitizer to watch. */
	uint8_t *copy = memory_copy(data, size);

	if (handshake_decode(span_of(copy, size), &handshake, &error) == 0) {
		buffer_init(&frame);
		handshake_encode(&handshake, WIRE_HELLO, &frame);
		ASSERT(frame.size == WIRE_HEADER_BYTES + size);
		/* Four bytes are not looked at. */
		ASSERT(memcmp(frame.data + WIRE_HEADER_BYTES, copy, 4) == 0);
		ASSERT(memcmp(frame.data + WIRE_HEADER_BYTES + 8, copy + 8, size - 8) == 0);
		buffer_close(&frame);
		for (int stage = PEERS_NEW; stage <= PEERS_STARTED; stage++) {
			judge(&handshake, 1, (enum peers_stage)stage);
			judge(&handshake, 4, (enum peers_stage)stage);
		}
	}
	memory_free(copy);
	return 0;
}
