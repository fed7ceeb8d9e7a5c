#include "raft/handshake.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>

#define NUMBERS_BYTES (8 + 7 * 8 + CLUSTER_ID_BYTES)

static void put_text(struct buffer *into, const char *text, size_t size_bytes)
{
	size_t size = strlen(text);
	uint8_t prefix[2];

	ASSERT(size_bytes == 2 || size <= UINT8_MAX);
	bytes_set_le16(prefix, (uint16_t)size);
	buffer_append(into, prefix, size_bytes);
	buffer_append(into, text, size);
}

static void put_u64(struct buffer *into, uint64_t value)
{
	bytes_set_le64(buffer_reserve(into, 8), value);
	into->size += 8;
}

static void put_numbers(const struct handshake *handshake, struct buffer *into)
{
	uint8_t head[8] = {0};

	bytes_set_le16(head, handshake->version);
	head[2] = (uint8_t)handshake->purpose;
	head[3] = (uint8_t)handshake->verdict;
	buffer_append(into, head, sizeof head);
	put_u64(into, handshake->from);
	put_u64(into, handshake->to);
	put_u64(into, handshake->instance);
	put_u64(into, handshake->from_nonce);
	put_u64(into, handshake->to_nonce);
	put_u64(into, handshake->to_instance);
	put_u64(into, handshake->purpose == HANDSHAKE_FORMING ? handshake->members_hash
							      : handshake->configuration_index);
	buffer_append(into, handshake->cluster_id, CLUSTER_ID_BYTES);
}

void handshake_encode(const struct handshake *handshake, enum wire_type type, struct buffer *into)
{
	struct buffer meta;
	uint8_t count = (uint8_t)handshake->instance_count;

	ASSERT(handshake->instance_count <= LIMIT_MEMBERS);
	buffer_init(&meta);
	put_numbers(handshake, &meta);
	put_text(&meta, handshake->cluster_name, 1);
	put_text(&meta, handshake->endpoint, 2);
	put_text(&meta, handshake->reason, 2);
	buffer_append(&meta, &count, 1);
	for (uint32_t i = 0; i < count; i++) {
		put_u64(&meta, handshake->instances[i].id);
		put_u64(&meta, handshake->instances[i].instance);
	}
	wire_encode_handshake(type, buffer_span(&meta), into);
	buffer_close(&meta);
}

/* Take a text with its size in front; false when it is cut short, too long or holds a zero byte. */
static bool take_text(struct span *rest, size_t size_bytes, char *into, size_t into_bytes)
{
	if (rest->size < size_bytes)
		return false;
	size_t size = size_bytes == 1 ? rest->data[0] : bytes_le16(rest->data);

	if (size >= into_bytes || size > rest->size - size_bytes ||
	    memchr(rest->data + size_bytes, '\0', size) != NULL)
		return false;
	memcpy(into, rest->data + size_bytes, size);
	into[size] = '\0';
	*rest = span_of(rest->data + size_bytes + size, rest->size - size_bytes - size);
	return true;
}

static bool take_instances(struct span *rest, struct handshake *handshake)
{
	if (rest->size < 1 || rest->data[0] > LIMIT_MEMBERS ||
	    rest->size != 1 + (size_t)rest->data[0] * 16)
		return false;
	handshake->instance_count = rest->data[0];
	for (uint32_t i = 0; i < handshake->instance_count; i++) {
		handshake->instances[i].id = bytes_le64(rest->data + 1 + 16 * i);
		handshake->instances[i].instance = bytes_le64(rest->data + 9 + 16 * i);
	}
	return true;
}

static void take_numbers(const uint8_t *at, struct handshake *handshake)
{
	handshake->purpose = at[2];
	handshake->verdict = at[3];
	handshake->from = bytes_le64(at + 8);
	handshake->to = bytes_le64(at + 16);
	handshake->instance = bytes_le64(at + 24);
	handshake->from_nonce = bytes_le64(at + 32);
	handshake->to_nonce = bytes_le64(at + 40);
	handshake->to_instance = bytes_le64(at + 48);
	if (handshake->purpose == HANDSHAKE_FORMING)
		handshake->members_hash = bytes_le64(at + 56);
	else
		handshake->configuration_index = bytes_le64(at + 56);
	memcpy(handshake->cluster_id, at + 64, CLUSTER_ID_BYTES);
}

int handshake_decode(struct span meta, struct handshake *handshake, struct error *error)
{
	struct handshake taken = {0};
	struct endpoint endpoint;

	if (meta.size < NUMBERS_BYTES)
		return error_set(error, -EBADMSG, "handshake of %zu bytes", meta.size);
	taken.version = bytes_le16(meta.data);
	if (taken.version != HANDSHAKE_VERSION)
		return error_set(error, -EPROTONOSUPPORT,
				 "peer protocol version %u, version %u is wanted", taken.version,
				 HANDSHAKE_VERSION);
	take_numbers(meta.data, &taken);
	struct span rest = span_of(meta.data + NUMBERS_BYTES, meta.size - NUMBERS_BYTES);

	if (!take_text(&rest, 1, taken.cluster_name, sizeof taken.cluster_name) ||
	    !take_text(&rest, 2, taken.endpoint, sizeof taken.endpoint) ||
	    !take_text(&rest, 2, taken.reason, sizeof taken.reason) ||
	    !take_instances(&rest, &taken))
		return error_set(error, -EBADMSG, "malformed handshake");
	if (taken.purpose < HANDSHAKE_RAFT || taken.purpose > HANDSHAKE_FORMING ||
	    taken.verdict > HANDSHAKE_REMOVED || taken.from == 0 ||
	    (taken.instance == 0 && taken.verdict <= HANDSHAKE_ACCEPTED))
		return error_set(error, -EBADMSG, "malformed handshake");
	if (endpoint_parse(taken.endpoint, &endpoint, error) < 0)
		return -EBADMSG;
	*handshake = taken;
	return 0;
}
