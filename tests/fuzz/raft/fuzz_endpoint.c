/*
 * Any text as a member's endpoint, and as the list of initial members: refused with a message, or taken
 * so that what is written from it is taken as the same; no member of a list is there twice.
 */
#include "base/assert.h"
#include "base/buffer.h"
#include "base/memory.h"
#include "raft/endpoint.h"

#include <inttypes.h>
#include <stdio.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_endpoint(const char *text)
{
	char formatted[ENDPOINT_TEXT_BYTES];
	struct endpoint endpoint, again;
	struct error error = {{0}};

	if (endpoint_parse(text, &endpoint, &error) != 0) {
		ASSERT(error.message[0] != '\0');
		return;
	}
	endpoint_format(&endpoint, formatted);
	ASSERT(endpoint_parse(formatted, &again, &error) == 0);
	ASSERT(strcmp(again.peer, endpoint.peer) == 0 && again.nonce == endpoint.nonce);
	ASSERT(strcmp(again.client, endpoint.client) == 0);
}

static void check_members(const struct roster *roster)
{
	for (uint32_t i = 0; i < roster->count; i++) {
		const struct roster_member *member = &roster->members[i];

		ASSERT(member->id > 0 && roster_find(roster, member->id) == member);
		ASSERT(i == 0 || member->id > roster->members[i - 1].id);
		for (uint32_t other = 0; other < i; other++) {
			const struct endpoint *before = &roster->members[other].endpoint;

			ASSERT(strcmp(before->peer, member->endpoint.peer) != 0);
			ASSERT(strcmp(before->client, member->endpoint.client) != 0);
		}
	}
}

static void check_roster(const char *text)
{
	char part[ENDPOINT_TEXT_BYTES + 32];
	struct roster roster, again;
	struct error error = {{0}};
	struct buffer backwards;

	if (roster_parse(text, &roster, &error) != 0) {
		ASSERT(error.message[0] != '\0');
		return;
	}
	ASSERT(roster.count <= LIMIT_MEMBERS);
	check_members(&roster);
	buffer_init(&backwards);
	for (uint32_t i = roster.count; i-- > 0;) {
		const struct roster_member *member = &roster.members[i];
		int size =
			snprintf(part, sizeof part, "%" PRIu64 "=%s/%s%s", member->id,
				 member->endpoint.peer, member->endpoint.client, i > 0 ? "," : "");

		buffer_append(&backwards, part, (size_t)size);
	}
	buffer_append(&backwards, "", 1);
	ASSERT(roster_parse((const char *)backwards.data, &again, &error) == 0);
	ASSERT(again.count == roster.count && roster_hash(&again) == roster_hash(&roster));
	buffer_close(&backwards);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	char *text = memory_alloc(size + 1);

	memcpy(text, data, size);
	text[size] = '\0';
	check_endpoint(text);
	check_roster(text);
	memory_free(text);
	return 0;
}
