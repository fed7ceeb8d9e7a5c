#include "client/client.h"

#include "base/assert.h"
#include "base/memory.h"

/* A page with the memory behind it. */
struct page {
	struct annal_page public; /* first: the user's pointer is ours */
	struct decode_events events;
	uint8_t *raw;
};

struct annal_iterator {
	struct annal_client *client;
	struct annal_read read;
	struct annal_page *page; /* NULL before the first and after the last */
	size_t at;
	bool end;
};

void annal_page_free(struct annal_page *page)
{
	struct page *whole = (struct page *)page;

	if (page == NULL)
		return;
	decode_events_close(&whole->events);
	memory_free(whole->raw);
	memory_free(whole);
}

/* Take over client->answer, so that the events may point into it. */
static struct page *new_page(struct annal_client *client, struct span *answer)
{
	struct page *page = memory_zeroed(1, sizeof *page);
	size_t size;

	decode_events_init(&page->events);
	page->raw = buffer_take(&client->answer, &size);
	*answer = span_of(page->raw, size);
	return page;
}

/* What the map says of events goes into `list`, which must live as long as the page. */
static bool decode_page_into(struct span answer, struct annal_page *page,
			     struct decode_events *list)
{
	struct span events = {0};
	const struct decode_field fields[] = {
		{"events", DECODE_RAW, &events},
		{"next", DECODE_U64, &page->next},
		{"end", DECODE_BOOL, &page->end},
		{"head", DECODE_U64, &page->head},
		{"version", DECODE_U64, &page->version},
		{"first_version", DECODE_U64, &page->first_version},
		{"state", DECODE_TEXT, &page->state},
	};

	if (!DECODE_FIELDS(answer, fields) || !decode_events(events, list))
		return false;
	page->events = list->events;
	page->count = list->count;
	return true;
}

static bool decode_page(struct span answer, struct page *page)
{
	return decode_page_into(answer, &page->public, &page->events);
}

static bool decode_event_page(struct span answer, struct page *page)
{
	struct span event = {0};
	const struct decode_field fields[] = {{"event", DECODE_RAW, &event},
					      {"head", DECODE_U64, &page->public.head}};

	if (!DECODE_FIELDS(answer, fields) || !decode_event(event, &page->events))
		return false;
	page->public.events = page->events.events;
	page->public.count = 1;
	page->public.end = true;
	return true;
}

static enum annal_code run_read(struct annal_client *client, struct call *call, uint32_t timeout_ms,
				const char *method, bool (*decode)(struct span, struct page *),
				struct annal_page **into)
{
	struct span answer;
	enum annal_code code = call_run(client, call, timeout_ms, &answer);

	if (code != ANNAL_OK)
		return code;
	struct page *page = new_page(client, &answer);

	if (!decode(answer, page)) {
		annal_page_free(&page->public);
		return call_bad_answer(client, method);
	}
	client_observe(client, page->public.head);
	*into = &page->public;
	return ANNAL_OK;
}

enum annal_code annal_read(struct annal_client *client, const struct annal_read *read,
			   struct annal_page **page)
{
	struct call *call = call_new_read(client);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_read(&call->request, read, client_session_position(client));
	return run_read(client, call, read->timeout_ms,
			read->stream != NULL ? "read_stream" : "read_all", decode_page, page);
}

static void read_done(struct annal_client *client, struct call *call, enum annal_code code,
		      struct span answer)
{
	annal_read_done *done = call->read_done;
	void *arg = call->arg;
	struct annal_page page = {0};

	if (code == ANNAL_OK && !decode_page_into(answer, &page, &client->page_events)) {
		decode_error_set(&client->answer_error, ANNAL_BAD_ANSWER,
				 "the answer to a read is not as specified");
		code = ANNAL_BAD_ANSWER;
	}
	if (code != ANNAL_OK) {
		done(arg, code, NULL, &client->answer_error.public);
		return;
	}
	client_observe(client, page.head);
	done(arg, ANNAL_OK, &page, NULL);
}

enum annal_code annal_read_async(struct annal_client *client, const struct annal_read *read,
				 annal_read_done *done, void *arg)
{
	struct call *call = call_new(client);

	if (call == NULL)
		return ANNAL_MISUSE;
	call->route = CALL_ROUTE_READ;
	call->idempotent = true;
	call->writes = false;
	wire_read(&call->request, read, client_session_position(client));
	call->done = read_done;
	call->read_done = done;
	call->arg = arg;
	call_start(client, call, read->timeout_ms);
	return ANNAL_OK;
}

void read_begin(struct annal_client *client, struct call *call, const char *method, uint32_t pairs)
{
	uint64_t at_least = client_session_position(client);

	pairs += wire_consistency_pairs(ANNAL_CONSISTENCY_SESSION, at_least);
	wire_request_begin(&call->request, method, pairs, false);
	wire_write_consistency(&call->request.bytes, ANNAL_CONSISTENCY_SESSION, at_least);
}

/* ---- one event ---- */

/* A request for read_event that has `pairs` parameters besides the consistency. */
static struct call *begin_read_event(struct annal_client *client, uint32_t pairs)
{
	struct call *call = call_new_read(client);

	if (call != NULL)
		read_begin(client, call, "read_event", pairs);
	return call;
}

static enum annal_code finish_read_event(struct annal_client *client, struct call *call,
					 struct annal_page **page)
{
	return run_read(client, call, 0, "read_event", decode_event_page, page);
}

enum annal_code annal_read_position(struct annal_client *client, uint64_t position,
				    struct annal_page **page)
{
	struct call *call = begin_read_event(client, 1);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_write_number(&call->request.bytes, "position", position);
	return finish_read_event(client, call, page);
}

enum annal_code annal_read_id(struct annal_client *client, const uint8_t id[ANNAL_ID_BYTES],
			      struct annal_page **page)
{
	struct call *call = begin_read_event(client, 1);

	if (call == NULL)
		return ANNAL_MISUSE;
	msgpack_write_string(&call->request.bytes, "id");
	msgpack_write_bin(&call->request.bytes, span_of(id, ANNAL_ID_BYTES));
	return finish_read_event(client, call, page);
}

enum annal_code annal_read_version(struct annal_client *client, const char *stream,
				   uint64_t version, struct annal_page **page)
{
	struct call *call = begin_read_event(client, 2);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_write_text(&call->request.bytes, "stream", stream);
	wire_write_number(&call->request.bytes, "version", version);
	return finish_read_event(client, call, page);
}

/* ---- iterator ---- */

struct annal_iterator *annal_iterate(struct annal_client *client, const struct annal_read *read)
{
	struct annal_iterator *iterator = memory_zeroed(1, sizeof *iterator);

	ASSERT(client != NULL && read != NULL);
	iterator->client = client;
	iterator->read = *read;
	return iterator;
}

void annal_iterator_free(struct annal_iterator *iterator)
{
	if (iterator == NULL)
		return;
	annal_page_free(iterator->page);
	memory_free(iterator);
}

static enum annal_code next_page(struct annal_iterator *iterator)
{
	struct annal_page *page;
	enum annal_code code = annal_read(iterator->client, &iterator->read, &page);

	if (code != ANNAL_OK)
		return code;
	annal_page_free(iterator->page);
	iterator->page = page;
	iterator->at = 0;
	iterator->end = page->end;
	/* A page that leads back to itself would never end. */
	if (!page->end && page->next == iterator->read.from && page->count == 0)
		return call_bad_answer(iterator->client, "read: its next page is itself, and");
	iterator->read.from = page->next;
	return ANNAL_OK;
}

enum annal_code annal_iterator_next(struct annal_iterator *iterator,
				    const struct annal_event **event)
{
	*event = NULL;
	while (iterator->page == NULL || iterator->at == iterator->page->count) {
		if (iterator->end)
			return ANNAL_OK;
		enum annal_code code = next_page(iterator);

		if (code != ANNAL_OK)
			return code;
	}
	*event = &iterator->page->events[iterator->at++];
	return ANNAL_OK;
}
