/*
 * Entries that are loaded from disk come in batches, several in one piece of memory. libraft 0.15 frees a batch when
 * none of its entries is in the log any more and a message that had some of them is done, although
 * another message that is being sent still has others; and again when that one is done (row BATCH). A heap that
 * frees nothing counts what is freed twice.
 */
#include "tests/unit/raft/lone_peers.h"

#define ENTRIES 4 /* in the batch, from index 2 on */

struct block {
	struct block *next;
	size_t size;
	bool is_free;
};

static struct block *blocks;
static unsigned freed_twice;
static struct lone lone;
static struct raft_apply applies[4];

/* ---- the heap ---- */

static void *heap_malloc(void *data, size_t size)
{
	struct block *block = memory_alloc(sizeof *block + size);

	(void)data;
	*block = (struct block){.next = blocks, .size = size};
	blocks = block;
	return block + 1;
}

static void heap_free(void *data, void *memory)
{
	struct block *block = (struct block *)memory - 1;

	(void)data;
	if (memory == NULL)
		return;
	freed_twice += block->is_free;
	block->is_free = true;
}

static void *heap_calloc(void *data, size_t count, size_t size)
{
	return memset(heap_malloc(data, count * size), 0, count * size);
}

static void *heap_realloc(void *data, void *memory, size_t size)
{
	void *copy = heap_malloc(data, size);

	if (memory != NULL) {
		const struct block *block = (struct block *)memory - 1;

		memcpy(copy, memory, block->size < size ? block->size : size);
		heap_free(data, memory);
	}
	return copy;
}

static void heap_close(void)
{
	while (blocks != NULL) {
		struct block *block = blocks;

		blocks = block->next;
		memory_free(block);
	}
}

/* ---- a leader with a log that it has loaded ---- */

static void start(unsigned rows)
{
	struct raft_entry entries[ENTRIES];

	lone_init(&lone, 3);
	lone.options.rows = rows;
	for (unsigned i = 0; i < ENTRIES; i++)
		entries[i] = lone_entry(2 + i, 1, 8);
	lone_join(ENTRIES, entries);
	for (unsigned i = 0; i < ENTRIES; i++)
		lone_hold(&lone, entries[i]);
	lone_start(&lone);
	raft_set_snapshot_threshold(lone_raft(&lone), 1);
	raft_set_snapshot_trailing(lone_raft(&lone), 1);
	lone_win(&lone);
	lone_end_write(&lone, 0); /* the barrier */
}

/* This member lacks what lies behind an index, and gets it: in a message that does not end. */
static void send_to(raft_id id, raft_index last)
{
	unsigned before = lone.message_count;
	bool found = false;

	lone_say(&lone, id,
		 (struct raft_message){
			 .type = RAFT_IO_APPEND_ENTRIES_RESULT,
			 .append_entries_result = {.term = lone_raft(&lone)->current_term,
						   .rejected = 1 + ENTRIES,
						   .last_log_index = last}});
	lone_tick(&lone, LONE_TICK_MS);
	for (unsigned i = before; i < lone.message_count; i++)
		found = found || (lone.messages[i].to == id && lone.messages[i].prev == last &&
				  lone.messages[i].entries == ENTRIES + 2 - last);
	assert_true(found);
}

/* The third has everything: it is committed, and a snapshot takes its place. */
static void compact(void)
{
	lone_stored(&lone, 3, raft_last_index(lone_raft(&lone)));
	for (unsigned i = 0; i < COUNT_OF(applies); i++) {
		lone_propose(&lone, &applies[i], 8);
		lone_end_write(&lone, 0);
		lone_stored(&lone, 3, raft_last_index(lone_raft(&lone)));
		if (lone.work != NULL)
			lone_end_work(&lone);
		if (lone.put != NULL)
			lone_end_put(&lone, 0);
	}
	assert_null(guard_entry(lone_raft(&lone), 1 + ENTRIES));
}

static unsigned count_freed_twice(unsigned rows)
{
	struct raft_heap heap = {.malloc = heap_malloc,
				 .free = heap_free,
				 .calloc = heap_calloc,
				 .realloc = heap_realloc};

	raft_heap_set(&heap);
	freed_twice = 0;
	start(rows);
	send_to(2, 1);
	send_to(3, 3);
	compact();
	while (lone.send_count > 0)
		lone_end_send(&lone, 0);
	unsigned twice = freed_twice;

	lone_close(&lone);
	raft_heap_set_default();
	heap_close();
	return twice;
}

static void loaded_entries_live_as_long_as_messages_with_them(void **state)
{
	(void)state;
	assert_int_equal(count_freed_twice(GUARD_ALL), 0);
}

static void without_the_row_they_are_freed_twice(void **state)
{
	(void)state;
	assert_true(count_freed_twice(GUARD_ALL & ~(unsigned)GUARD_BATCH) > 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(loaded_entries_live_as_long_as_messages_with_them),
		cmocka_unit_test(without_the_row_they_are_freed_twice),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
