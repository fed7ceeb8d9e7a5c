/* Which nodes there are, which of them can be asked, and which one is the leader. */
#include "client/client.h"

#include "base/assert.h"
#include <stdio.h>
#include <string.h>

#define GREETING_MS     2000 /* for connecting and the answer to the greeting */
#define PING_MS         500  /* of silence while answers are awaited */
#define DEAD_MS         2000 /* of silence although it was pinged */
#define RETRY_MS_FIRST  25u
#define RETRY_MS_MAX    800u
#define ATTEMPTS_DIRECT 4u /* then any node may forward: its view of the leader is better */

static struct node *node_find(struct annal_client *client, const struct address *address)
{
	for (uint32_t i = 0; i < client->nodes_count; i++) {
		struct node *node = &client->nodes[i];

		if (node->address.port == address->port &&
		    strcmp(node->address.host, address->host) == 0)
			return node;
	}
	return NULL;
}

struct node *node_add(struct annal_client *client, const struct address *address)
{
	struct node *node = node_find(client, address);

	if (node != NULL || client->nodes_count == ANNAL_NODES_MAX)
		return node;
	node = &client->nodes[client->nodes_count++];
	*node = (struct node){.address = *address};
	address_format(address, node->text);
	link_init(&node->link);
	TAILQ_INIT(&node->in_flight);
	return node;
}

bool node_usable(const struct annal_client *client, const struct node *node)
{
	return node->link.state != LINK_CLOSED || node->retry_ms <= client->now_ms;
}

void node_learn_leader(struct annal_client *client, struct annal_bytes address)
{
	char text[ADDRESS_TEXT_BYTES];
	struct address parsed;
	struct error error;

	if (address.size == 0 || address.size >= sizeof text)
		return;
	memcpy(text, address.data, address.size);
	text[address.size] = '\0';
	if (strlen(text) != address.size || address_parse(text, &parsed, &error) != 0)
		return;
	struct node *node =
		client->options.follow ? node_add(client, &parsed) : node_find(client, &parsed);

	if (node != NULL)
		client->leader = node;
}

void node_prefer_another(struct annal_client *client, const struct node *node)
{
	if (node == &client->nodes[client->current])
		client->current = (client->current + 1) % client->nodes_count;
}

void node_failed(struct annal_client *client, struct node *node, const char *problem)
{
	uint32_t doublings = node->failures < 6 ? node->failures : 6;
	uint32_t delay = RETRY_MS_FIRST << doublings;
	struct call *call;

	ASSERT(problem != node->problem);
	link_close(&node->link);
	node->greeted = false;
	node->failures++;
	node->retry_ms = client->now_ms + (delay < RETRY_MS_MAX ? delay : RETRY_MS_MAX);
	snprintf(node->problem, sizeof node->problem, "%s", problem);
	if (client->leader == node)
		client->leader = NULL;
	node_prefer_another(client, node);
	while ((call = TAILQ_FIRST(&node->in_flight)) != NULL)
		call_lost(client, call, node->problem);
}

static void open_node(struct annal_client *client, struct node *node)
{
	struct error error;

	ASSERT(node->link.state == LINK_CLOSED && TAILQ_EMPTY(&node->in_flight));
	if (link_open(&node->link, &node->address, client->now_ms, &error) != 0) {
		node_failed(client, node, error.message);
		return;
	}
	node->pinged_ms = 0;
	link_write(&node->link, buffer_span(&client->hello));
}

/* The first usable node from the current one on that `avoid` is not. */
static struct node *choose(struct annal_client *client, const struct node *avoid)
{
	for (uint32_t i = 0; i < client->nodes_count; i++) {
		struct node *node = &client->nodes[(client->current + i) % client->nodes_count];

		if (node != avoid && node_usable(client, node))
			return node;
	}
	return NULL;
}

static struct node *choose_for_leader(struct annal_client *client, const struct call *call,
				      bool *forward)
{
	*forward = call->attempts >= ATTEMPTS_DIRECT;
	if (client->leader != NULL && node_usable(client, client->leader))
		return client->leader;
	if (client->leader != NULL) /* it cannot be reached from here, perhaps from there */
		*forward = true;
	return choose(client, client->leader);
}

struct node *node_pick(struct annal_client *client, const struct call *call, bool *forward)
{
	struct node *node = NULL;

	*forward = true;
	if (call->route == CALL_ROUTE_LEADER)
		node = choose_for_leader(client, call, forward);
	else if (client->options.read_from == URI_READ_FROM_LEADER)
		node = client->leader != NULL && node_usable(client, client->leader)
			       ? client->leader
			       : choose(client, NULL);
	else if (client->options.read_from == URI_READ_FROM_FOLLOWER)
		node = choose(client, client->leader);
	if (node == NULL)
		node = choose(client, NULL);
	if (node != NULL && node->link.state == LINK_CLOSED)
		open_node(client, node);
	return node;
}

struct node *node_rotate(struct annal_client *client, uint32_t *cursor)
{
	const struct node *avoid =
		client->options.read_from == URI_READ_FROM_FOLLOWER ? client->leader : NULL;

	for (int pass = 0; pass < 2; pass++) {
		for (uint32_t i = 0; i < client->nodes_count; i++) {
			uint32_t at = (*cursor + i) % client->nodes_count;
			struct node *node = &client->nodes[at];

			if ((pass == 0 && node == avoid) || node->retry_ms > client->now_ms)
				continue;
			*cursor = at;
			return node;
		}
	}
	return NULL;
}

/* Errors of the greeting that no other node would answer differently. */
static bool refuses_everywhere(enum annal_code code)
{
	return code == ANNAL_UNAUTHENTICATED || code == ANNAL_ACCESS_DENIED ||
	       code == ANNAL_INVALID_ARGUMENT;
}

/* No other node would answer differently: the calls that wait are told. */
static void fail_waiting(struct annal_client *client, struct span body)
{
	size_t count = call_count(client); /* callbacks may start others, which are not for now */
	struct call *call;

	while (count-- > 0 && (call = TAILQ_FIRST(&client->waiting)) != NULL) {
		decode_error(body, &client->answer_error);
		call_fail(client, call);
	}
}

static void greeting_refused(struct annal_client *client, struct node *node, struct span body)
{
	const struct annal_error *error = &client->answer_error.public;
	char problem[256];

	if (!decode_error(body, &client->answer_error)) {
		node_failed(client, node, "its greeting is no answer of annal");
		return;
	}
	snprintf(problem, sizeof problem, "it refuses the greeting: %s: %.180s",
		 annal_code_name(error->code), error->message);
	if (refuses_everywhere(error->code))
		fail_waiting(client, body);
	node_failed(client, node, problem);
}

void node_greeting(struct annal_client *client, struct node *node,
		   const struct decode_message *message)
{
	struct annal_bytes server = {0}, role = {0}, leader = {0};
	uint64_t protocol = 0;
	const struct decode_field fields[] = {{"server", DECODE_TEXT, &server},
					      {"protocol", DECODE_U64, &protocol},
					      {"role", DECODE_TEXT, &role},
					      {"leader", DECODE_TEXT, &leader}};

	if (message->failed) {
		greeting_refused(client, node, message->body);
		return;
	}
	if (!DECODE_FIELDS(message->body, fields) ||
	    !span_equal_string(decode_span(server), "annal")) {
		node_failed(client, node, "its greeting is no answer of annal");
		return;
	}
	if (protocol != 1) {
		node_failed(client, node, "it speaks another version of the protocol, not 1");
		return;
	}
	node->greeted = true;
	node->failures = 0;
	node->problem[0] = '\0';
	if (span_equal_string(decode_span(role), "leader"))
		client->leader = node;
	else if (client->leader == NULL || client->leader == node)
		node_learn_leader(client, leader);
}

void node_check_silence(struct annal_client *client, struct node *node)
{
	int64_t since = node->link.heard_ms;

	if (node->link.state == LINK_CLOSED)
		return;
	if (!node->greeted) {
		if (client->now_ms - since > GREETING_MS)
			node_failed(client, node, "no answer to the greeting");
		return;
	}
	if (TAILQ_EMPTY(&node->in_flight))
		return;
	if (node->busy_ms > since)
		since = node->busy_ms;
	if (client->now_ms - since > DEAD_MS) {
		node_failed(client, node, "it does not answer");
	} else if (client->now_ms - since > PING_MS && node->pinged_ms <= since) {
		node->pinged_ms = client->now_ms;
		link_write(&node->link, buffer_span(&client->ping));
	}
}

void node_describe_problems(const struct annal_client *client, char *text, size_t size)
{
	size_t used = 0;

	text[0] = '\0';
	for (uint32_t i = 0; i < client->nodes_count && used < size; i++) {
		const struct node *node = &client->nodes[i];
		const char *problem = node->problem[0] != '\0' ? node->problem : "not tried";
		int wanted = snprintf(text + used, size - used, "%s%s (%s)", i > 0 ? ", " : "",
				      node->text, problem);

		ASSERT(wanted > 0);
		used += (size_t)wanted;
	}
}
