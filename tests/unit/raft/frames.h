/* Messages of libraft made for the tests of the wire, and their frames. */
#ifndef TESTS_RAFT_FRAMES_H
#define TESTS_RAFT_FRAMES_H

#include "tests/unit/unit.h"

#include "base/bytes.h"
#include "base/checksum.h"
#include "raft/payload.h"
#include "raft/wire.h"
#include "storage/manifest.h"

#include <errno.h>

#define SENDER 3

/* ---- making messages ---- */

static inline void make_command(struct raft_entry *entry, uint64_t index, uint64_t term,
				size_t body)
{
	*entry = (struct raft_entry){.term = term, .type = RAFT_COMMAND};
	entry->buf.len = payload_bytes(body);
	entry->buf.base = raft_malloc(entry->buf.len);
	memset((uint8_t *)entry->buf.base + PAYLOAD_HEADER_BYTES, (int)(index & 0xff), body);
	payload_seal(entry->buf.base, body, index, term);
}

static inline void make_barrier(struct raft_entry *entry, uint64_t term)
{
	*entry = (struct raft_entry){.term = term, .type = RAFT_BARRIER};
	entry->buf.len = 8;
	entry->buf.base = raft_calloc(1, 8);
}

static inline void make_configuration(struct raft_configuration *configuration)
{
	raft_configuration_init(configuration);
	assert_int_equal(raft_configuration_add(configuration, 1, "a:1/a:2#1", RAFT_VOTER), 0);
	assert_int_equal(raft_configuration_add(configuration, 3, "b:1/b:2#ff", RAFT_STANDBY), 0);
	assert_int_equal(raft_configuration_add(configuration, 9, "[::1]:7/c:2#0", RAFT_SPARE), 0);
}

static inline void make_change(struct raft_entry *entry, uint64_t term)
{
	struct raft_configuration configuration;

	make_configuration(&configuration);
	*entry = (struct raft_entry){.term = term, .type = RAFT_CHANGE};
	assert_int_equal(raft_configuration_encode(&configuration, &entry->buf), 0);
	raft_configuration_close(&configuration);
}

static struct raft_entry entries[4];

static inline struct raft_message make_append(void)
{
	struct raft_message message = {.type = RAFT_IO_APPEND_ENTRIES, .server_id = 2};

	make_command(&entries[0], 11, 4, 104);
	make_barrier(&entries[1], 5);
	make_change(&entries[2], 5);
	make_command(&entries[3], 14, 6, 5000);
	message.append_entries = (struct raft_append_entries){.term = 6,
							      .prev_log_index = 10,
							      .prev_log_term = 4,
							      .leader_commit = 9,
							      .entries = entries,
							      .n_entries = 4};
	return message;
}

static inline void free_entries(void)
{
	for (size_t i = 0; i < COUNT_OF(entries); i++)
		raft_free(entries[i].buf.base);
}

static inline struct raft_message make_snapshot(uint8_t manifest[MANIFEST_BYTES])
{
	struct raft_message message = {.type = RAFT_IO_INSTALL_SNAPSHOT};
	struct manifest content = {.applied_index = 99, .position = 7};

	manifest_encode(&content, manifest);
	message.install_snapshot =
		(struct raft_install_snapshot){.term = 8,
					       .last_index = 99,
					       .last_term = 7,
					       .conf_index = 12,
					       .data = {.base = manifest, .len = MANIFEST_BYTES}};
	make_configuration(&message.install_snapshot.conf);
	return message;
}

/* ---- through the wire ---- */

struct frame {
	struct buffer head; /* header and meta */
	struct buffer payload;
};

static inline struct frame encode(const struct raft_message *message)
{
	struct frame frame;

	buffer_init(&frame.head);
	buffer_init(&frame.payload);
	wire_encode(message, &frame.head);
	for (unsigned i = 0; i < wire_payload_count(message); i++) {
		struct raft_buffer part = wire_payload_at(message, i);

		buffer_append(&frame.payload, part.base, part.len);
	}
	return frame;
}

static inline void frame_close(struct frame *frame)
{
	buffer_close(&frame->head);
	buffer_close(&frame->payload);
}

/* What the other side makes of a frame; blocks end where their bytes end. */
static inline int decode(const struct frame *frame, struct raft_message *message,
			 struct error *error)
{
	struct wire_header header;
	uint8_t *payload = NULL;
	int status = wire_parse_header(frame->head.data, &header, error);

	if (status < 0)
		return status;
	assert_int_equal(header.meta_bytes, frame->head.size - WIRE_HEADER_BYTES);
	assert_int_equal(header.payload_bytes, frame->payload.size);
	struct span meta = unit_exact(frame->head.data + WIRE_HEADER_BYTES, header.meta_bytes);

	if (header.payload_bytes > 0) {
		payload = raft_malloc(header.payload_bytes);
		memcpy(payload, frame->payload.data, header.payload_bytes);
	}
	status = wire_decode(&header, meta, payload, SENDER, message, error);
	if (status < 0)
		raft_free(payload);
	unit_free_exact(meta);
	return status;
}

/* The frame was changed on purpose: its checksums are right again. */
static inline void reseal(struct frame *frame)
{
	struct span meta =
		span_of(frame->head.data + WIRE_HEADER_BYTES, frame->head.size - WIRE_HEADER_BYTES);

	bytes_set_le64(frame->head.data + 16,
		       checksum64_seeded(meta.data, meta.size, checksum64(frame->head.data, 16)));
}

#endif
