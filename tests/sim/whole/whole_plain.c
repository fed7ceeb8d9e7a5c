/*
 * A connection to one node, for programs that speak the protocol themselves, as one in any language would: no
 * retry, no second node, and every answer taken at its word.
 */
#include "tests/sim/whole/whole_plain.h"

#include <errno.h>
#include <poll.h>
#include <stdio.h>

#define SILENT_NS (4 * OS_SECOND) /* without a word although something is awaited: another node */

void plain_init(struct plain *plain)
{
	*plain = (struct plain){0};
	link_init(&plain->link);
}

void plain_close(struct plain *plain)
{
	link_close(&plain->link);
	plain->node = 0;
}

static void lost(struct plain *plain, const char *problem)
{
	os_trace("plain connection to node %u: %s", plain->node, problem);
	whole_saw(WHOLE_SEEN_PLAIN_LOST);
	plain_close(plain);
}

bool plain_open(struct plain *plain, unsigned node)
{
	struct address address = {.port = WHOLE_CLIENT_PORT};
	struct error error;

	ASSERT(plain->node == 0);
	snprintf(address.host, sizeof address.host, "10.0.0.%u", node);
	plain->node = node;
	plain->heard_at = os.now;
	if (link_open(&plain->link, &address, 0, &error) == 0)
		return true;
	lost(plain, error.message);
	return false;
}

void plain_write(struct plain *plain, struct span bytes)
{
	link_write(&plain->link, bytes);
}

bool plain_turn(struct plain *plain, uint32_t wait_ms, bool reads)
{
	struct pollfd pollfd = {.fd = plain->link.fd,
				.events = link_poll_events(&plain->link, reads)};
	struct error error;
	int status;

	ASSERT(plain->node != 0);
	poll(&pollfd, 1, (int)wait_ms);
	bool was_open = plain->link.state == LINK_OPEN;

	status = link_progress(&plain->link, 0, &error);
	if (status == 0 && was_open && reads &&
	    (pollfd.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
		status = link_receive(&plain->link, 0, &error);
		plain->heard_at = os.now;
	}
	if (status == 0 && reads && os.now > plain->heard_at + SILENT_NS)
		status = error_set(&error, -ETIMEDOUT, "silence");
	if (status != 0)
		lost(plain, error.message);
	return status == 0;
}

bool plain_next(struct plain *plain, struct decode_message *message)
{
	struct error error;
	struct span bytes;
	int status = plain->node == 0 ? 0 : link_next(&plain->link, &bytes, &error);

	if (status == 0)
		return false;
	if (status < 0 || !decode_message(bytes, message)) {
		os_violation("node %u sent what is no message", plain->node);
		return false;
	}
	return true;
}
