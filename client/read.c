#include "client/page.h"

#include "base/assert.h"
#include "base/memory.h"

struct page *page_new(void)
{
	struct page *page = memory_zeroed(1, sizeof *page);

	decode_events_init(&page->events);
	buffer_init(&page->raw);
	return page;
}

void page_free(struct page *page)
{
	if (page == NULL)
		return;
	decode_events_close(&page->events);
	buffer_close(&page->raw);
	memory_free(page);
}

void annal_page_free(struct annal_page *page)
{
	page_free((struct page *)page);
}

/* What the map says of events goes into `list`, which must live as long as the page. */
static bool decode_page_into(struct span answer, struct annal_page *page,
			     struct decode_events *list)
{
	const struct decode_field fields[] = {
		{"events", DECODE_EVENTS, list},
		{"next", DECODE_U64, &page->next},
		{"end", DECODE_BOOL, &page->end},
		{"head", DECODE_U64, &page->head},
		{"version", DECODE_U64, &page->version},
		{"first_version", DECODE_U64, &page->first_version},
		{"state", DECODE_TEXT, &page->state},
	};

	list->found = false;
	if (!DECODE_FIELDS(answer, fields) || !list->found)
		return false;
	page->events = list->events;
	page->count = list->count;
	return true;
}

bool page_decode(struct page *page, struct span answer)
{
	page->public = (struct annal_page){0};
	return decode_page_into(answer, &page->public, &page->events);
}

static bool decode_event_page(struct page *page, struct span answer)
{
	struct span event = {0};

	page->public = (struct annal_page){0};
	const struct decode_field fields[] = {{"event", DECODE_RAW, &event},
					      {"head", DECODE_U64, &page->public.head}};

	if (!DECODE_FIELDS(answer, fields) || !decode_event(event, &page->events))
		return false;
	page->public.events = page->events.events;
	page->public.count = 1;
	page->public.end = true;
	return true;
}

typedef bool decode_page(struct page *page, struct span answer);

static enum annal_code run_read_into(struct annal_client *client, struct call *call,
				     uint32_t timeout_ms, const char *method, decode_page *decode,
				     struct page *page)
{
	struct span answer;
	enum annal_code code = call_run_into(client, call, timeout_ms, &page->raw, &answer);

	if (code != ANNAL_OK)
		return code;
	if (!decode(page, answer))
		return call_bad_answer(client, method);
	client_observe(client, page->public.head);
	return ANNAL_OK;
}

/* A page that the caller of the library frees. */
static enum annal_code give_page(struct page *page, enum annal_code code, struct annal_page **into)
{
	if (code == ANNAL_OK)
		*into = &page->public;
	else
		page_free(page);
	return code;
}

enum annal_code page_read(struct annal_client *client, const struct annal_read *read,
			  struct page *page)
{
	struct call *call = call_new_read(client);

	if (call == NULL)
		return ANNAL_MISUSE;
	wire_read(&call->request, read, client_session_position(client));
	return run_read_into(client, call, read->timeout_ms,
			     read->stream != NULL ? "read_stream" : "read_all", page_decode, page);
}

enum annal_code annal_read(struct annal_client *client, const struct annal_read *read,
			   struct annal_page **page)
{
	struct page *made = page_new();

	return give_page(made, page_read(client, read, made), page);
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
	struct page *made = page_new();

	return give_page(
		made, run_read_into(client, call, 0, "read_event", decode_event_page, made), page);
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
