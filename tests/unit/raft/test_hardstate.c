/* The hard state on file: what was saved is there again, and damage is told from absence. */
#include "tests/unit/unit.h"

#include "raft/hardstate.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static int set_up(void **state)
{
	(void)state;
	snprintf(path, sizeof path, "/tmp/annal-hardstate-XXXXXX");
	int file = mkstemp(path);

	assert_true(file >= 0);
	close(file);
	return remove(path);
}

static int tear_down(void **state)
{
	(void)state;
	remove(path);
	return 0;
}

static struct hardstate_file *open_file(bool create, struct hardstate *hard)
{
	struct hardstate_file *file;
	struct error error;

	assert_int_equal(hardstate_file_open(&file, path, create, hard, &error), 0);
	return file;
}

static void save(struct hardstate_file *file, uint64_t term, uint64_t vote, uint64_t synced)
{
	const struct hardstate hard = {term, vote, synced, synced + 1};
	struct hardstate_keeper keeper = hardstate_file_keeper(file);
	struct error error;

	assert_int_equal(keeper.save(keeper.impl, &hard, &error), 0);
}

static void note(struct hardstate_file *file, uint64_t synced)
{
	const struct hardstate hard = {.synced_index = synced};
	struct hardstate_keeper keeper = hardstate_file_keeper(file);

	keeper.note(keeper.impl, &hard);
}

static void flip(off_t offset)
{
	int file = open(path, O_RDWR);
	uint8_t byte;

	assert_int_equal(pread(file, &byte, 1, offset), 1);
	byte ^= 1;
	assert_int_equal(pwrite(file, &byte, 1, offset), 1);
	close(file);
}

static void expect(uint64_t term, uint64_t vote, uint64_t synced)
{
	struct hardstate hard;

	hardstate_file_close(open_file(false, &hard));
	assert_int_equal(hard.term, term);
	assert_int_equal(hard.vote, vote);
	assert_int_equal(hard.synced_index, synced);
}

static void every_field_is_there_again(void **state)
{
	struct hardstate hard;
	struct hardstate_file *file = open_file(true, &hard);

	(void)state;
	assert_int_equal(hard.term + hard.vote + hard.synced_index + hard.pulled_index, 0);
	save(file, 3, 2, 10);
	hardstate_file_close(file);
	hardstate_file_close(open_file(false, &hard));
	assert_int_equal(hard.pulled_index, 11);
	expect(3, 2, 10);
}

static void missing_file_is_not_made_unasked(void **state)
{
	struct hardstate_file *file;
	struct hardstate hard;
	struct error error;

	(void)state;
	assert_int_equal(hardstate_file_open(&file, path, false, &hard, &error), -ENOENT);
}

static void saves_and_notes_are_there_again(void **state)
{
	struct hardstate hard;
	struct hardstate_file *file = open_file(true, &hard);

	(void)state;
	assert_int_equal(hard.term, 0);
	save(file, 3, 2, 10);
	note(file, 11);
	note(file, 12);
	hardstate_file_close(file);
	expect(3, 2, 12);
}

static void save_takes_notes_back(void **state)
{
	struct hardstate hard;
	struct hardstate_file *file = open_file(true, &hard);

	(void)state;
	note(file, 50);
	note(file, 51);
	save(file, 4, 0, 20);
	hardstate_file_close(file);
	expect(4, 0, 20);
}

static void damaged_note_costs_only_the_note(void **state)
{
	struct hardstate hard;
	struct hardstate_file *file = open_file(true, &hard);

	(void)state;
	save(file, 4, 1, 20);
	note(file, 21);
	note(file, 22);
	hardstate_file_close(file);
	flip(4096 + 64 + 16);
	expect(4, 1, 21);
}

static void torn_slot_leaves_the_one_before(void **state)
{
	struct hardstate hard;
	struct hardstate_file *file = open_file(true, &hard);

	(void)state;
	save(file, 4, 1, 20); /* the second slot written, sequence 2: at offset 0 */
	save(file, 5, 0, 20);
	hardstate_file_close(file);
	flip(512 + 16);
	expect(4, 1, 20);
}

/* Else it would count again: the next save takes the number of the slot that is damaged. */
static void note_of_a_damaged_slot_is_forgotten(void **state)
{
	struct hardstate hard;
	struct hardstate_file *file = open_file(true, &hard);

	(void)state;
	save(file, 4, 1, 20);
	save(file, 4, 1, 30);
	note(file, 50);
	hardstate_file_close(file);
	flip(512 + 16);
	file = open_file(false, &hard);
	assert_int_equal(hard.synced_index, 20);
	save(file, 5, 0, 25);
	hardstate_file_close(file);
	expect(5, 0, 25);
}

static void two_damaged_slots_are_told(void **state)
{
	struct hardstate_file *file;
	struct hardstate hard;
	struct error error;

	(void)state;
	file = open_file(true, &hard);
	save(file, 4, 1, 20);
	hardstate_file_close(file);
	flip(20);
	flip(512 + 20);
	assert_int_equal(hardstate_file_open(&file, path, true, &hard, &error), -EBADMSG);
	assert_non_null(strstr(error.message, "neither of its two records is whole"));
}

int main(void)
{
#define FILE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		FILE_TEST(missing_file_is_not_made_unasked),
		FILE_TEST(every_field_is_there_again),
		FILE_TEST(saves_and_notes_are_there_again),
		FILE_TEST(save_takes_notes_back),
		FILE_TEST(damaged_note_costs_only_the_note),
		FILE_TEST(torn_slot_leaves_the_one_before),
		FILE_TEST(note_of_a_damaged_slot_is_forgotten),
		FILE_TEST(two_damaged_slots_are_told),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
