/* Frames: what is encoded comes back, and what libraft could choke on does not come through. */
#include "tests/unit/raft/frames.h"

#include "raft/handshake.h"
#include "raft/libraft.h"

static void entries_come_back_as_libraft_wants_them(void **state)
{
	struct raft_message message = make_append(), decoded;
	struct frame frame = encode(&message);
	struct error error;

	(void)state;
	assert_int_equal(decode(&frame, &decoded, &error), 0);
	assert_int_equal(decoded.type, RAFT_IO_APPEND_ENTRIES);
	assert_int_equal(decoded.server_id, SENDER);
	assert_int_equal(decoded.append_entries.term, 6);
	assert_int_equal(decoded.append_entries.prev_log_index, 10);
	assert_int_equal(decoded.append_entries.prev_log_term, 4);
	assert_int_equal(decoded.append_entries.leader_commit, 9);
	assert_int_equal(decoded.append_entries.n_entries, 4);
	for (unsigned i = 0; i < 4; i++) {
		const struct raft_entry *entry = &decoded.append_entries.entries[i];

		assert_int_equal(entry->type, entries[i].type);
		assert_int_equal(entry->term, entries[i].term);
		assert_int_equal(entry->buf.len, entries[i].buf.len);
		assert_memory_equal(entry->buf.base, entries[i].buf.base, entry->buf.len);
		assert_ptr_equal(entry->batch, decoded.append_entries.entries[0].buf.base);
	}
	wire_release(&decoded);
	frame_close(&frame);
	free_entries();
}

static void a_heartbeat_has_no_entries(void **state)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES}, decoded;
	struct error error;

	(void)state;
	message.append_entries.term = 2;
	struct frame frame = encode(&message);

	assert_int_equal(frame.payload.size, 0);
	assert_int_equal(decode(&frame, &decoded, &error), 0);
	assert_int_equal(decoded.append_entries.n_entries, 0);
	assert_null(decoded.append_entries.entries);
	frame_close(&frame);
}

static void snapshots_come_back(void **state)
{
	uint8_t manifest[MANIFEST_BYTES];
	struct raft_message message = make_snapshot(manifest), decoded;
	struct frame frame = encode(&message);
	struct error error;

	(void)state;
	assert_int_equal(decode(&frame, &decoded, &error), 0);
	assert_int_equal(decoded.install_snapshot.last_index, 99);
	assert_int_equal(decoded.install_snapshot.conf_index, 12);
	assert_int_equal(decoded.install_snapshot.conf.n, 3);
	assert_string_equal(decoded.install_snapshot.conf.servers[2].address, "[::1]:7/c:2#0");
	assert_int_equal(decoded.install_snapshot.conf.servers[1].role, RAFT_STANDBY);
	assert_memory_equal(decoded.install_snapshot.data.base, manifest, MANIFEST_BYTES);
	wire_release(&decoded);
	raft_configuration_close(&message.install_snapshot.conf);
	frame_close(&frame);
}

static void small_messages_come_back(void **state)
{
	struct raft_message messages[] = {
		{.type = RAFT_IO_APPEND_ENTRIES_RESULT,
		 .append_entries_result = {.term = 1, .rejected = 2, .last_log_index = 3}},
		{.type = RAFT_IO_REQUEST_VOTE,
		 .request_vote = {4, SENDER, 5, 6, .disrupt_leader = true, .pre_vote = false}},
		{.type = RAFT_IO_REQUEST_VOTE,
		 .request_vote = {4, SENDER, 5, 6, .disrupt_leader = false, .pre_vote = true}},
		{.type = RAFT_IO_REQUEST_VOTE_RESULT,
		 .request_vote_result = {7, true, raft_tribool_true}},
		{.type = RAFT_IO_REQUEST_VOTE_RESULT,
		 .request_vote_result = {7, false, raft_tribool_false}},
		{.type = RAFT_IO_REQUEST_VOTE_RESULT,
		 .request_vote_result = {7, false, raft_tribool_unknown}},
		{.type = RAFT_IO_TIMEOUT_NOW, .timeout_now = {8, 9, 10}},
	};
	struct raft_message decoded;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(messages); i++) {
		struct frame first = encode(&messages[i]);

		assert_int_equal(decode(&first, &decoded, &error), 0);
		assert_int_equal(decoded.type, messages[i].type);
		struct frame second = encode(&decoded);

		assert_true(span_equal(buffer_span(&first.head), buffer_span(&second.head)));
		frame_close(&first);
		frame_close(&second);
	}
}

static void every_flipped_bit_is_found(void **state)
{
	struct raft_message message = make_append(), decoded;
	struct frame frame = encode(&message);
	struct error error;

	(void)state;
	for (size_t i = 0; i < frame.head.size + frame.payload.size; i++) {
		uint8_t *at = i < frame.head.size ? frame.head.data + i
						  : frame.payload.data + (i - frame.head.size);

		if (i >= 8 && i < 16)
			continue; /* sizes: another number of bytes would be read */
		*at ^= (uint8_t)(1 << (i % 8));
		if (decode(&frame, &decoded, &error) != -EBADMSG)
			fail_msg("the flip at byte %zu is not found", i);
		*at ^= (uint8_t)(1 << (i % 8));
	}
	assert_int_equal(decode(&frame, &decoded, &error), 0);
	wire_release(&decoded);
	frame_close(&frame);
	free_entries();
}

/* ---- frames that are whole, but must not come through ---- */

struct forgery {
	const char *what;
	size_t offset; /* into the meta of make_append */
	uint64_t value;
	size_t bytes;
	const char *said;
};

#define ENTRY(number) (WIRE_APPEND_META_BYTES + (number)*WIRE_ENTRY_META_BYTES)

static void forged_entries_are_refused(void **state)
{
	static const struct forgery forgeries[] = {
		{"index that is not the payload's", 8, 11, 8, "entry 12"},
		{"index near overflow", 8, UINT64_MAX - 1, 8, "behind index"},
		{"previous index without a term", 16, 0, 8, "behind index"},
		{"previous term above the message's", 16, 7, 8, "behind index"},
		{"unknown type", ENTRY(1) + 12, 4, 1, "unknown type"},
		{"type 0", ENTRY(1) + 12, 0, 1, "unknown type"},
		{"a command that is a barrier", ENTRY(0) + 12, RAFT_BARRIER, 1, ""},
		{"a change that is a command", ENTRY(2) + 12, RAFT_COMMAND, 1, ""},
		{"a command that is a change", ENTRY(0) + 12, RAFT_CHANGE, 1, ""},
		{"term of an entry above the message's", ENTRY(3), 7, 8, "entry of term 7"},
		{"terms that fall", ENTRY(2), 4, 8, "entry of term 4"},
		{"term that is not the payload's", ENTRY(3), 5, 8, "term"},
		{"an entry larger than the payload", ENTRY(3) + 8, 1 << 20, 4, "bytes"},
		{"an empty entry", ENTRY(1) + 8, 0, 4, "bytes"},
		{"an entry of an odd size", ENTRY(1) + 8, 9, 4, "bytes"},
		{"entries shorter than the payload", ENTRY(3) + 8, 8, 4, "bytes"},
	};
	struct raft_message message = make_append(), decoded;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(forgeries); i++) {
		const struct forgery *forgery = &forgeries[i];
		struct frame frame = encode(&message);
		uint8_t value[8];

		bytes_set_le64(value, forgery->value);
		memcpy(frame.head.data + WIRE_HEADER_BYTES + forgery->offset, value,
		       forgery->bytes);
		reseal(&frame);
		if (decode(&frame, &decoded, &error) != -EBADMSG ||
		    strstr(error.message, forgery->said) == NULL)
			fail_msg("%s: %s", forgery->what, error.message);
		frame_close(&frame);
	}
	free_entries();
}

static void a_vote_is_asked_for_oneself_only(void **state)
{
	struct raft_message message = {.type = RAFT_IO_REQUEST_VOTE}, decoded;
	struct error error;

	(void)state;
	message.request_vote = (struct raft_request_vote){4, SENDER + 1, 5, 6, false, false};
	struct frame frame = encode(&message);

	assert_int_equal(decode(&frame, &decoded, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "asks votes for"));
	frame_close(&frame);
}

static void sizes_are_bounded_before_anything_is_allocated(void **state)
{
	uint8_t header[WIRE_HEADER_BYTES];
	struct raft_message message = {.type = RAFT_IO_TIMEOUT_NOW};
	struct frame frame = encode(&message);
	struct wire_header parsed;
	struct error error;

	(void)state;
	for (uint8_t type = 0; type < 255; type++) {
		memcpy(header, frame.head.data, sizeof header);
		header[4] = type;
		bytes_set_le32(header + 8, 0);
		bytes_set_le32(header + 12, 0);
		bool known = type >= WIRE_APPEND && type <= WIRE_NEWS;

		assert_int_equal(wire_parse_header(header, &parsed, &error), known ? 0 : -EBADMSG);
		bytes_set_le32(header + 8, type == WIRE_APPEND ? WIRE_META_BYTES + 1
							       : WIRE_SMALL_META_BYTES + 1);
		assert_int_equal(wire_parse_header(header, &parsed, &error), -EBADMSG);
		bytes_set_le32(header + 8, 0);
		bytes_set_le32(header + 12, type == WIRE_APPEND || type == WIRE_SNAPSHOT
						    ? WIRE_PAYLOAD_BYTES + 1
						    : 1);
		assert_int_equal(wire_parse_header(header, &parsed, &error), -EBADMSG);
	}
	frame_close(&frame);
}

static void only_so_many_entries_go_into_a_frame(void **state)
{
	struct raft_entry many[20];
	struct raft_append_entries append = {.entries = many, .n_entries = COUNT_OF(many)};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(many); i++)
		many[i] = (struct raft_entry){.buf = {.len = LIMIT_ENTRY_BYTES_MAX}};
	assert_int_equal(wire_entries_that_fit(&append), 1);
	for (size_t i = 0; i < COUNT_OF(many); i++)
		many[i].buf.len = MIB;
	assert_int_equal(wire_entries_that_fit(&append), WIRE_PAYLOAD_BYTES / MIB);
	append.n_entries = 3;
	assert_int_equal(wire_entries_that_fit(&append), 3);
}

static void configurations_that_libraft_must_not_see(void **state)
{
	static const struct {
		const char *what;
		uint8_t bytes[64];
		size_t size;
	} cases[] = {
		{"nothing", {0}, 0},
		{"another format", {2, 1}, 16},
		{"no members", {1, 0}, 16},
		{"more members than allowed", {1, 10}, 64},
		{"cut short", {1, 1, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0}, 16},
		{"no end of the address",
		 {1, 1, 0, 0, 0, 0,   0,   0,   0,   1,   0,   0,
		  0, 0, 0, 0, 0, 'a', ':', '1', '/', 'a', ':', '1'},
		 24},
	};
	struct raft_configuration configuration;
	struct error error;

	(void)state;
	for (size_t i = 0; i < COUNT_OF(cases); i++) {
		struct span bytes = unit_exact(cases[i].bytes, cases[i].size);

		if (wire_decode_configuration(bytes, &configuration, &error) != -EBADMSG)
			fail_msg("%s", cases[i].what);
		unit_free_exact(bytes);
	}
}

/* ---- handshakes ---- */

static void handshakes_come_back(void **state)
{
	struct handshake first = {.version = HANDSHAKE_VERSION,
				  .purpose = HANDSHAKE_FORMING,
				  .verdict = HANDSHAKE_MISMATCH,
				  .from = 1,
				  .to = 2,
				  .instance = 3,
				  .from_nonce = 4,
				  .to_nonce = 5,
				  .to_instance = 6,
				  .members_hash = 7,
				  .cluster_id = {8},
				  .cluster_name = "orders",
				  .endpoint = "a:1/a:2#4",
				  .reason = "because",
				  .instance_count = 2,
				  .instances = {{9, 10}, {11, 12}}};
	struct handshake second;
	struct wire_header header;
	struct buffer frame;
	struct error error;

	(void)state;
	buffer_init(&frame);
	handshake_encode(&first, WIRE_WELCOME, &frame);
	assert_int_equal(wire_parse_header(frame.data, &header, &error), 0);
	assert_int_equal(header.type, WIRE_WELCOME);
	struct span meta = span_of(frame.data + WIRE_HEADER_BYTES, header.meta_bytes);

	assert_int_equal(wire_check_meta(&header, meta, &error), 0);
	assert_int_equal(handshake_decode(meta, &second, &error), 0);
	assert_int_equal(second.to_instance, 6);
	assert_int_equal(second.members_hash, 7);
	assert_string_equal(second.cluster_name, "orders");
	assert_string_equal(second.reason, "because");
	assert_int_equal(second.instances[1].instance, 12);
	for (size_t size = 0; size < meta.size; size++) {
		struct span cut = unit_exact(meta.data, size);

		assert_true(handshake_decode(cut, &second, &error) < 0);
		unit_free_exact(cut);
	}
	/* The same place means something else between members. */
	frame.data[WIRE_HEADER_BYTES + 2] = HANDSHAKE_RAFT;
	assert_int_equal(handshake_decode(meta, &second, &error), 0);
	assert_int_equal(second.configuration_index, 7);
	assert_int_equal(second.members_hash, 0);
	frame.data[WIRE_HEADER_BYTES] = 2;
	assert_int_equal(handshake_decode(meta, &second, &error), -EPROTONOSUPPORT);
	assert_non_null(strstr(error.message, "version 2"));
	buffer_close(&frame);
}

static void endpoints_say_what_is_wrong(void **state)
{
	static const char *const bad[] = {"",         "a:1",       "a:1/b:2",
					  "a:1/b:2#", "a:1/b:2#x", "a:0/b:2#1",
					  "a:1/b#1",  "a/b:1#1",   "a:1/b:2#11111111111111111"};
	struct endpoint endpoint;
	struct error error;
	char text[ENDPOINT_TEXT_BYTES];

	(void)state;
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (endpoint_parse(bad[i], &endpoint, &error) != -EINVAL)
			fail_msg("'%s' is taken for an endpoint", bad[i]);
	assert_int_equal(endpoint_parse("[::1]:7000/db.example:7001#fedc", &endpoint, &error), 0);
	assert_string_equal(endpoint.peer, "[::1]:7000");
	assert_int_equal(endpoint.nonce, 0xfedc);
	endpoint_format(&endpoint, text);
	assert_string_equal(text, "[::1]:7000/db.example:7001#fedc");
}

static void initial_members_are_read_whatever_their_order(void **state)
{
	static const char *const bad[] = {"1",
					  "1=a:1",
					  "0=a:1/b:1",
					  "x=a:1/b:1",
					  "1=a:1/b:1,",
					  "1=a:1/b:1,1=c:1/d:1",
					  "1=a:1/b:1,2=a:1/d:1"};
	struct roster first, second;
	struct error error;

	(void)state;
	assert_int_equal(roster_parse("1=a:1/a:2,2=b:1/b:2", &first, &error), 0);
	assert_int_equal(roster_parse("2=b:1/b:2,1=a:1/a:2", &second, &error), 0);
	assert_true(roster_hash(&first) == roster_hash(&second));
	assert_int_equal(roster_parse("2=b:1/b:3,1=a:1/a:2", &second, &error), 0);
	assert_true(roster_hash(&first) != roster_hash(&second));
	assert_string_equal(roster_find(&first, 2)->endpoint.client, "b:2");
	assert_null(roster_find(&first, 3));
	for (size_t i = 0; i < COUNT_OF(bad); i++)
		if (roster_parse(bad[i], &first, &error) != -EINVAL)
			fail_msg("'%s' is taken for members", bad[i]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(endpoints_say_what_is_wrong),
		cmocka_unit_test(initial_members_are_read_whatever_their_order),
		cmocka_unit_test(small_messages_come_back),
		cmocka_unit_test(a_heartbeat_has_no_entries),
		cmocka_unit_test(entries_come_back_as_libraft_wants_them),
		cmocka_unit_test(snapshots_come_back),
		cmocka_unit_test(every_flipped_bit_is_found),
		cmocka_unit_test(forged_entries_are_refused),
		cmocka_unit_test(a_vote_is_asked_for_oneself_only),
		cmocka_unit_test(sizes_are_bounded_before_anything_is_allocated),
		cmocka_unit_test(only_so_many_entries_go_into_a_frame),
		cmocka_unit_test(configurations_that_libraft_must_not_see),
		cmocka_unit_test(handshakes_come_back),
	};

	libraft_prepare(); /* its heap: what is encoded has no byte that nobody set */
	return cmocka_run_group_tests(tests, NULL, NULL);
}
