/*
 * Damage at rest, on real files of raft_uv: a node writes a log and is killed; then a file is damaged,
 * and the next start must refuse it with a clear message. With the guard's row left out, libraft takes
 * the loss in silence: that is what the row is there for.
 *
 * Each life of the node is a process of its own: libraft 0.15 may abort, and a kill is a kill.
 */
#include "tests/unit/unit.h"

#include "base/assert.h"
#include "raft/fsm.h"
#include "raft/hardstate.h"
#include "raft/io.h"
#include "raft/preflight.h"

#include <errno.h>
#include <fcntl.h>
#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include <uv.h>

#define SEGMENT_BYTES (64 * 1024)
#define BODY_BYTES    1000
#define ENTRIES       200
#define PATH_BYTES    256
#define REFUSED       1

struct result {
	int status; /* 0: started */
	uint64_t last_index, term;
	char message[ERROR_MESSAGE_BYTES];
};

struct life {
	unsigned rows;
	unsigned entries;        /* to write */
	size_t last_body_bytes;  /* of the last of them; 0: as the others */
	uint64_t wrong_index_at; /* seal this one, from 1, for another index; 0: none */
	uint64_t store_applied_index;
};

static char base_directory[PATH_BYTES];
static char raft_directory[PATH_BYTES + 8];
static struct result *shared;

/* ---- a node without a network ---- */

struct node {
	uv_loop_t loop;
	struct raft_uv_transport transport;
	struct raft_io io;
	struct raft raft;
	struct hardstate_file *hardstate;
	struct guard *guard;
	struct fsm *fsm;
	struct raft_apply request;
	const struct life *life;
	unsigned written;
};

static int nowhere_init(struct raft_uv_transport *transport, raft_id id, const char *address)
{
	(void)transport;
	(void)id;
	(void)address;
	return 0;
}

static int nowhere_listen(struct raft_uv_transport *transport, raft_uv_accept_cb accept)
{
	(void)transport;
	(void)accept;
	return 0;
}

static int nowhere_connect(struct raft_uv_transport *transport, struct raft_uv_connect *request,
			   raft_id id, const char *address, raft_uv_connect_cb connected)
{
	(void)transport;
	(void)request;
	(void)id;
	(void)address;
	(void)connected;
	return RAFT_NOCONNECTION;
}

static void nowhere_close(struct raft_uv_transport *transport, raft_uv_transport_close_cb closed)
{
	closed(transport);
}

static void on_apply(void *arg, uint64_t index, uint64_t term, struct span body)
{
	(void)arg;
	(void)index;
	(void)term;
	(void)body;
}

static bool on_snapshot_begin(void *arg, uint64_t index)
{
	(void)arg;
	(void)index;
	return false;
}

static void on_fail(void *arg, const struct error *error)
{
	(void)arg;
	shared->status = REFUSED;
	memcpy(shared->message, error->message, sizeof shared->message);
	_exit(0);
}

static void open_guard(struct node *node)
{
	const struct fsm_downstream downstream = {
		.apply = on_apply, .snapshot_begin = on_snapshot_begin, .fail = on_fail};
	struct guard_options options = {
		.rows = node->life->rows,
		.peer_in_flight_bytes = 1 << 20,
		.peer_in_flight_messages = 64,
		.store_applied_index = node->life->store_applied_index,
		.fail = on_fail,
	};
	char path[PATH_BYTES + 16];
	struct error error;

	snprintf(path, sizeof path, "%s/hardstate", base_directory);
	if (hardstate_file_open(&node->hardstate, path, true, &options.loaded, &error) < 0)
		on_fail(NULL, &error);
	options.keeper = hardstate_file_keeper(node->hardstate);
	node->fsm = fsm_new(&node->raft, &downstream);
	node->guard = guard_new(&node->raft, &node->io, &options);
	fsm_set_guard(node->fsm, node->guard);
}

static void open_node(struct node *node)
{
	struct error error;
	struct raft_configuration configuration;

	if (raft_preflight(raft_directory, SEGMENT_BYTES, &error) < 0)
		on_fail(NULL, &error);
	ASSERT(uv_loop_init(&node->loop) == 0);
	node->transport = (struct raft_uv_transport){
		.init = nowhere_init,
		.listen = nowhere_listen,
		.connect = nowhere_connect,
		.close = nowhere_close,
	};
	ASSERT(raft_uv_init(&node->io, &node->loop, raft_directory, &node->transport) == 0);
	node->io.version = 2;
	raft_uv_set_auto_recovery(&node->io, false);
	raft_uv_set_segment_size(&node->io, SEGMENT_BYTES);
	open_guard(node);
	int status = raft_init(&node->raft, guard_io(node->guard), fsm_raft(node->fsm), 1, "1");

	raft_configuration_init(&configuration);
	if (status == 0)
		status = raft_configuration_add(&configuration, 1, "1", RAFT_VOTER);
	if (status == 0 && raft_bootstrap(&node->raft, &configuration) != RAFT_CANTBOOTSTRAP)
		status = 0;
	if (status == 0)
		status = raft_start(&node->raft);
	if (status == 0)
		return;
	snprintf(error.message, sizeof error.message, "%s",
		 guard_damage(node->guard)->message[0] != '\0' ? guard_damage(node->guard)->message
							       : raft_errmsg(&node->raft));
	on_fail(NULL, &error);
}

static void write_next(struct node *node);

static void on_written(struct raft_apply *request, int status, void *result)
{
	struct node *node = request->data;

	(void)result;
	ASSERT(status == 0);
	if (++node->written < node->life->entries)
		write_next(node);
}

static void write_next(struct node *node)
{
	const struct life *life = node->life;
	bool is_last = node->written + 1 == life->entries;
	size_t bytes = is_last && life->last_body_bytes > 0 ? life->last_body_bytes : BODY_BYTES;
	struct raft_buffer buffer = {.len = payload_bytes(bytes)};
	uint64_t index = raft_last_index(&node->raft) + 1;

	buffer.base = raft_malloc(buffer.len);
	memset((uint8_t *)buffer.base + PAYLOAD_HEADER_BYTES, 'x', bytes);
	if (node->written + 1 == life->wrong_index_at)
		index++;
	payload_seal(buffer.base, bytes, index, node->raft.current_term);
	node->request.data = node;
	ASSERT(raft_apply(&node->raft, &node->request, &buffer, 1, on_written) == 0);
}

/* Start, write, tell, and end as by kill -9. */
static void live(const struct life *life)
{
	struct node *node = calloc(1, sizeof *node);

	node->life = life;
	open_node(node);
	shared->status = 0;
	shared->last_index = raft_last_index(&node->raft);
	shared->term = node->raft.current_term;
	if (life->entries > 0)
		write_next(node);
	while (node->written < life->entries)
		uv_run(&node->loop, UV_RUN_ONCE);
	_exit(0);
}

static struct result run(struct life life)
{
	int status;

	fflush(NULL);
	*shared = (struct result){.status = -1};
	pid_t process = fork();

	assert_true(process >= 0);
	if (process == 0)
		live(&life);
	assert_int_equal(waitpid(process, &status, 0), process);
	assert_true(WIFEXITED(status));
	assert_int_equal(WEXITSTATUS(status), 0);
	return *shared;
}

/* ---- files ---- */

static void find_file(const char *pattern, bool last, char path[PATH_BYTES * 2])
{
	char whole[PATH_BYTES * 2];
	glob_t found;

	snprintf(whole, sizeof whole, "%s/%s", raft_directory, pattern);
	assert_int_equal(glob(whole, 0, NULL, &found), 0);
	snprintf(path, PATH_BYTES * 2, "%s", found.gl_pathv[last ? found.gl_pathc - 1 : 0]);
	globfree(&found);
}

static void flip(const char *path, off_t offset)
{
	uint8_t byte;
	int file = open(path, O_RDWR);

	assert_true(file >= 0);
	assert_int_equal(pread(file, &byte, 1, offset), 1);
	byte ^= 0x40;
	assert_int_equal(pwrite(file, &byte, 1, offset), 1);
	close(file);
}

/* The open segment that is in use: the others have nothing but zeros. */
static void find_used_open_segment(char path[PATH_BYTES * 2])
{
	uint8_t first;

	for (int i = 1; i < 64; i++) {
		snprintf(path, PATH_BYTES * 2, "%s/open-%d", raft_directory, i);
		int file = open(path, O_RDONLY);

		if (file < 0)
			continue;
		ssize_t size = pread(file, &first, 1, 0);

		close(file);
		if (size == 1 && first != 0)
			return;
	}
	fail_msg("no open segment is in use");
}

static int set_up(void **state)
{
	(void)state;
	snprintf(base_directory, sizeof base_directory, "/tmp/annal-damage-XXXXXX");
	assert_non_null(mkdtemp(base_directory));
	snprintf(raft_directory, sizeof raft_directory, "%s/raft", base_directory);
	assert_int_equal(mkdir(raft_directory, 0700), 0);
	shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
		      0);
	assert_true(shared != MAP_FAILED);
	struct result result = run((struct life){.rows = GUARD_ALL, .entries = ENTRIES});

	assert_int_equal(result.status, 0);
	return 0;
}

static int tear_down(void **state)
{
	char pattern[PATH_BYTES + 16];
	glob_t found;

	(void)state;
	for (int depth = 0; depth < 2; depth++) {
		snprintf(pattern, sizeof pattern, "%s/%s", base_directory,
			 depth == 0 ? "*/*" : "*");
		if (glob(pattern, 0, NULL, &found) != 0)
			continue;
		for (size_t i = 0; i < found.gl_pathc; i++)
			remove(found.gl_pathv[i]);
		globfree(&found);
	}
	munmap(shared, sizeof *shared);
	return rmdir(base_directory);
}

static void expect_refusal(const struct result *result, const char *words)
{
	if (result->status != REFUSED || strstr(result->message, words) == NULL)
		fail_msg("expected a refusal with \"%s\", got status %d \"%s\"", words,
			 result->status, result->message);
}

/* ---- what must hold ---- */

static void whole_log_starts(void **state)
{
	struct result result = run((struct life){.rows = GUARD_ALL});

	(void)state;
	assert_int_equal(result.status, 0);
	assert_true(result.last_index >= ENTRIES + 1);
}

static void lost_tail_of_open_segment_is_refused(void **state)
{
	char path[PATH_BYTES * 2];
	struct result result;

	(void)state;
	find_used_open_segment(path);
	flip(path, 600);
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "its tail is damaged or gone. Empty this node's directory");
}

static void lost_tail_is_silent_without_memory(void **state)
{
	char path[PATH_BYTES * 2];
	struct result result;

	(void)state;
	find_used_open_segment(path);
	flip(path, 600);
	result = run((struct life){.rows = GUARD_ALL & ~(unsigned)GUARD_MEMORY});
	assert_int_equal(result.status, 0);
	assert_true(result.last_index < ENTRIES + 1);
}

static void short_open_segment_is_refused_not_fatal(void **state)
{
	char path[PATH_BYTES * 2];
	struct result result;

	(void)state;
	find_used_open_segment(path);
	assert_int_equal(truncate(path, 1000), 0);
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "its tail is damaged or gone");
}

/* The batch that begins behind the format and the first of these batches, of one entry each. */
#define BATCH_BYTES      (32 + PAYLOAD_HEADER_BYTES + BODY_BYTES)
#define SECOND_BATCH     (8 + BATCH_BYTES)
#define COUNT_IN_A_BATCH 8
/* The guard's own entry of a term, without a body. */
#define BARRIER_BATCH_BYTES 40

static void count_damaged_in_open_segment_is_refused(void **state)
{
	uint8_t count = 0;
	char path[PATH_BYTES * 2];
	struct result result;

	(void)state;
	find_used_open_segment(path);
	int file = open(path, O_RDWR);

	assert_int_equal(pread(file, &count, 1, SECOND_BATCH + COUNT_IN_A_BATCH), 1);
	assert_int_equal(count, 1);
	/* 4097 entries. */
	count = 0x10;
	assert_int_equal(pwrite(file, &count, 1, SECOND_BATCH + COUNT_IN_A_BATCH + 1), 1);
	close(file);
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "damaged at byte");
}

/* libraft looks for one more batch in the last eight bytes. */
static void killed_when_a_segment_was_full_but_for_8_bytes_starts(void **state)
{
	const unsigned room = SEGMENT_BYTES - 16 - BARRIER_BATCH_BYTES;
	const unsigned whole = room / BATCH_BYTES;
	struct life life = {.rows = GUARD_ALL, .entries = whole + 1};
	char path[PATH_BYTES * 2], tail[9] = "";

	(void)state;
	life.last_body_bytes = room - whole * BATCH_BYTES - 32 - PAYLOAD_HEADER_BYTES;
	struct result result = run(life);

	assert_int_equal(result.status, 0);
	uint64_t last_index = result.last_index + 1 + life.entries;

	find_used_open_segment(path);
	int file = open(path, O_RDONLY);

	assert_int_equal(pread(file, tail, sizeof tail, SEGMENT_BYTES - sizeof tail), sizeof tail);
	assert_memory_equal(tail, "x\0\0\0\0\0\0\0\0", sizeof tail);
	close(file);
	result = run((struct life){.rows = GUARD_ALL});
	assert_int_equal(result.status, 0);
	assert_int_equal(result.last_index, last_index);
}

static void log_behind_the_store_is_refused(void **state)
{
	struct result result =
		run((struct life){.rows = GUARD_ALL, .store_applied_index = ENTRIES + 100});

	(void)state;
	expect_refusal(&result, "the store has applied 300");
	result = run((struct life){.rows = GUARD_ALL & ~(unsigned)GUARD_MEMORY,
				   .store_applied_index = ENTRIES + 100});
	assert_int_equal(result.status, 0);
}

/* The metadata: u64 format, u64 version, u64 term, u64 vote. */
static void flip_metadata(off_t offset)
{
	char path[PATH_BYTES * 2];

	for (int i = 1; i <= 2; i++) {
		snprintf(path, sizeof path, "%s/metadata%d", raft_directory, i);
		if (access(path, F_OK) == 0)
			flip(path, offset);
	}
}

static void damaged_term_is_refused(void **state)
{
	struct result result;

	(void)state;
	flip_metadata(17);
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "libraft's metadata says term");
	result = run((struct life){.rows = GUARD_ALL & ~(unsigned)GUARD_MEMORY});
	assert_int_equal(result.status, 0);
	assert_true(result.term > 1000);
}

static void damaged_vote_is_refused(void **state)
{
	struct result result;

	(void)state;
	flip_metadata(24);
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "and vote");
	result = run((struct life){.rows = GUARD_ALL & ~(unsigned)GUARD_MEMORY});
	assert_int_equal(result.status, 0);
}

/* A crash between our record and libraft's looks like this: it must not keep the node from starting. */
static void interrupted_save_is_completed(void **state)
{
	struct hardstate_file *file;
	struct hardstate hard;
	struct error error;
	char path[PATH_BYTES + 16];

	(void)state;
	snprintf(path, sizeof path, "%s/hardstate", base_directory);
	assert_int_equal(hardstate_file_open(&file, path, false, &hard, &error), 0);
	struct hardstate_keeper keeper = hardstate_file_keeper(file);

	hard.term += 3;
	hard.vote = 0;
	assert_int_equal(keeper.save(keeper.impl, &hard, &error), 0);
	hardstate_file_close(file);
	struct result result = run((struct life){.rows = GUARD_ALL});

	assert_int_equal(result.status, 0);
	assert_int_equal(result.term, hard.term);
}

static void missing_closed_segment_is_refused(void **state)
{
	char path[PATH_BYTES * 2];
	struct result result;

	(void)state;
	find_file("0*-0*", true, path);
	assert_int_equal(remove(path), 0);
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "the raft log is damaged at index");
	/* libraft gives the entries behind the gap other indexes, without a word: only when they are
	 * applied, the state machine sees it. */
	result = run((struct life){.rows = GUARD_ALL & ~(unsigned)(GUARD_PAYLOAD | GUARD_MEMORY)});
	expect_refusal(&result, "a committed command is damaged");
}

static void entry_at_a_wrong_index_is_refused(void **state)
{
	struct result result;

	(void)state;
	/* Nobody applies it in this life: its own state machine would have seen it. */
	result = run((struct life){.rows = GUARD_ALL, .entries = 1, .wrong_index_at = 1});
	expect_refusal(&result, "a committed command is damaged");
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "the raft log is damaged at index");
}

static void foreign_file_is_named(void **state)
{
	char path[PATH_BYTES * 2];
	struct result result;

	(void)state;
	snprintf(path, sizeof path, "%s/notes.txt", raft_directory);
	int file = open(path, O_CREAT | O_WRONLY, 0600);

	assert_true(file >= 0);
	close(file);
	result = run((struct life){.rows = GUARD_ALL});
	expect_refusal(&result, "\"notes.txt\" is no part of a raft log");
}

int main(void)
{
#define DAMAGE_TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)
	const struct CMUnitTest tests[] = {
		DAMAGE_TEST(whole_log_starts),
		DAMAGE_TEST(lost_tail_of_open_segment_is_refused),
		DAMAGE_TEST(lost_tail_is_silent_without_memory),
		DAMAGE_TEST(short_open_segment_is_refused_not_fatal),
		DAMAGE_TEST(count_damaged_in_open_segment_is_refused),
		DAMAGE_TEST(killed_when_a_segment_was_full_but_for_8_bytes_starts),
		DAMAGE_TEST(log_behind_the_store_is_refused),
		DAMAGE_TEST(damaged_term_is_refused),
		DAMAGE_TEST(damaged_vote_is_refused),
		DAMAGE_TEST(interrupted_save_is_completed),
		DAMAGE_TEST(missing_closed_segment_is_refused),
		DAMAGE_TEST(entry_at_a_wrong_index_is_refused),
		DAMAGE_TEST(foreign_file_is_named),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
