/* One write at a time: what the guard hands to a disk that ends its writes when it is told to. */
#include "tests/unit/unit.h"

#include "base/memory.h"
#include "raft/guard_internal.h"

#include <string.h>

#define WRITES_MAX  16
#define APPENDS_MAX 2000

struct write {
	struct raft_io_append *request;
	raft_io_append_cb done;
	unsigned count;
	size_t first; /* bytes of its first entry: which one that is */
};

static struct raft_io disk;
static struct raft raft;
static struct raft_fsm fsm;
static struct guard *guard;
static struct write writes[WRITES_MAX];
static unsigned write_count, ended;
static unsigned truncated_after; /* writes that came before it */
static int refuse;               /* what append answers, 0: it takes the write */
static unsigned failures;

static struct raft_io_append requests[APPENDS_MAX];
static struct raft_entry entries[APPENDS_MAX];
static unsigned done_count;
static const struct raft_io_append *last_done;
static int done_status;

/* ---- the disk ---- */

static int disk_init(struct raft_io *io, raft_id id, const char *address)
{
	(void)io;
	(void)id;
	(void)address;
	return 0;
}

static int disk_append(struct raft_io *io, struct raft_io_append *request,
		       const struct raft_entry of[], unsigned count, raft_io_append_cb done)
{
	(void)io;
	if (refuse != 0)
		return refuse;
	assert_true(write_count < WRITES_MAX);
	writes[write_count++] = (struct write){
		.request = request, .done = done, .count = count, .first = of[0].buf.len};
	for (unsigned i = 1; i < count; i++)
		assert_true(of[i].term == of[i - 1].term + 1);
	return 0;
}

static int disk_truncate(struct raft_io *io, raft_index index)
{
	(void)io;
	(void)index;
	truncated_after = write_count;
	return 0;
}

static void end_one(int status)
{
	struct write *write = &writes[ended++];

	assert_true(ended <= write_count);
	write->done(write->request, status);
}

static void disk_close(struct raft_io *io, raft_io_close_cb closed)
{
	while (ended < write_count)
		end_one(RAFT_CANCELED);
	closed(io);
}

/* ---- libraft ---- */

static void on_done(struct raft_io_append *request, int status)
{
	if (status == 0)
		assert_ptr_equal(request, &requests[done_count]);
	else if (done_count > 0 && done_status == RAFT_CANCELED)
		assert_true(request < last_done);
	last_done = request;
	done_count++;
	done_status = status;
}

static void append_some(unsigned from, unsigned count, size_t bytes)
{
	for (unsigned i = from; i < from + count; i++) {
		entries[i] = (struct raft_entry){.term = i + 1, .buf = {.len = bytes}};
		assert_int_equal(
			guard_append(guard_io(guard), &requests[i], &entries[i], 1, on_done), 0);
	}
}

static void on_fail(void *arg, const struct error *error)
{
	(void)arg;
	assert_non_null(strstr(error->message, "a write to the raft log failed"));
	failures++;
}

static int setup(void **state)
{
	const struct guard_options options = {.rows = GUARD_ALL & ~(unsigned)GUARD_MEMORY,
					      .fail = on_fail};

	(void)state;
	disk = (struct raft_io){.version = 2,
				.init = disk_init,
				.append = disk_append,
				.truncate = disk_truncate,
				.close = disk_close};
	write_count = ended = truncated_after = failures = done_count = 0;
	refuse = 0;
	done_status = -1;
	guard = guard_new(&raft, &disk, &options);
	return raft_init(&raft, guard_io(guard), &fsm, 1, "1");
}

static int free_guard(void **state)
{
	(void)state;
	guard_free(guard);
	return 0;
}

static int teardown(void **state)
{
	raft_close(&raft, NULL); /* with no callback: everything has ended when it returns */
	return free_guard(state);
}

/* ---- the tests ---- */

static void what_comes_meanwhile_is_one_write(void **state)
{
	(void)state;
	append_some(0, APPENDS_MAX, 100);
	assert_int_equal(write_count, 1);
	assert_int_equal(writes[0].count, 1);
	end_one(0);
	assert_int_equal(done_count, 1);
	assert_int_equal(write_count, 2);
	assert_int_equal(writes[1].count, APPENDS_MAX - 1);
	end_one(0);
	assert_int_equal(done_count, APPENDS_MAX);
	assert_int_equal(done_status, 0);
	assert_int_equal(write_count, 2);
}

static void a_write_is_bounded_unless_it_is_one_append(void **state)
{
	(void)state;
	append_some(0, 1, 100);
	append_some(1, 3, 1024 * 1024);
	append_some(4, 1, 9 * 1024 * 1024);
	append_some(5, 1, 200);
	end_one(0);
	assert_int_equal(writes[1].count, 2);
	end_one(0);
	assert_int_equal(writes[2].count, 1);
	end_one(0);
	assert_int_equal(writes[3].count, 1);
	assert_int_equal(writes[3].first, 9 * 1024 * 1024);
	end_one(0);
	assert_int_equal(writes[4].first, 200);
	end_one(0);
	assert_int_equal(done_count, 6);
}

static void a_truncation_overtakes_nothing(void **state)
{
	(void)state;
	append_some(0, 3, 100);
	assert_int_equal(write_count, 1);
	assert_int_equal(guard_truncate(guard_io(guard), 1), 0);
	assert_int_equal(truncated_after, 2);
	assert_int_equal(writes[1].count, 2);
	append_some(3, 2, 100);
	end_one(0);
	assert_int_equal(write_count, 2); /* still one under way */
	end_one(0);
	assert_int_equal(write_count, 3);
	assert_int_equal(writes[2].count, 2);
}

/* As raft_uv does at its end: what is queued is cancelled before what is being written has ended. libraft
 * hears of it from the last to the first, or it would cut its log where it has none. */
static void writes_may_end_in_another_order(void **state)
{
	(void)state;
	append_some(0, 5, 100);
	guard_write_all(guard);
	struct write first = writes[0];

	writes[0] = writes[1];
	writes[1] = first;
	raft_close(&raft, NULL);
	assert_int_equal(ended, 2);
	assert_int_equal(done_count, 5);
	assert_null(guard->in_flight.first);
	assert_int_equal(guard->follower_appends, 0);
}

static void a_failed_write_ends_the_node(void **state)
{
	(void)state;
	append_some(0, 5, 100);
	end_one(RAFT_IOERR);
	assert_int_equal(failures, 1);
	assert_int_equal(done_count, 0);
	assert_int_equal(write_count, 1);
}

static void a_refused_write_ends_the_node(void **state)
{
	(void)state;
	append_some(0, 5, 100);
	refuse = RAFT_NOMEM;
	end_one(0);
	assert_int_equal(failures, 1);
	assert_int_equal(done_count, 0);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(what_comes_meanwhile_is_one_write),
		TEST(a_write_is_bounded_unless_it_is_one_append),
		TEST(a_truncation_overtakes_nothing),
		cmocka_unit_test_setup_teardown(writes_may_end_in_another_order, setup, free_guard),
		TEST(a_failed_write_ends_the_node),
		TEST(a_refused_write_ends_the_node),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
