/* What waits to be sent comes out in order, as a whole, in few parts, whatever it was given in. */
#include "tests/unit/unit.h"

#include "base/limits.h"
#include "node/output.h"
#include "node/pages.h"

#include <stdlib.h>

struct fixture {
	struct output output;
	struct pages *pages;
	struct buffer expected;
	uint8_t next;
};

static int set_up(void **state)
{
	struct fixture *fixture = calloc(1, sizeof *fixture);

	assert_non_null(fixture);
	output_init(&fixture->output);
	fixture->pages = pages_new();
	*state = fixture;
	return 0;
}

static int tear_down(void **state)
{
	struct fixture *fixture = *state;

	output_close(&fixture->output);
	pages_free(fixture->pages);
	buffer_close(&fixture->expected);
	free(fixture);
	return 0;
}

static void fill(struct fixture *fixture, struct buffer *buffer, size_t size)
{
	uint8_t *at = buffer_reserve(buffer, size);

	for (size_t i = 0; i < size; i++)
		at[i] = fixture->next++;
	fixture->next++; /* so that two pieces of 256 bytes differ */
	buffer->size += size;
	buffer_append(&fixture->expected, at, size);
}

static void add(struct fixture *fixture, size_t size)
{
	struct buffer buffer = {0};

	fill(fixture, &buffer, size);
	output_add(&fixture->output, &buffer);
	assert_int_equal(buffer.size, 0);
	buffer_close(&buffer);
}

/* What is left behind the first `skipped` bytes is what was given. */
static void check_from(const struct fixture *fixture, size_t skipped)
{
	struct span spans[OUTPUT_PARTS];
	uint32_t count = output_spans(&fixture->output, skipped, spans);
	size_t at = skipped;

	assert_int_equal(fixture->output.bytes, fixture->expected.size);
	for (uint32_t i = 0; i < count; i++) {
		assert_true(spans[i].size > 0);
		assert_true(at + spans[i].size <= fixture->expected.size);
		assert_memory_equal(spans[i].data, fixture->expected.data + at, spans[i].size);
		at += spans[i].size;
	}
	assert_int_equal(at, fixture->expected.size);
}

static void small_ones_share_a_part(void **state)
{
	struct fixture *fixture = *state;
	struct buffer roomy = {0};

	buffer_reserve(&roomy, 4 * KIB);
	fill(fixture, &roomy, 10);
	output_add(&fixture->output, &roomy);
	for (int i = 0; i < 50; i++)
		add(fixture, 20);
	assert_int_equal(fixture->output.count, 1);
	check_from(fixture, 0);
	buffer_close(&roomy);
}

static void a_large_one_is_not_copied(void **state)
{
	struct fixture *fixture = *state;
	struct buffer large = {0};

	add(fixture, 100);
	fill(fixture, &large, 100 * KIB);
	const uint8_t *data = large.data;

	output_add(&fixture->output, &large);
	assert_int_equal(fixture->output.count, 2);
	assert_ptr_equal(fixture->output.parts[1].data, data);
	check_from(fixture, 0);
	buffer_close(&large);
}

static void what_was_sent_is_skipped(void **state)
{
	struct fixture *fixture = *state;
	const size_t sizes[] = {1, 5000, 70000, 8000};

	for (size_t i = 0; i < 4; i++)
		add(fixture, sizes[i]);
	for (size_t skipped = 0; skipped <= fixture->expected.size;
	     skipped += skipped < 6000 ? 1 : 997)
		check_from(fixture, skipped);
	check_from(fixture, fixture->expected.size);
}

static void more_than_there_are_parts(void **state)
{
	struct fixture *fixture = *state;

	for (uint32_t i = 0; i < 3 * OUTPUT_PARTS; i++)
		add(fixture, 5000 + i);
	assert_int_equal(fixture->output.count, OUTPUT_PARTS);
	check_from(fixture, 0);
	check_from(fixture, 5000 * 40);
}

/* A large part's goes to the pages, a small part's to who gives the next. */
static void memory_is_used_again(void **state)
{
	struct fixture *fixture = *state;
	struct buffer buffer = {0}, page;

	fill(fixture, &buffer, 1000);
	const uint8_t *small = buffer.data;

	output_add(&fixture->output, &buffer);
	add(fixture, MIB);
	const uint8_t *large = fixture->output.parts[1].data;

	output_clear(&fixture->output, fixture->pages);
	assert_int_equal(fixture->output.bytes, 0);
	pages_take(fixture->pages, false, &page);
	assert_null(page.data);
	pages_take(fixture->pages, true, &page);
	assert_ptr_equal(page.data, large);
	buffer_close(&page);
	buffer_clear(&fixture->expected);
	fill(fixture, &buffer, 10);
	output_add(&fixture->output, &buffer);
	assert_ptr_equal(buffer.data, small);
	check_from(fixture, 0);
	buffer_close(&buffer);
}

static void nothing_is_nothing(void **state)
{
	struct fixture *fixture = *state;
	struct buffer empty = {0};

	output_add(&fixture->output, &empty);
	assert_int_equal(fixture->output.count, 0);
	check_from(fixture, 0);
	output_clear(&fixture->output, fixture->pages);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(nothing_is_nothing, set_up, tear_down),
		cmocka_unit_test_setup_teardown(small_ones_share_a_part, set_up, tear_down),
		cmocka_unit_test_setup_teardown(a_large_one_is_not_copied, set_up, tear_down),
		cmocka_unit_test_setup_teardown(what_was_sent_is_skipped, set_up, tear_down),
		cmocka_unit_test_setup_teardown(more_than_there_are_parts, set_up, tear_down),
		cmocka_unit_test_setup_teardown(memory_is_used_again, set_up, tear_down),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
