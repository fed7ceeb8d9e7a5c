/*
 * Event by event: page by page, and while the user works through one the next is on its way.
 *
 * Nothing is read ahead of a linearizable read, whose pages are to be of the moment in which they are
 * asked for. A page that was read ahead is read again when the session has learnt of a later position
 * meanwhile (a write of its own) that could matter to it: to any page of a stream, which may have been
 * deleted, and to the last page of the store. When reading ahead fails, nobody hears of it: the page is
 * read when it is wanted, and that says what is wrong.
 */
#include "client/page.h"

#include "base/assert.h"
#include "base/limits.h"
#include "base/memory.h"

/* A page, unless the user wants another size: one that is still in the processor's cache when its events are
 * looked at. */
#define PAGE_BYTES (512 * KIB)
/* Calls that reading ahead leaves to the user. */
#define CALLS_LEFT 16u

/* The page that comes. It outlives its iterator as long as the call is on its way. */
struct ahead {
	struct page *page;
	struct span answer; /* in page->raw */
	uint64_t position;  /* of the session, when it was asked for */
	bool runs, good, abandoned;
};

struct annal_iterator {
	struct annal_client *client;
	struct annal_read read;
	struct page *page;
	struct ahead *ahead;
	size_t at;
	bool end;
};

static void ahead_free(struct ahead *ahead)
{
	ASSERT(!ahead->runs);
	page_free(ahead->page);
	memory_free(ahead);
}

static void ahead_done(struct annal_client *client, struct call *call, enum annal_code code,
		       struct span answer)
{
	struct ahead *ahead = call->arg;

	ASSERT(ahead->runs);
	ahead->runs = false;
	if (ahead->abandoned) {
		ahead_free(ahead);
		return;
	}
	ahead->good = code == ANNAL_OK;
	if (!ahead->good)
		return;
	ahead->answer = answer;
	call_keep_answer(client, &ahead->answer, &ahead->page->raw);
}

static void ahead_start(struct annal_iterator *iterator)
{
	struct annal_client *client = iterator->client;
	struct ahead *ahead = iterator->ahead;

	if (iterator->end || iterator->read.consistency == ANNAL_CONSISTENCY_LINEARIZABLE ||
	    call_count(client) + CALLS_LEFT > CLIENT_CALLS_MAX)
		return;
	struct call *call = call_new_read(client);

	ASSERT(call != NULL && !ahead->runs);
	ahead->position = client_session_position(client);
	ahead->runs = true;
	wire_read(&call->request, &iterator->read, ahead->position);
	call->done = ahead_done;
	call->arg = ahead;
	call_start(client, call, iterator->read.timeout_ms);
	client_send(client);
}

/* Whether the page that came ahead is the one that would come now. */
static bool ahead_take(struct annal_iterator *iterator)
{
	struct annal_client *client = iterator->client;
	struct ahead *ahead = iterator->ahead;
	struct page *page = ahead->page;

	while (ahead->runs)
		client_turn(client, LIMIT_TIMEOUT_MS_DEFAULT);
	if (!ahead->good)
		return false;
	ahead->good = false;
	if (!page_decode(page, ahead->answer))
		return false;
	uint64_t position = client_session_position(client);
	bool matters = iterator->read.stream != NULL || page->public.end;

	client_observe(client, page->public.head);
	if (matters && position > ahead->position && position > page->public.head)
		return false;
	ahead->page = iterator->page;
	iterator->page = page;
	return true;
}

static enum annal_code next_page(struct annal_iterator *iterator)
{
	const struct annal_page *page;

	if (!call_may_block(iterator->client))
		return ANNAL_MISUSE;
	if (!ahead_take(iterator)) {
		iterator->page->public.count = 0; /* its memory is used again */
		iterator->at = 0;
		enum annal_code code = page_read(iterator->client, &iterator->read, iterator->page);

		if (code != ANNAL_OK)
			return code;
	}
	page = &iterator->page->public;
	iterator->at = 0;
	iterator->end = page->end;
	/* A page that leads back to itself would never end. */
	if (!page->end && page->next == iterator->read.from && page->count == 0)
		return call_bad_answer(iterator->client, "read: its next page is itself, and");
	iterator->read.from = page->next;
	ahead_start(iterator);
	return ANNAL_OK;
}

struct annal_iterator *annal_iterate(struct annal_client *client, const struct annal_read *read)
{
	struct annal_iterator *iterator = memory_zeroed(1, sizeof *iterator);

	ASSERT(client != NULL && read != NULL);
	iterator->client = client;
	iterator->read = *read;
	if (iterator->read.max_bytes == 0)
		iterator->read.max_bytes = PAGE_BYTES;
	iterator->page = page_new();
	iterator->ahead = memory_zeroed(1, sizeof *iterator->ahead);
	iterator->ahead->page = page_new();
	return iterator;
}

void annal_iterator_free(struct annal_iterator *iterator)
{
	if (iterator == NULL)
		return;
	page_free(iterator->page);
	if (iterator->ahead->runs)
		iterator->ahead->abandoned = true;
	else
		ahead_free(iterator->ahead);
	memory_free(iterator);
}

enum annal_code annal_iterator_next(struct annal_iterator *iterator,
				    const struct annal_event **event)
{
	*event = NULL;
	while (iterator->at == iterator->page->public.count) {
		if (iterator->end)
			return ANNAL_OK;
		enum annal_code code = next_page(iterator);

		if (code != ANNAL_OK)
			return code;
	}
	*event = &iterator->page->public.events[iterator->at++];
	return ANNAL_OK;
}
