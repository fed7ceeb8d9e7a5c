/*
 * Frames whose checksums are right, and whose fields are anything: what is taken comes back as the same
 * frame, so that nothing is taken that could not have been meant, and what is refused is told.
 */
#include "tests/unit/raft/frames.h"

#include "raft/handshake.h"
#include "raft/libraft.h"

static const uint8_t bytes_tried[] = {0, 1, 2, 3, 4, 6, 0x7f, 0x80, 0xff};

/* Parts of the payload that have no checksum of their own. */
struct unsealed {
	size_t from, sizes[2];
};

/* The payload's checksum is right again, too. */
static void reseal_payload(struct frame *frame, const struct unsealed *unsealed)
{
	const uint8_t *at = frame->payload.data + unsealed->from;
	uint64_t checksum = 0;

	for (int i = 0; i < 2 && unsealed->sizes[i] > 0; at += unsealed->sizes[i++])
		checksum = checksum64_seeded(at, unsealed->sizes[i], checksum);
	bytes_set_le64(frame->head.data + 24, checksum);
	reseal(frame);
}

/* What fills up a configuration is not looked at. */
static bool is_same(const struct frame *frame, const struct raft_message *decoded)
{
	struct frame again = encode(decoded);
	size_t compared = frame->head.size - WIRE_HEADER_BYTES;

	if (decoded->type == RAFT_IO_INSTALL_SNAPSHOT)
		compared -= 8;
	bool same = frame->head.size == again.head.size &&
		    memcmp(frame->head.data + WIRE_HEADER_BYTES,
			   again.head.data + WIRE_HEADER_BYTES, compared) == 0 &&
		    span_equal(buffer_span(&frame->payload), buffer_span(&again.payload));

	frame_close(&again);
	return same;
}

/* Whether it was taken. */
static bool try_frame(const struct frame *frame, size_t at)
{
	struct error error = {.message = ""};
	struct raft_message decoded;
	int status = decode(frame, &decoded, &error);

	if (status != 0) {
		assert_int_equal(status, -EBADMSG);
		assert_true(error.message[0] != '\0');
		return false;
	}
	if (!is_same(frame, &decoded))
		fail_msg("type %d: with another byte %zu it is taken for something else",
			 (int)decoded.type, at);
	wire_release(&decoded);
	return true;
}

static void try_bytes(struct frame *frame, struct buffer *part, const struct unsealed *unsealed)
{
	size_t begin = part == &frame->head ? WIRE_HEADER_BYTES : 0;
	uint32_t taken = 0, refused = 0;

	for (size_t at = begin; at < part->size; at++) {
		uint8_t before = part->data[at];

		for (size_t i = 0; i < COUNT_OF(bytes_tried); i++) {
			part->data[at] = bytes_tried[i];
			reseal_payload(frame, unsealed);
			if (try_frame(frame, at))
				taken++;
			else
				refused++;
		}
		part->data[at] = before;
	}
	reseal_payload(frame, unsealed);
	assert_true(taken > 0);
	if (unsealed->sizes[0] > 0)
		assert_true(refused > 0);
}

/* Meta that is longer or shorter than its type's. */
static void try_sizes(const struct frame *frame)
{
	for (size_t size = 0; size <= frame->head.size - WIRE_HEADER_BYTES + 24; size++) {
		struct frame other = {.payload = frame->payload};

		buffer_init(&other.head);
		memset(buffer_reserve(&other.head, WIRE_HEADER_BYTES + size), 0,
		       WIRE_HEADER_BYTES + size);
		size_t kept = frame->head.size < WIRE_HEADER_BYTES + size
				      ? frame->head.size
				      : WIRE_HEADER_BYTES + size;
		memcpy(other.head.data, frame->head.data, kept);
		other.head.size = WIRE_HEADER_BYTES + size;
		bytes_set_le32(other.head.data + 8, (uint32_t)size);
		reseal(&other);
		try_frame(&other, size);
		buffer_close(&other.head);
	}
}

static void try_everything(const struct raft_message *message, const struct unsealed *unsealed)
{
	struct frame frame = encode(message);

	assert_true(try_frame(&frame, 0));
	try_bytes(&frame, &frame.head, unsealed);
	if (frame.payload.size > 0)
		try_bytes(&frame, &frame.payload, unsealed);
	try_sizes(&frame);
	frame_close(&frame);
}

static void small_messages_with_any_byte_changed(void **state)
{
	const struct raft_message messages[] = {
		{.type = RAFT_IO_APPEND_ENTRIES_RESULT,
		 .append_entries_result = {.term = 1, .rejected = 2, .last_log_index = 3}},
		{.type = RAFT_IO_REQUEST_VOTE, .request_vote = {4, SENDER, 5, 6, true, false}},
		{.type = RAFT_IO_REQUEST_VOTE_RESULT,
		 .request_vote_result = {7, true, raft_tribool_true}},
		{.type = RAFT_IO_TIMEOUT_NOW, .timeout_now = {8, 9, 10}},
	};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(messages); i++)
		try_everything(&messages[i], &(struct unsealed){0});
}

static void entries_with_any_byte_changed(void **state)
{
	struct raft_message message = make_append();

	(void)state;
	message.append_entries.n_entries = 3; /* without the large one */
	try_everything(&message, &(struct unsealed){entries[0].buf.len,
						    {entries[1].buf.len, entries[2].buf.len}});
	free_entries();
}

static void snapshots_with_any_byte_changed(void **state)
{
	uint8_t manifest[MANIFEST_BYTES];
	struct raft_message message = make_snapshot(manifest);

	(void)state;
	try_everything(&message, &(struct unsealed){0, {MANIFEST_BYTES}});
	raft_configuration_close(&message.install_snapshot.conf);
}

/* ---- handshakes ---- */

static bool try_handshake(struct span meta)
{
	struct span exact = unit_exact(meta.data, meta.size);
	struct error error = {.message = ""};
	struct handshake taken;
	struct buffer again;
	int status = handshake_decode(exact, &taken, &error);

	unit_free_exact(exact);
	if (status != 0) {
		assert_true(error.message[0] != '\0');
		return false;
	}
	buffer_init(&again);
	handshake_encode(&taken, WIRE_HELLO, &again);
	struct span found = span_of(again.data + WIRE_HEADER_BYTES, again.size - WIRE_HEADER_BYTES);
	/* What is not used yet is not looked at. */
	assert_int_equal(found.size, meta.size);
	assert_memory_equal(found.data, meta.data, 4);
	assert_memory_equal(found.data + 8, meta.data + 8, meta.size - 8);
	buffer_close(&again);
	return true;
}

static void handshakes_with_any_byte_changed(void **state)
{
	const struct handshake handshake = {.version = HANDSHAKE_VERSION,
					    .purpose = HANDSHAKE_RAFT,
					    .from = 1,
					    .to = 2,
					    .instance = 3,
					    .cluster_name = "orders",
					    .endpoint = "a:1/a:2#4",
					    .instance_count = 1,
					    .instances = {{9, 10}}};
	uint32_t refused = 0;
	struct buffer frame;

	(void)state;
	buffer_init(&frame);
	handshake_encode(&handshake, WIRE_HELLO, &frame);
	struct span meta = span_of(frame.data + WIRE_HEADER_BYTES, frame.size - WIRE_HEADER_BYTES);
	assert_true(try_handshake(meta));
	for (size_t at = WIRE_HEADER_BYTES; at < frame.size; at++) {
		uint8_t before = frame.data[at];

		for (size_t i = 0; i < COUNT_OF(bytes_tried); i++) {
			frame.data[at] = bytes_tried[i];
			refused += !try_handshake(meta);
		}
		frame.data[at] = before;
	}
	assert_true(refused > 100);
	buffer_close(&frame);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(small_messages_with_any_byte_changed),
		cmocka_unit_test(entries_with_any_byte_changed),
		cmocka_unit_test(snapshots_with_any_byte_changed),
		cmocka_unit_test(handshakes_with_any_byte_changed),
	};

	libraft_prepare(); /* its heap: what is encoded has no byte that nobody set */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
