/*
 * The files beside the log: whatever call fails, the error names the file, and the next start finds what was
 * there before or what was to be written.
 */
#include "tests/unit/failing_calls.h"
#include "tests/unit/unit.h"

#include "raft/hardstate.h"
#include "raft/peers.h"
#include "raft/preflight.h"

#include <stdlib.h>

#define SEGMENT_BYTES 65536

static char directory[64], path[96], aside[128];

static int set_up(void **state)
{
	(void)state;
	snprintf(directory, sizeof directory, "/tmp/annal-files-XXXXXX");
	assert_non_null(mkdtemp(directory));
	snprintf(path, sizeof path, "%s/open-1", directory);
	snprintf(aside, sizeof aside, "%s.new", path);
	return 0;
}

static void remove_files(void)
{
	unlink(path);
	unlink(aside);
}

static int tear_down(void **state)
{
	(void)state;
	remove_files();
	return rmdir(directory);
}

/* Run with the first call failing, then the second, … until none does; how many there were. */
static uint64_t fail_each(int (*run)(struct error *error), void (*check)(bool failed))
{
	for (uint64_t in = 1;; in++) {
		struct error error = {.message = ""};

		assert_true(in < 100);
		failing_calls_set(NULL, EIO, in);
		int status = run(&error);

		failing_calls_stop();
		if (failing_calls.struck == NULL) {
			assert_int_equal(status, 0);
			check(false);
			return in - 1;
		}
		if (status != -EIO)
			fail_msg("%s failed: %d", failing_calls.struck, status);
		assert_non_null(strstr(error.message, directory));
		check(true);
	}
}

/* ---- the hard state ---- */

static struct hardstate hard;

static int make_hardstate(struct error *error)
{
	struct hardstate_file *file;
	int status = hardstate_file_open(&file, path, true, &hard, error);

	if (status == 0)
		hardstate_file_close(file);
	return status;
}

static void check_made(bool failed)
{
	struct error error;

	(void)failed;
	hard.term = 1;
	assert_int_equal(make_hardstate(&error), 0);
	assert_int_equal(hard.term, 0);
	remove_files();
}

static void a_hard_state_that_cannot_be_made_is_made_the_next_time(void **state)
{
	(void)state;
	assert_true(fail_each(make_hardstate, check_made) >= 8);
}

static uint64_t next_term;

static int save_hardstate(struct error *error)
{
	struct hardstate_file *file;
	int status = hardstate_file_open(&file, path, false, &hard, error);

	if (status < 0)
		return status;
	struct hardstate_keeper keeper = hardstate_file_keeper(file);
	const struct hardstate changed = {.term = next_term, .vote = 2};

	status = keeper.save(keeper.impl, &changed, error);
	hardstate_file_close(file);
	return status;
}

/* A sync that fails says nothing of what is on the disk. */
static void check_saved(bool failed)
{
	struct hardstate_file *file;
	struct error error;

	assert_int_equal(hardstate_file_open(&file, path, false, &hard, &error), 0);
	hardstate_file_close(file);
	assert_true(hard.term == next_term || (failed && hard.term == next_term - 1));
	assert_true(hard.vote == (hard.term > 0 ? 2 : 0));
	next_term = hard.term + 1;
}

static void a_hard_state_that_cannot_be_saved_is_the_one_before(void **state)
{
	struct error error;

	(void)state;
	assert_int_equal(make_hardstate(&error), 0);
	next_term = 1;
	assert_true(fail_each(save_hardstate, check_saved) >= 5);
	remove_files();
}

/* ---- what is known of peers ---- */

static struct peers known;

static int save_peers(struct error *error)
{
	return peers_save(path, &known, error);
}

static int read_peers(struct error *error)
{
	static struct peers found;

	return peers_read(path, &found, error);
}

static void check_peers(bool failed)
{
	static struct peers found;
	struct error error;
	int status = peers_read(path, &found, &error);

	if (status == 0) {
		assert_int_equal(found.instance, known.instance);
		assert_int_equal(found.record_count, known.record_count);
	} else {
		assert_true(failed && status == -ENOENT);
	}
}

static void what_is_known_of_peers_is_replaced_whole(void **state)
{
	(void)state;
	known = (struct peers){.node_id = 3, .instance = 77};
	peers_record(&known, 4, 5, 6);
	assert_int_equal(fail_each(save_peers, check_peers), 6);
	assert_int_equal(fail_each(read_peers, check_peers), 2);
	remove_files();
}

/* ---- the look at the log before libraft has it ---- */

static void make_short_segment(bool failed)
{
	(void)failed;
	int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0600);

	assert_true(file >= 0);
	assert_int_equal(write(file, "abc", 3), 3);
	close(file);
}

static int look_at_log(struct error *error)
{
	return raft_preflight(directory, SEGMENT_BYTES, error);
}

static void a_log_that_cannot_be_looked_at_is_not_opened(void **state)
{
	struct error error;
	struct stat found;

	(void)state;
	make_short_segment(true);
	assert_true(fail_each(look_at_log, make_short_segment) >= 7);
	assert_int_equal(raft_preflight(directory, SEGMENT_BYTES, &error), 0);
	assert_int_equal(stat(path, &found), 0);
	assert_int_equal(found.st_size, SEGMENT_BYTES);
	remove_files();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_hard_state_that_cannot_be_made_is_made_the_next_time),
		cmocka_unit_test(a_hard_state_that_cannot_be_saved_is_the_one_before),
		cmocka_unit_test(what_is_known_of_peers_is_replaced_whole),
		cmocka_unit_test(a_log_that_cannot_be_looked_at_is_not_opened),
	};

	return cmocka_run_group_tests(tests, set_up, tear_down);
}
