#include "raft/wire.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "raft/endpoint.h"
#include "raft/payload.h"
#include "storage/manifest.h"

#include <errno.h>
#include <inttypes.h>

#define MAGIC                 UINT32_C(0x31524e41) /* "ANR1" */
#define RESULT_META_BYTES     24
#define VOTE_META_BYTES       40
#define VOTE_RESULT_BYTES     16
#define SNAPSHOT_META_BYTES   32
#define TIMEOUT_META_BYTES    24
#define CONFIGURATION_FORMAT  1
#define BARRIER_BYTES         8
#define INDEX_MAX             (UINT64_C(1) << 62) /* no sum of an index and a count overflows */
#define FLAG_DISRUPT          1u
#define FLAG_PRE_VOTE         2u
#define FLAG_GRANTED          1u
#define FLAG_ANSWERS_PRE_VOTE 2u
#define FLAG_UNSAID           4u

static_assert(LIMIT_ENTRY_BYTES_MAX + 64 < WIRE_PAYLOAD_BYTES, "the largest entry fits a frame");
static_assert(WIRE_PAYLOAD_BYTES < UINT32_MAX, "sizes are 32 bits wide");

/* ---- encoding ---- */

unsigned wire_entries_that_fit(const struct raft_append_entries *append)
{
	uint64_t bytes = 0;
	unsigned count = 0;

	while (count < append->n_entries && count < WIRE_ENTRIES) {
		bytes += append->entries[count].buf.len;
		if (bytes > WIRE_PAYLOAD_BYTES)
			break;
		count++;
	}
	ASSERT(count > 0 || append->n_entries == 0);
	return count;
}

static void put_u64(struct buffer *into, uint64_t value)
{
	bytes_set_le64(buffer_reserve(into, 8), value);
	into->size += 8;
}

static void put_entry(struct buffer *into, const struct raft_entry *entry)
{
	uint8_t *at = buffer_reserve(into, WIRE_ENTRY_META_BYTES);

	ASSERT(entry->buf.len > 0 && entry->buf.len <= WIRE_PAYLOAD_BYTES);
	memset(at, 0, WIRE_ENTRY_META_BYTES);
	bytes_set_le64(at, entry->term);
	bytes_set_le32(at + 8, (uint32_t)entry->buf.len);
	at[12] = (uint8_t)entry->type;
	into->size += WIRE_ENTRY_META_BYTES;
}

static void put_append(struct buffer *into, const struct raft_append_entries *append)
{
	put_u64(into, append->term);
	put_u64(into, append->prev_log_index);
	put_u64(into, append->prev_log_term);
	put_u64(into, append->leader_commit);
	for (unsigned i = 0; i < append->n_entries; i++)
		put_entry(into, &append->entries[i]);
}

static void put_snapshot(struct buffer *into, const struct raft_install_snapshot *snapshot)
{
	struct raft_buffer configuration;
	int status = raft_configuration_encode(&snapshot->conf, &configuration);

	ASSERT(status == 0);
	put_u64(into, snapshot->term);
	put_u64(into, snapshot->last_index);
	put_u64(into, snapshot->last_term);
	put_u64(into, snapshot->conf_index);
	buffer_append(into, configuration.base, configuration.len);
	raft_free(configuration.base);
}

static void put_vote(struct buffer *into, const struct raft_request_vote *vote)
{
	put_u64(into, vote->term);
	put_u64(into, vote->candidate_id);
	put_u64(into, vote->last_log_index);
	put_u64(into, vote->last_log_term);
	put_u64(into,
		(vote->disrupt_leader ? FLAG_DISRUPT : 0) | (vote->pre_vote ? FLAG_PRE_VOTE : 0));
}

static void put_vote_result(struct buffer *into, const struct raft_request_vote_result *result)
{
	uint64_t flags = result->vote_granted ? FLAG_GRANTED : 0;

	if (result->pre_vote == raft_tribool_true)
		flags |= FLAG_ANSWERS_PRE_VOTE;
	if (result->pre_vote == raft_tribool_unknown)
		flags |= FLAG_UNSAID;
	put_u64(into, result->term);
	put_u64(into, flags);
}

static enum wire_type put_meta(struct buffer *into, const struct raft_message *message)
{
	switch (message->type) {
	case RAFT_IO_APPEND_ENTRIES:
		put_append(into, &message->append_entries);
		return WIRE_APPEND;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		put_u64(into, message->append_entries_result.term);
		put_u64(into, message->append_entries_result.rejected);
		put_u64(into, message->append_entries_result.last_log_index);
		return WIRE_APPEND_RESULT;
	case RAFT_IO_REQUEST_VOTE:
		put_vote(into, &message->request_vote);
		return WIRE_VOTE;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		put_vote_result(into, &message->request_vote_result);
		return WIRE_VOTE_RESULT;
	case RAFT_IO_INSTALL_SNAPSHOT:
		put_snapshot(into, &message->install_snapshot);
		return WIRE_SNAPSHOT;
	default:
		ASSERT(message->type == RAFT_IO_TIMEOUT_NOW);
		put_u64(into, message->timeout_now.term);
		put_u64(into, message->timeout_now.last_log_index);
		put_u64(into, message->timeout_now.last_log_term);
		return WIRE_TIMEOUT_NOW;
	}
}

static uint64_t checksum_next(uint64_t checksum, const struct raft_buffer *buffer)
{
	return checksum64_seeded(buffer->base, buffer->len, checksum);
}

/* Of what has no checksum of its own. */
static uint64_t payload_checksum(const struct raft_message *message)
{
	uint64_t checksum = 0;

	if (message->type == RAFT_IO_INSTALL_SNAPSHOT)
		return checksum_next(0, &message->install_snapshot.data);
	if (message->type == RAFT_IO_APPEND_ENTRIES)
		for (unsigned i = 0; i < message->append_entries.n_entries; i++)
			if (message->append_entries.entries[i].type != RAFT_COMMAND)
				checksum = checksum_next(checksum,
							 &message->append_entries.entries[i].buf);
	return checksum;
}

static uint64_t meta_checksum(const uint8_t *header, struct span meta)
{
	return checksum64_seeded(meta.data, meta.size, checksum64(header, 16));
}

static void seal_frame(struct buffer *into, size_t offset, enum wire_type type, size_t payload,
		       uint64_t checksum)
{
	uint8_t *header = into->data + offset;
	struct span meta =
		span_of(header + WIRE_HEADER_BYTES, into->size - offset - WIRE_HEADER_BYTES);

	ASSERT(payload <= WIRE_PAYLOAD_BYTES && meta.size <= WIRE_META_BYTES);
	memset(header, 0, WIRE_HEADER_BYTES);
	bytes_set_le32(header, MAGIC);
	header[4] = (uint8_t)type;
	bytes_set_le32(header + 8, (uint32_t)meta.size);
	bytes_set_le32(header + 12, (uint32_t)payload);
	bytes_set_le64(header + 16, meta_checksum(header, meta));
	bytes_set_le64(header + 24, checksum);
}

void wire_encode(const struct raft_message *message, struct buffer *into)
{
	size_t offset = into->size;
	size_t payload = 0;

	buffer_reserve(into, WIRE_HEADER_BYTES);
	into->size += WIRE_HEADER_BYTES;
	enum wire_type type = put_meta(into, message);

	for (unsigned i = 0; i < wire_payload_count(message); i++)
		payload += wire_payload_at(message, i).len;
	seal_frame(into, offset, type, payload, payload_checksum(message));
}

void wire_encode_handshake(enum wire_type type, struct span meta, struct buffer *into)
{
	size_t offset = into->size;

	ASSERT(type == WIRE_HELLO || type == WIRE_WELCOME);
	buffer_reserve(into, WIRE_HEADER_BYTES);
	into->size += WIRE_HEADER_BYTES;
	buffer_append_span(into, meta);
	seal_frame(into, offset, type, 0, 0);
}

unsigned wire_payload_count(const struct raft_message *message)
{
	if (message->type == RAFT_IO_APPEND_ENTRIES)
		return message->append_entries.n_entries;
	return message->type == RAFT_IO_INSTALL_SNAPSHOT ? 1 : 0;
}

struct raft_buffer wire_payload_at(const struct raft_message *message, unsigned number)
{
	ASSERT(number < wire_payload_count(message));
	if (message->type == RAFT_IO_APPEND_ENTRIES)
		return message->append_entries.entries[number].buf;
	return message->install_snapshot.data;
}

/* ---- decoding ---- */

static bool has_payload(enum wire_type type)
{
	return type == WIRE_APPEND || type == WIRE_SNAPSHOT;
}

void wire_encode_news(uint64_t head, struct buffer *into)
{
	size_t offset = into->size;

	buffer_reserve(into, WIRE_HEADER_BYTES + 8);
	into->size += WIRE_HEADER_BYTES;
	bytes_set_le64(into->data + into->size, head);
	into->size += 8;
	seal_frame(into, offset, WIRE_NEWS, 0, 0);
}

int wire_decode_news(struct span meta, uint64_t *head, struct error *error)
{
	if (meta.size != 8)
		return error_set(error, -EBADMSG, "news of %zu bytes", meta.size);
	*head = bytes_le64(meta.data);
	return 0;
}

int wire_parse_header(const uint8_t bytes[WIRE_HEADER_BYTES], struct wire_header *header,
		      struct error *error)
{
	struct wire_header parsed = {
		.type = bytes[4],
		.meta_bytes = bytes_le32(bytes + 8),
		.payload_bytes = bytes_le32(bytes + 12),
		.meta_checksum = bytes_le64(bytes + 16),
		.payload_checksum = bytes_le64(bytes + 24),
	};

	if (bytes_le32(bytes) != MAGIC || (bytes[5] | bytes[6] | bytes[7]) != 0)
		return error_set(error, -EBADMSG, "not a frame of annal's peer protocol");
	if (bytes[4] < WIRE_APPEND || bytes[4] > WIRE_NEWS)
		return error_set(error, -EBADMSG, "unknown frame type %u", bytes[4]);
	if (parsed.meta_bytes >
	    (parsed.type == WIRE_APPEND ? WIRE_META_BYTES : WIRE_SMALL_META_BYTES))
		return error_set(error, -EBADMSG, "frame of type %u with %u bytes of meta",
				 bytes[4], parsed.meta_bytes);
	if (parsed.payload_bytes > (has_payload(parsed.type) ? WIRE_PAYLOAD_BYTES : 0))
		return error_set(error, -EBADMSG, "frame of type %u with %u bytes of payload",
				 bytes[4], parsed.payload_bytes);
	*header = parsed;
	return 0;
}

int wire_check_meta(const struct wire_header *header, struct span meta, struct error *error)
{
	uint8_t bytes[16] = {0};

	ASSERT(meta.size == header->meta_bytes);
	bytes_set_le32(bytes, MAGIC);
	bytes[4] = (uint8_t)header->type;
	bytes_set_le32(bytes + 8, header->meta_bytes);
	bytes_set_le32(bytes + 12, header->payload_bytes);
	if (meta_checksum(bytes, meta) != header->meta_checksum)
		return error_set(error, -EBADMSG, "frame of type %u damaged on its way",
				 (unsigned)header->type);
	return 0;
}

bool wire_holds_configuration(struct span bytes)
{
	if (bytes.size < 9 || bytes.data[0] != CONFIGURATION_FORMAT)
		return false;
	struct span rest = span_of(bytes.data + 9, bytes.size - 9);

	for (uint64_t left = bytes_le64(bytes.data + 1); left > 0; left--) {
		const uint8_t *end =
			rest.size > 8 ? memchr(rest.data + 8, '\0', rest.size - 8) : NULL;

		if (end == NULL || end + 1 == rest.data + rest.size)
			return false;
		rest = span_of(end + 2, rest.size - (size_t)(end + 2 - rest.data));
	}
	return true;
}

/* Read one server of a configuration; the address is checked to be an endpoint. */
static int decode_server(struct span *rest, struct raft_configuration *configuration,
			 struct error *error)
{
	struct endpoint endpoint;
	const uint8_t *end = rest->size > 8 ? memchr(rest->data + 8, '\0', rest->size - 8) : NULL;

	if (end == NULL || end + 1 == rest->data + rest->size)
		return error_set(error, -EBADMSG, "configuration is cut short");
	uint64_t id = bytes_le64(rest->data);
	const char *address = (const char *)rest->data + 8;
	int role = end[1];

	if (id == 0 || role > RAFT_SPARE)
		return error_set(error, -EBADMSG, "configuration with id %" PRIu64 " in role %d",
				 id, role);
	if (endpoint_parse(address, &endpoint, error) < 0)
		return -EBADMSG;
	if (raft_configuration_add(configuration, id, address, role) != 0)
		return error_set(error, -EBADMSG, "configuration with %" PRIu64 " or %s twice", id,
				 address);
	*rest = span_of(end + 2, rest->size - (size_t)(end + 2 - rest->data));
	return 0;
}

int wire_decode_configuration(struct span bytes, struct raft_configuration *configuration,
			      struct error *error)
{
	int status = 0;

	raft_configuration_init(configuration);
	if (bytes.size < 9 || bytes.data[0] != CONFIGURATION_FORMAT)
		return error_set(error, -EBADMSG, "not a configuration");
	uint64_t count = bytes_le64(bytes.data + 1);
	struct span rest = span_of(bytes.data + 9, bytes.size - 9);

	if (count == 0 || count > LIMIT_MEMBERS)
		return error_set(error, -EBADMSG, "configuration of %" PRIu64 " members", count);
	for (uint64_t i = 0; i < count && status == 0; i++)
		status = decode_server(&rest, configuration, error);
	/* Zeros up to a multiple of 8 follow. */
	if (status == 0 && (rest.size >= 8 || bytes.size % 8 != 0))
		status = error_set(error, -EBADMSG, "configuration of an odd size");
	if (status < 0)
		raft_configuration_close(configuration);
	return status;
}

static int check_entry_content(const struct raft_entry *entry, uint64_t index, struct error *error)
{
	struct span bytes = span_of(entry->buf.base, entry->buf.len);
	struct raft_configuration configuration;
	struct payload payload;
	int status;

	switch (entry->type) {
	case RAFT_COMMAND:
		status = payload_open(bytes, index, &payload, error);
		if (status == 0 && payload.term != entry->term)
			status = error_set(error, -EBADMSG,
					   "command of term %" PRIu64 " in an entry of term %llu",
					   payload.term, entry->term);
		return status;
	case RAFT_BARRIER:
		return bytes.size == BARRIER_BYTES
			       ? 0
			       : error_set(error, -EBADMSG, "barrier of %zu bytes", bytes.size);
	default:
		status = wire_decode_configuration(bytes, &configuration, error);
		if (status == 0)
			raft_configuration_close(&configuration);
		return status;
	}
}

/* Lay the entries over the payload; terms never fall and none is above the message's. */
static int decode_entries(const struct wire_header *header, struct span meta, uint8_t *payload,
			  struct raft_append_entries *append, struct error *error)
{
	uint64_t offset = 0;
	uint64_t term = append->prev_log_term;

	for (unsigned i = 0; i < append->n_entries; i++) {
		const uint8_t *at = meta.data + WIRE_APPEND_META_BYTES + i * WIRE_ENTRY_META_BYTES;
		struct raft_entry *entry = &append->entries[i];

		*entry = (struct raft_entry){
			.term = bytes_le64(at), .type = at[12], .batch = payload};
		entry->buf.len = bytes_le32(at + 8);
		entry->buf.base = payload + offset;
		if (entry->type < RAFT_COMMAND || entry->type > RAFT_CHANGE ||
		    (at[13] | at[14] | at[15]) != 0)
			return error_set(error, -EBADMSG, "entry of unknown type %u", entry->type);
		if (entry->term < term || entry->term == 0 || entry->term > append->term)
			return error_set(error, -EBADMSG, "entry of term %llu in a message of %llu",
					 entry->term, append->term);
		if (entry->buf.len == 0 || entry->buf.len % 8 != 0 ||
		    entry->buf.len > header->payload_bytes - offset)
			return error_set(error, -EBADMSG, "entry of %zu bytes", entry->buf.len);
		term = entry->term;
		offset += entry->buf.len;
	}
	if (offset != header->payload_bytes)
		return error_set(error, -EBADMSG, "entries of %" PRIu64 " bytes in a payload of %u",
				 offset, header->payload_bytes);
	return 0;
}

static int check_contents(const struct wire_header *header, const struct raft_message *message,
			  struct error *error)
{
	const struct raft_append_entries *append = &message->append_entries;
	int status = 0;

	if (payload_checksum(message) != header->payload_checksum)
		return error_set(error, -EBADMSG, "entries damaged on their way");
	for (unsigned i = 0; i < append->n_entries && status == 0; i++) {
		uint64_t index = append->prev_log_index + 1 + i;

		status = check_entry_content(&append->entries[i], index, error);
		if (status < 0)
			error_prefix(error, "entry %" PRIu64, index);
	}
	return status;
}

static int decode_append(const struct wire_header *header, struct span meta, void *payload,
			 struct raft_message *message, struct error *error)
{
	struct raft_append_entries *append = &message->append_entries;
	int status;

	message->type = RAFT_IO_APPEND_ENTRIES;
	if (meta.size < WIRE_APPEND_META_BYTES ||
	    (meta.size - WIRE_APPEND_META_BYTES) % WIRE_ENTRY_META_BYTES != 0)
		return error_set(error, -EBADMSG, "append with %zu bytes of meta", meta.size);
	append->term = bytes_le64(meta.data);
	append->prev_log_index = bytes_le64(meta.data + 8);
	append->prev_log_term = bytes_le64(meta.data + 16);
	append->leader_commit = bytes_le64(meta.data + 24);
	append->n_entries =
		(unsigned)((meta.size - WIRE_APPEND_META_BYTES) / WIRE_ENTRY_META_BYTES);
	if (append->prev_log_index > INDEX_MAX || append->prev_log_term > append->term ||
	    (append->prev_log_index == 0) != (append->prev_log_term == 0))
		return error_set(error, -EBADMSG, "append behind index %llu of term %llu",
				 append->prev_log_index, append->prev_log_term);
	if (append->n_entries > 0 && payload == NULL)
		return error_set(error, -EBADMSG, "entries of no bytes");
	if (append->n_entries > 0) {
		append->entries = raft_malloc(append->n_entries * sizeof *append->entries);
		ASSERT(append->entries != NULL);
	}
	status = decode_entries(header, meta, payload, append, error);
	if (status == 0)
		status = check_contents(header, message, error);
	if (status < 0)
		raft_free(append->entries);
	return status;
}

static int decode_snapshot(const struct wire_header *header, struct span meta, void *payload,
			   struct raft_message *message, struct error *error)
{
	struct raft_install_snapshot *snapshot = &message->install_snapshot;
	struct manifest manifest;

	message->type = RAFT_IO_INSTALL_SNAPSHOT;
	if (meta.size < SNAPSHOT_META_BYTES)
		return error_set(error, -EBADMSG, "snapshot with %zu bytes of meta", meta.size);
	snapshot->term = bytes_le64(meta.data);
	snapshot->last_index = bytes_le64(meta.data + 8);
	snapshot->last_term = bytes_le64(meta.data + 16);
	snapshot->conf_index = bytes_le64(meta.data + 24);
	snapshot->data.base = payload;
	snapshot->data.len = header->payload_bytes;
	if (snapshot->last_index == 0 || snapshot->last_index > INDEX_MAX ||
	    snapshot->last_term == 0 || snapshot->last_term > snapshot->term ||
	    snapshot->conf_index > snapshot->last_index)
		return error_set(error, -EBADMSG, "snapshot at index %llu of term %llu",
				 snapshot->last_index, snapshot->last_term);
	if (payload_checksum(message) != header->payload_checksum)
		return error_set(error, -EBADMSG, "snapshot damaged on its way");
	if (manifest_decode(span_of(payload, header->payload_bytes), &manifest, error) < 0)
		return -EBADMSG;
	return wire_decode_configuration(
		span_of(meta.data + SNAPSHOT_META_BYTES, meta.size - SNAPSHOT_META_BYTES),
		&snapshot->conf, error);
}

static int decode_vote(struct span meta, uint64_t sender, struct raft_message *message,
		       struct error *error)
{
	struct raft_request_vote *vote = &message->request_vote;

	message->type = RAFT_IO_REQUEST_VOTE;
	if (meta.size != VOTE_META_BYTES)
		return error_set(error, -EBADMSG, "vote request of %zu bytes", meta.size);
	uint64_t flags = bytes_le64(meta.data + 32);

	vote->term = bytes_le64(meta.data);
	vote->candidate_id = bytes_le64(meta.data + 8);
	vote->last_log_index = bytes_le64(meta.data + 16);
	vote->last_log_term = bytes_le64(meta.data + 24);
	vote->disrupt_leader = (flags & FLAG_DISRUPT) != 0;
	vote->pre_vote = (flags & FLAG_PRE_VOTE) != 0;
	if (vote->candidate_id != sender)
		return error_set(error, -EBADMSG, "node %" PRIu64 " asks votes for node %llu",
				 sender, vote->candidate_id);
	if (flags > (FLAG_DISRUPT | FLAG_PRE_VOTE) || vote->last_log_index > INDEX_MAX)
		return error_set(error, -EBADMSG, "malformed vote request");
	return 0;
}

static int decode_vote_result(struct span meta, struct raft_message *message, struct error *error)
{
	struct raft_request_vote_result *result = &message->request_vote_result;

	message->type = RAFT_IO_REQUEST_VOTE_RESULT;
	if (meta.size != VOTE_RESULT_BYTES)
		return error_set(error, -EBADMSG, "vote of %zu bytes", meta.size);
	uint64_t flags = bytes_le64(meta.data + 8);

	if (flags > (FLAG_GRANTED | FLAG_UNSAID))
		return error_set(error, -EBADMSG, "vote with flags %" PRIx64, flags);
	result->term = bytes_le64(meta.data);
	result->vote_granted = (flags & FLAG_GRANTED) != 0;
	result->pre_vote = (flags & FLAG_ANSWERS_PRE_VOTE) != 0 ? raft_tribool_true
			   : (flags & FLAG_UNSAID) != 0         ? raft_tribool_unknown
								: raft_tribool_false;
	return 0;
}

static int decode_append_result(struct span meta, struct raft_message *message, struct error *error)
{
	struct raft_append_entries_result *result = &message->append_entries_result;

	message->type = RAFT_IO_APPEND_ENTRIES_RESULT;
	if (meta.size != RESULT_META_BYTES)
		return error_set(error, -EBADMSG, "append result of %zu bytes", meta.size);
	result->term = bytes_le64(meta.data);
	result->rejected = bytes_le64(meta.data + 8);
	result->last_log_index = bytes_le64(meta.data + 16);
	if (result->rejected > INDEX_MAX || result->last_log_index > INDEX_MAX)
		return error_set(error, -EBADMSG, "append result at index %llu",
				 result->last_log_index);
	return 0;
}

static int decode_timeout_now(struct span meta, struct raft_message *message, struct error *error)
{
	message->type = RAFT_IO_TIMEOUT_NOW;
	if (meta.size != TIMEOUT_META_BYTES)
		return error_set(error, -EBADMSG, "hand-over of %zu bytes", meta.size);
	message->timeout_now.term = bytes_le64(meta.data);
	message->timeout_now.last_log_index = bytes_le64(meta.data + 8);
	message->timeout_now.last_log_term = bytes_le64(meta.data + 16);
	return 0;
}

static int decode_any(const struct wire_header *header, struct span meta, void *payload,
		      struct raft_message *message, struct error *error)
{
	switch (header->type) {
	case WIRE_APPEND:
		return decode_append(header, meta, payload, message, error);
	case WIRE_APPEND_RESULT:
		return decode_append_result(meta, message, error);
	case WIRE_VOTE:
		return decode_vote(meta, message->server_id, message, error);
	case WIRE_VOTE_RESULT:
		return decode_vote_result(meta, message, error);
	case WIRE_SNAPSHOT:
		return decode_snapshot(header, meta, payload, message, error);
	case WIRE_TIMEOUT_NOW:
		return decode_timeout_now(meta, message, error);
	default:
		return error_set(error, -EBADMSG, "a handshake where a raft message is due");
	}
}

/* The term comes first in every type's meta. */
int wire_decode(const struct wire_header *header, struct span meta, void *payload, uint64_t sender,
		struct raft_message *message, struct error *error)
{
	struct raft_message decoded;
	int status = wire_check_meta(header, meta, error);

	memset(&decoded, 0, sizeof decoded);
	decoded.server_id = sender;
	ASSERT((payload != NULL) == (header->payload_bytes > 0));
	if (status == 0)
		status = decode_any(header, meta, payload, &decoded, error);
	if (status == 0)
		*message = decoded;
	return status;
}

void wire_release(struct raft_message *message)
{
	if (message->type == RAFT_IO_APPEND_ENTRIES && message->append_entries.n_entries > 0) {
		raft_free(message->append_entries.entries[0].batch);
		raft_free(message->append_entries.entries);
	}
	if (message->type == RAFT_IO_INSTALL_SNAPSHOT) {
		raft_configuration_close(&message->install_snapshot.conf);
		raft_free(message->install_snapshot.data.base);
	}
}
