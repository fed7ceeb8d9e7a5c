/* Iterators: event by event, the next page on its way meanwhile. */
#include "tests/unit/client/peer.h"

#define PAGE_EVENTS 50u

/* A store that a node knows: `head` events, all of one stream; appends add one. */
struct shelf {
	_Atomic uint64_t head;
	_Atomic uint32_t reads, failing; /* failing: reads from now on that are refused */
	size_t data_bytes;
};

static void write_event(struct buffer *out, uint64_t number, size_t data_bytes)
{
	static const char data[4096];

	msgpack_write_array(out, 9);
	for (int i = 0; i < 3; i++)
		msgpack_write_u64(out, number);
	msgpack_write_bin(out, span_of("0123456789abcdef", 16));
	msgpack_write_string(out, "S");
	msgpack_write_string(out, "T");
	msgpack_write_bin(out, span_of(data, data_bytes));
	msgpack_write_bin(out, span_of_string(""));
	msgpack_write_array(out, number % 3 == 0 ? 1 : 0);
	if (number % 3 == 0)
		msgpack_write_string(out, "tag");
}

static void serve_page(struct peer_request *request, const struct shelf *shelf)
{
	uint64_t from = peer_number(request, "from"), head = shelf->head;

	from = from == UINT64_MAX ? 1 : from;
	uint64_t left = from <= head ? head - from + 1 : 0;
	uint32_t count = (uint32_t)(left < PAGE_EVENTS ? left : PAGE_EVENTS);

	peer_result(request);
	msgpack_write_map(request->out, 4);
	msgpack_write_string(request->out, "events");
	msgpack_write_array(request->out, count);
	for (uint32_t i = 0; i < count; i++)
		write_event(request->out, from + i, shelf->data_bytes);
	wire_write_number(request->out, "next", from + count);
	msgpack_write_string(request->out, "end");
	msgpack_write_bool(request->out, from + count > head);
	wire_write_number(request->out, "head", head);
}

static void serve(struct peer_request *request)
{
	struct shelf *shelf = request->arg;

	if (peer_is(request, "append")) {
		peer_appended(request, ++shelf->head);
		return;
	}
	shelf->reads++;
	if (shelf->failing > 0) {
		shelf->failing--;
		peer_error(request, "INTERNAL", "argument", "x", 0);
	} else {
		serve_page(request, shelf);
	}
}

static void append_one(struct annal_client *client)
{
	const struct annal_expect any = {0};
	const struct annal_new_event event = {.type = "T"};

	assert_int_equal(annal_append_stream(client, "S", any, &event, 1, NULL), ANNAL_OK);
}

/* The next event, which is number `number`. */
static void expect_event(struct annal_iterator *iterator, uint64_t number)
{
	const struct annal_event *event;

	assert_int_equal(annal_iterator_next(iterator, &event), ANNAL_OK);
	assert_non_null(event);
	assert_int_equal(event->position, number);
	assert_int_equal(event->version, number);
	assert_int_equal(event->created_ns, number);
	assert_memory_equal(event->id, "0123456789abcdef", 16);
	assert_int_equal(event->tags_count, number % 3 == 0);
	if (event->tags_count > 0)
		assert_memory_equal(event->tags[0].data, "tag", 3);
}

static void expect_end(struct annal_iterator *iterator)
{
	const struct annal_event *event;

	assert_int_equal(annal_iterator_next(iterator, &event), ANNAL_OK);
	assert_null(event);
}

static void every_event_comes_once_whatever_its_size(void **state)
{
	static const size_t sizes[] = {0, 100, 1000, 4096};

	(void)state;
	for (size_t i = 0; i < COUNT_OF(sizes); i++) {
		struct shelf shelf = {.head = 7 * PAGE_EVENTS + 3, .data_bytes = sizes[i]};
		struct peers peers;

		peers_begin(&peers, serve, &shelf, "");
		struct annal_client *client = peers_client(&peers);
		struct annal_iterator *iterator = annal_iterate(client, &(struct annal_read){0});

		for (uint64_t number = 1; number <= shelf.head; number++)
			expect_event(iterator, number);
		expect_end(iterator);
		assert_int_equal(shelf.reads, 8);
		annal_iterator_free(iterator);
		annal_client_free(client);
		peers_end(&peers);
	}
}

/* A small event is copied, a large page is not: both are followed by something else at once. */
static void other_calls_go_on_while_a_page_is_on_its_way(void **state)
{
	struct shelf shelf = {.head = 6 * PAGE_EVENTS, .data_bytes = 3000};
	struct peers peers;

	(void)state;
	peers_begin(&peers, serve, &shelf, "");
	struct annal_client *client = peers_client(&peers);
	struct annal_iterator *iterator = annal_iterate(client, &(struct annal_read){0});

	for (uint64_t number = 1; number <= 6 * PAGE_EVENTS; number++) {
		struct annal_page *page;

		expect_event(iterator, number);
		if (number % 10 != 0)
			continue;
		assert_int_equal(annal_read(client, &(struct annal_read){.from = number}, &page),
				 ANNAL_OK);
		assert_int_equal(page->events[0].position, number);
		annal_page_free(page);
	}
	expect_end(iterator);
	annal_iterator_free(iterator);
	annal_client_free(client);
	peers_end(&peers);
}

static void the_end_is_not_before_what_this_client_has_written(void **state)
{
	struct shelf shelf = {.head = PAGE_EVENTS + 5};
	struct peers peers;

	(void)state;
	peers_begin(&peers, serve, &shelf, "");
	atomic_store(&peers.leader, 0);
	struct annal_client *client = peers_client(&peers);
	struct annal_iterator *iterator = annal_iterate(client, &(struct annal_read){0});

	expect_event(iterator, 1);
	while (annal_in_flight(client) > 0) /* the last page is here, and has 5 events */
		annal_poll(client, 10);
	append_one(client);
	for (uint64_t number = 2; number <= PAGE_EVENTS + 6; number++)
		expect_event(iterator, number);
	expect_end(iterator);
	annal_iterator_free(iterator);
	annal_client_free(client);
	peers_end(&peers);
}

static void linearizable_pages_are_read_when_they_are_wanted(void **state)
{
	struct shelf shelf = {.head = 3 * PAGE_EVENTS};
	const struct annal_read read = {.consistency = ANNAL_CONSISTENCY_LINEARIZABLE};
	struct peers peers;

	(void)state;
	peers_begin(&peers, serve, &shelf, "");
	struct annal_client *client = peers_client(&peers);
	struct annal_iterator *iterator = annal_iterate(client, &read);

	expect_event(iterator, 1);
	assert_int_equal(annal_in_flight(client), 0);
	for (uint64_t number = 2; number <= 3 * PAGE_EVENTS; number++)
		expect_event(iterator, number);
	expect_end(iterator);
	assert_int_equal(shelf.reads, 3);
	annal_iterator_free(iterator);
	annal_client_free(client);
	peers_end(&peers);
}

static void a_page_that_failed_ahead_is_read_again_and_only_then_an_error(void **state)
{
	struct shelf shelf = {.head = 3 * PAGE_EVENTS};
	struct peers peers;
	const struct annal_event *event;

	(void)state;
	peers_begin(&peers, serve, &shelf, "");
	struct annal_client *client = peers_client(&peers);
	struct annal_iterator *iterator = annal_iterate(client, &(struct annal_read){0});

	expect_event(iterator, 1);
	while (annal_in_flight(client) > 0)
		annal_poll(client, 10);
	shelf.failing = 1; /* of the third page, ahead */
	for (uint64_t number = 2; number <= 2 * PAGE_EVENTS; number++)
		expect_event(iterator, number);
	expect_event(iterator, 2 * PAGE_EVENTS + 1);
	shelf.failing = 2;
	annal_iterator_free(iterator);
	iterator = annal_iterate(client, &(struct annal_read){0});
	assert_int_equal(annal_iterator_next(iterator, &event), ANNAL_INTERNAL);
	assert_null(event);
	assert_int_equal(annal_iterator_next(iterator, &event), ANNAL_INTERNAL);
	expect_event(iterator, 1);
	annal_iterator_free(iterator);
	annal_client_free(client);
	peers_end(&peers);
}

static void an_iterator_may_end_while_a_page_is_on_its_way(void **state)
{
	struct shelf shelf = {.head = 10 * PAGE_EVENTS, .data_bytes = 4000};
	struct peers peers;

	(void)state;
	peers_begin(&peers, serve, &shelf, "");
	struct annal_client *client = peers_client(&peers);

	for (int i = 0; i < 3; i++) {
		struct annal_iterator *iterator = annal_iterate(client, &(struct annal_read){0});

		expect_event(iterator, 1);
		annal_iterator_free(iterator);
		if (i == 1)
			while (annal_in_flight(client) > 0)
				annal_poll(client, 10);
	}
	annal_client_free(client);
	peers_end(&peers);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_event_comes_once_whatever_its_size),
		cmocka_unit_test(other_calls_go_on_while_a_page_is_on_its_way),
		cmocka_unit_test(the_end_is_not_before_what_this_client_has_written),
		cmocka_unit_test(linearizable_pages_are_read_when_they_are_wanted),
		cmocka_unit_test(a_page_that_failed_ahead_is_read_again_and_only_then_an_error),
		cmocka_unit_test(an_iterator_may_end_while_a_page_is_on_its_way),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
