#include "raft/peers.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/checksum.h"
#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

#define MAGIC         "ANPEERS1"
#define HEAD_BYTES    (8 + 8 + 8 + CLUSTER_ID_BYTES + 4 + 4 + 4 + 4)
#define INITIAL_BYTES 16
#define RECORD_BYTES  24
#define FILE_BYTES    (HEAD_BYTES + LIMIT_MEMBERS * INITIAL_BYTES + PEERS_RECORDS * RECORD_BYTES + 8)
#define PATH_BYTES    4096

static void put_u64(struct buffer *into, uint64_t value)
{
	bytes_set_le64(buffer_reserve(into, 8), value);
	into->size += 8;
}

static void put_u32(struct buffer *into, uint32_t value)
{
	bytes_set_le32(buffer_reserve(into, 4), value);
	into->size += 4;
}

void peers_encode(const struct peers *peers, struct buffer *into)
{
	size_t start = into->size;

	ASSERT(peers->initial_count <= LIMIT_MEMBERS && peers->record_count <= PEERS_RECORDS);
	buffer_append(into, MAGIC, 8);
	put_u64(into, peers->node_id);
	put_u64(into, peers->instance);
	buffer_append(into, peers->cluster_id, CLUSTER_ID_BYTES);
	put_u32(into, (uint32_t)peers->stage);
	put_u32(into, peers->initial_count);
	put_u32(into, peers->record_count);
	put_u32(into, 0);
	for (uint32_t i = 0; i < peers->initial_count; i++) {
		put_u64(into, peers->initial[i].id);
		put_u64(into, peers->initial[i].instance);
	}
	for (uint32_t i = 0; i < peers->record_count; i++) {
		put_u64(into, peers->records[i].id);
		put_u64(into, peers->records[i].nonce);
		put_u64(into, peers->records[i].instance);
	}
	put_u64(into, checksum64(into->data + start, into->size - start));
}

static void take_lists(const uint8_t *at, struct peers *peers)
{
	for (uint32_t i = 0; i < peers->initial_count; i++, at += INITIAL_BYTES)
		peers->initial[i] = (struct handshake_instance){bytes_le64(at), bytes_le64(at + 8)};
	for (uint32_t i = 0; i < peers->record_count; i++, at += RECORD_BYTES)
		peers->records[i] = (struct peer_record){bytes_le64(at), bytes_le64(at + 8),
							 bytes_le64(at + 16)};
}

static int peers_decode(struct span bytes, struct peers *peers, struct error *error)
{
	struct peers taken = {0};

	if (bytes.size < HEAD_BYTES + 8 || memcmp(bytes.data, MAGIC, 8) != 0 ||
	    bytes_le64(bytes.data + bytes.size - 8) != checksum64(bytes.data, bytes.size - 8))
		return error_set(error, -EBADMSG, "damaged");
	taken.node_id = bytes_le64(bytes.data + 8);
	taken.instance = bytes_le64(bytes.data + 16);
	memcpy(taken.cluster_id, bytes.data + 24, CLUSTER_ID_BYTES);
	taken.stage = bytes_le32(bytes.data + 40);
	taken.initial_count = bytes_le32(bytes.data + 44);
	taken.record_count = bytes_le32(bytes.data + 48);
	if (taken.stage > PEERS_STARTED || taken.initial_count > LIMIT_MEMBERS ||
	    taken.record_count > PEERS_RECORDS ||
	    bytes.size != HEAD_BYTES + taken.initial_count * INITIAL_BYTES +
				  taken.record_count * RECORD_BYTES + 8)
		return error_set(error, -EBADMSG, "written by another version");
	take_lists(bytes.data + HEAD_BYTES, &taken);
	*peers = taken;
	return 0;
}

int peers_read(const char *path, struct peers *peers, struct error *error)
{
	uint8_t bytes[FILE_BYTES + 1]; /* one more: a longer file is no such file */
	int file = open(path, O_RDONLY | O_CLOEXEC);

	if (file < 0)
		return error_set_errno(error, errno, "open %s", path);
	ssize_t size = read(file, bytes, sizeof bytes);
	int status = size < 0 ? error_set_errno(error, errno, "read %s", path)
			      : peers_decode(span_of(bytes, (size_t)size), peers, error);

	close(file);
	if (status == -EBADMSG)
		error_prefix(error, "%s", path);
	return status;
}

int peers_save(const char *path, const struct peers *peers, struct error *error)
{
	struct buffer bytes;

	buffer_init(&bytes);
	peers_encode(peers, &bytes);
	int status = file_replace(path, buffer_span(&bytes), error);

	buffer_close(&bytes);
	return status;
}

uint64_t peers_instance_of(const struct peers *peers, uint64_t id, uint64_t nonce)
{
	ASSERT(peers->record_count <= PEERS_RECORDS);
	for (uint32_t i = 0; i < peers->record_count; i++)
		if (peers->records[i].id == id && peers->records[i].nonce == nonce)
			return peers->records[i].instance;
	return 0;
}

bool peers_has(const struct peers *peers, uint64_t id, uint64_t instance)
{
	ASSERT(peers->record_count <= PEERS_RECORDS);
	for (uint32_t i = 0; i < peers->record_count; i++)
		if (peers->records[i].id == id && peers->records[i].instance == instance)
			return true;
	return false;
}

bool peers_record(struct peers *peers, uint64_t id, uint64_t nonce, uint64_t instance)
{
	ASSERT(id != 0 && instance != 0);
	if (peers_instance_of(peers, id, nonce) != 0)
		return false;
	if (peers->record_count == PEERS_RECORDS) {
		memmove(&peers->records[0], &peers->records[1],
			(PEERS_RECORDS - 1) * sizeof peers->records[0]);
		peers->record_count--;
	}
	peers->records[peers->record_count++] = (struct peer_record){id, nonce, instance};
	return true;
}
