#include "raft/endpoint.h"

#include "base/assert.h"
#include "base/checksum.h"

#include <errno.h>
#include <inttypes.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

void endpoint_format(const struct endpoint *endpoint, char text[ENDPOINT_TEXT_BYTES])
{
	int size = snprintf(text, ENDPOINT_TEXT_BYTES, "%s/%s#%" PRIx64, endpoint->peer,
			    endpoint->client, endpoint->nonce);

	ASSERT(size > 0 && size < ENDPOINT_TEXT_BYTES);
}

/* None of the characters that separate the parts can be in a parsed address. */
static int address_copy(char into[ADDRESS_TEXT_BYTES], const char *from, struct error *error)
{
	struct address address;
	int status = address_parse(from, &address, error);

	if (status < 0)
		return status;
	if (address.port == 0)
		return error_set(error, -EINVAL, "'%.300s' has port 0: others cannot reach it",
				 from);
	address_format(&address, into);
	return 0;
}

int endpoint_set(struct endpoint *endpoint, const char *peer, const char *client, uint64_t nonce,
		 struct error *error)
{
	struct endpoint made = {.nonce = nonce};
	int status = address_copy(made.peer, peer, error);

	if (status == 0)
		status = address_copy(made.client, client, error);
	if (status == 0)
		*endpoint = made;
	return status;
}

/* Cut `text` at the first `separator`: the part before it, zero-terminated; NULL: there is none. */
static const char *cut(const char *text, char separator, char *part, size_t part_bytes)
{
	const char *at = strchr(text, separator);

	if (at == NULL || (size_t)(at - text) >= part_bytes)
		return NULL;
	memcpy(part, text, (size_t)(at - text));
	part[at - text] = '\0';
	return at + 1;
}

static bool nonce_parse(const char *text, uint64_t *nonce)
{
	uint64_t value = 0;
	size_t digits = strspn(text, "0123456789abcdef");

	if (digits == 0 || digits > 16 || text[digits] != '\0')
		return false;
	for (size_t i = 0; i < digits; i++)
		value = value << 4 |
			(uint64_t)(text[i] <= '9' ? text[i] - '0' : text[i] - 'a' + 10);
	*nonce = value;
	return true;
}

int endpoint_parse(const char *text, struct endpoint *endpoint, struct error *error)
{
	char peer[ADDRESS_TEXT_BYTES], client[ADDRESS_TEXT_BYTES];
	const char *rest = cut(text, '/', peer, sizeof peer);
	uint64_t nonce;

	if (rest != NULL)
		rest = cut(rest, '#', client, sizeof client);
	if (rest == NULL || !nonce_parse(rest, &nonce))
		return error_set(error, -EINVAL, "'%.300s' is no host:port/host:port#nonce", text);
	return endpoint_set(endpoint, peer, client, nonce, error);
}

/* ---- the initial members ---- */

static int roster_member_parse(char *text, struct roster_member *member, struct error *error)
{
	char *equals = strchr(text, '=');
	char *slash = equals != NULL ? strchr(equals, '/') : NULL;
	char *end = NULL;

	if (slash == NULL)
		return error_set(error, -EINVAL, "'%.300s' is no id=peerhost:port/clienthost:port",
				 text);
	*equals = '\0';
	*slash = '\0';
	errno = 0;
	member->id = strtoull(text, &end, 10);
	if (errno != 0 || *end != '\0' || member->id == 0 || strspn(text, "0123456789") == 0)
		return error_set(error, -EINVAL, "'%.100s' is no node id: give a number from 1",
				 text);
	return endpoint_set(&member->endpoint, equals + 1, slash + 1, 0, error);
}

static int roster_insert(struct roster *roster, const struct roster_member *member,
			 struct error *error)
{
	uint32_t at = roster->count;

	if (roster->count == LIMIT_MEMBERS)
		return error_set(error, -EINVAL, "more than %u initial members", LIMIT_MEMBERS);
	for (uint32_t i = 0; i < roster->count; i++) {
		if (roster->members[i].id == member->id)
			return error_set(error, -EINVAL, "node id %" PRIu64 " comes twice",
					 member->id);
		if (strcmp(roster->members[i].endpoint.peer, member->endpoint.peer) == 0)
			return error_set(error, -EINVAL, "peer address %s comes twice",
					 member->endpoint.peer);
		if (strcmp(roster->members[i].endpoint.client, member->endpoint.client) == 0)
			return error_set(error, -EINVAL, "client address %s comes twice",
					 member->endpoint.client);
	}
	for (; at > 0 && roster->members[at - 1].id > member->id; at--)
		roster->members[at] = roster->members[at - 1];
	roster->members[at] = *member;
	roster->count++;
	return 0;
}

int roster_parse(const char *text, struct roster *roster, struct error *error)
{
	int status = 0;

	memset(roster, 0, sizeof *roster);
	while (status == 0 && *text != '\0') {
		char part[ENDPOINT_TEXT_BYTES + 24];
		struct roster_member member = {0};
		size_t size = strcspn(text, ",");

		if (size >= sizeof part)
			return error_set(error, -EINVAL, "'%.100s…' is too long", text);
		memcpy(part, text, size);
		part[size] = '\0';
		status = roster_member_parse(part, &member, error);
		if (status == 0)
			status = roster_insert(roster, &member, error);
		text += size;
		if (*text == ',' && *++text == '\0' && status == 0)
			status = error_set(error, -EINVAL, "nothing follows the last comma");
	}
	return status;
}

const struct roster_member *roster_find(const struct roster *roster, uint64_t id)
{
	ASSERT(roster->count <= LIMIT_MEMBERS);
	for (uint32_t i = 0; i < roster->count; i++)
		if (roster->members[i].id == id)
			return &roster->members[i];
	return NULL;
}

uint64_t roster_hash(const struct roster *roster)
{
	uint64_t hash = roster->count;

	for (uint32_t i = 0; i < roster->count; i++) {
		const struct roster_member *member = &roster->members[i];

		hash = checksum64_seeded(&member->id, sizeof member->id, hash);
		hash = checksum64_seeded(member->endpoint.peer, strlen(member->endpoint.peer),
					 hash);
		hash = checksum64_seeded(member->endpoint.client, strlen(member->endpoint.client),
					 hash);
	}
	return hash;
}
