/*
 * Programs that use libannal: some append and read, some subscribe (whole_subscribe.c), and in the end one reads
 * everything from every node.
 */
#include "tests/sim/whole/whole.h"

#include <stdio.h>
#include <string.h>

#define SLACK_NS    (100 * OS_MS) /* that a call may take beyond its time */
#define UNSURE_ROOM 16
#define READER_PAGE 500
#define READER_MS   20000

void whole_check_time(const char *call, uint64_t began, uint32_t timeout_ms)
{
	uint64_t took = os.now - began;

	if (took > timeout_ms * OS_MS + SLACK_NS)
		os_violation("%s with a timeout of %u ms took %" PRIu64 " ms", call, timeout_ms,
			     took / OS_MS);
}

uint32_t client_draw_timeout(void)
{
	return (uint32_t)(os_chance(500) ? os_between(2000, 5000) : os_between(50, 1500));
}

struct annal_client *whole_connect(unsigned node, const char *read_from)
{
	char url[512] = "annal://", message[256];
	unsigned first = node > 0 ? node : 1, last = node > 0 ? node : whole.nodes_count;
	const char *between = "";

	for (unsigned i = first; i <= last; i++) {
		if (node == 0 && !whole_node_in_use(&whole.nodes[i - 1]))
			continue;
		snprintf(url + strlen(url), sizeof url - strlen(url), "%s10.0.0.%u:%u", between, i,
			 WHOLE_CLIENT_PORT);
		between = ",";
	}
	snprintf(url + strlen(url), sizeof url - strlen(url), "/?read_from=%s&follow=%s", read_from,
		 node > 0 ? "off" : "on");
	struct annal_client *client = annal_client_new(url, message, sizeof message);

	if (client == NULL)
		os_violation("%s: %s", url, message);
	return client;
}

/* ---- clients ---- */

struct annal_client *client_handle(struct whole_client *client)
{
	struct annal_client *handle = client->handles[os_between(0, 1)];

	/* What the program has seen by the one, it hands to the other. */
	annal_client_observe(handle, client->floor);
	return handle;
}

static void connect_to_one(struct whole_client *client)
{
	client->home = whole_pick_node();
	client->handles[1] = whole_connect(client->home, "any");
}

static void connect_handles(struct whole_client *client)
{
	static const char *const where[] = {"leader", "follower", "any"};

	client->handles[0] = whole_connect(0, where[os_between(0, 2)]);
	connect_to_one(client);
}

static void *run_client(void *arg)
{
	struct whole_client *client = arg;

	connect_handles(client);
	while (!whole.ending) {
		unsigned what = (unsigned)os_between(client->reads_only ? 55 : 0, 99);

		if (what < 45)
			client_append(client);
		else if (what < 55)
			client_append_burst(client);
		else if (what < 98)
			client_read(client);
		if (what == 98 || !whole_node_in_use(&whole.nodes[client->home - 1])) {
			/* As a program that starts anew: it knows nothing of its session. */
			annal_client_free(client->handles[1]);
			connect_to_one(client);
		}
		os_sleep(os_between(whole.limits.think_low_ns, whole.limits.think_high_ns));
	}
	while (client->unsure_count > 0 && !os.violated)
		client_append(client);
	annal_client_free(client->handles[0]);
	annal_client_free(client->handles[1]);
	memory_free(client->unsure);
	memory_free(client);
	if (os_process_files(os_current()) > 0)
		os_violation("%s has ended with descriptors open", os_current()->name);
	whole.appending--;
	os_process_exit(0);
}

void whole_clients_start(void)
{
	for (unsigned i = 0; i < WHOLE_CLIENTS + WHOLE_READERS; i++) {
		struct whole_client *client = memory_zeroed(1, sizeof *client);

		client->number = i;
		client->process = whole.clients[i];
		client->reads_only = i >= WHOLE_CLIENTS;
		client->unsure = memory_zeroed(UNSURE_ROOM, sizeof *client->unsure);
		whole.appending++;
		os_process_start(client->process, run_client, client);
	}
}

/* ---- the reader of everything ---- */

/* The log of one node; the first one is the model's, the others must be the same. */
static uint64_t read_all(struct annal_client *client, unsigned node, bool first, uint32_t *count)
{
	struct annal_read read = {.from = 1,
				  .limit = READER_PAGE,
				  .consistency = ANNAL_CONSISTENCY_LOCAL,
				  .timeout_ms = READER_MS};
	struct annal_page *page;
	uint64_t head = 0;

	for (bool end = false; !end && !os.violated;) {
		if (annal_read(client, &read, &page) != ANNAL_OK) {
			os_violation("node %u cannot be read at the end: %.200s", node,
				     annal_client_error(client)->message);
			return 0;
		}
		for (size_t i = 0; i < page->count && !os.violated; i++) {
			if (first)
				model_final_event(&page->events[i]);
			else
				model_check_event("a reader at the end", &page->events[i]);
			++*count;
		}
		end = page->end;
		head = page->head;
		read.from = page->next;
		annal_page_free(page);
	}
	return head;
}

static void *run_reader(void *arg)
{
	unsigned first = 0;
	uint64_t first_head = 0;
	uint32_t first_count = 0;

	(void)arg;
	for (unsigned node = 1; node <= whole.nodes_count && !os.violated; node++) {
		if (!whole_node_in_use(&whole.nodes[node - 1]))
			continue;
		struct annal_client *client = whole_connect(node, "any");
		uint32_t count = 0;
		uint64_t head = read_all(client, node, first == 0, &count);

		annal_client_free(client);
		if (first > 0 && (head != first_head || count != first_count))
			os_violation("node %u has %u events up to %" PRIu64
				     ", node %u has %u up to %" PRIu64,
				     node, count, head, first, first_count, first_head);
		first = first == 0 ? node : first;
		first_head = head;
		first_count = count;
	}
	if (!os.violated)
		model_check_all(first_head);
	whole.end_head = first_head;
	os_process_exit(0);
}

void whole_reader_start(void)
{
	os_process_start(whole.reader, run_reader, NULL);
}
