/*
 * One libraft behind the real guard and the real state machine, alone: the test is its disk, its network, its
 * clock, and all other members (lone_peers.h). Nothing happens by itself. What is written, put or sent is
 * remembered, and ends when the test says so. The clock of the whole program is the one here.
 *
 *   lone_init      sets the members and what the disk holds; a test may change the options after it
 *   lone_start     raft_start; lone_try_start for those that are to fail
 *   lone_settle    ends everything that is pending, with success
 */
#ifndef TESTS_RAFT_LONE_H
#define TESTS_RAFT_LONE_H

#include "tests/unit/unit.h"

#include "base/clock.h"
#include "base/log.h"
#include "raft/guard_internal.h"
#include "raft/instance.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define LONE_MEMBERS     LIMIT_MEMBERS
#define LONE_MESSAGES    4096
#define LONE_PENDING     64
#define LONE_ELECTION_MS 1000
#define LONE_TICK_MS     100
#define LONE_NO_MEMBER   (-1) /* as a role */

/* ---- the clock ---- */

static int64_t lone_now_ms = 1000000;

int64_t clock_monotonic_ms(void)
{
	return lone_now_ms;
}

int64_t clock_monotonic_ns(void)
{
	return lone_now_ms * 1000000;
}

int64_t clock_realtime_ns(void)
{
	return lone_now_ms * 1000000;
}

/* ---- one of them ---- */

/* What was sent. */
struct lone_message {
	unsigned type;
	raft_id to;
	raft_term term;
	raft_index prev, commit; /* AppendEntries */
	unsigned entries;
	raft_index rejected, last; /* its result; last: of InstallSnapshot, too */
	bool granted, pre_vote;    /* votes */
};

struct lone_write {
	struct raft_io_append *request;
	raft_io_append_cb done;
};

struct lone_send {
	struct raft_io_send *request;
	raft_io_send_cb done;
};

/* What the disk and the network answer at once; 0: they take it. */
struct lone_answers {
	int load, start, set_term, set_vote, append, truncate, put, send;
};

struct lone {
	struct instance instance; /* raft, guard, fsm, change and transfer */
	struct raft_io disk;
	struct guard_options options;
	struct fsm_downstream downstream;
	raft_io_tick_cb tick;
	raft_io_recv_cb receive;
	char addresses[LONE_MEMBERS + 1][ENDPOINT_TEXT_BYTES]; /* of id, from 1 */
	unsigned members;
	int roles[LONE_MEMBERS + 1];

	/* What the disk holds before the start: a snapshot at index 1 of term 1, then these. */
	raft_term term;
	raft_id vote;
	struct raft_entry *entries;
	size_t entry_count;
	struct hardstate hard; /* what was saved */
	unsigned saves;
	bool save_fails;

	struct lone_answers answers;
	struct lone_write writes[LONE_PENDING];
	unsigned write_count;
	struct lone_send sends[LONE_PENDING];
	unsigned send_count;
	struct raft_io_snapshot_put *put;
	raft_io_snapshot_put_cb put_done;
	unsigned put_trailing;
	struct raft_io_async_work *work;
	raft_io_async_work_cb work_done;
	raft_index truncated_at;
	struct lone_message messages[LONE_MESSAGES];
	unsigned message_count;

	bool draws_most; /* of what is drawn by chance; else the least */
	bool takes_no_entries;
	bool snapshot_refused;
	int snapshot_status; /* of the wait */
	unsigned failures, leaderships, restores;
	struct error error;
	uint64_t applied_index, applied_count;
	struct manifest restored;
};

static inline struct raft *lone_raft(struct lone *lone)
{
	return &lone->instance.raft;
}

/* ---- entries ---- */

static inline struct raft_buffer lone_payload(raft_index index, raft_term term, size_t body_bytes)
{
	struct raft_buffer buffer = {.len = payload_bytes(body_bytes)};

	buffer.base = raft_calloc(1, buffer.len);
	payload_seal(buffer.base, body_bytes, index, term);
	return buffer;
}

/* A command, alone in a batch as messages and the disk bring it. */
static inline struct raft_entry lone_entry(raft_index index, raft_term term, size_t body_bytes)
{
	struct raft_entry entry = {.term = term, .type = RAFT_COMMAND};

	entry.buf = lone_payload(index, term, body_bytes);
	entry.batch = entry.buf.base;
	return entry;
}

static inline void lone_configuration(struct lone *lone, unsigned members, const int roles[],
				      struct raft_configuration *into)
{
	raft_configuration_init(into);
	for (unsigned id = 1; id <= members; id++)
		if (roles[id] != LONE_NO_MEMBER)
			assert_int_equal(
				raft_configuration_add(into, id, lone->addresses[id], roles[id]),
				0);
}

static inline struct raft_entry lone_change(struct lone *lone, raft_term term, unsigned members,
					    const int roles[])
{
	struct raft_entry entry = {.term = term, .type = RAFT_CHANGE};
	struct raft_configuration configuration;

	lone_configuration(lone, members, roles, &configuration);
	assert_int_equal(raft_configuration_encode(&configuration, &entry.buf), 0);
	raft_configuration_close(&configuration);
	entry.batch = entry.buf.base;
	return entry;
}

/* What the disk holds behind the snapshot; before lone_start. */
static inline void lone_hold(struct lone *lone, struct raft_entry entry)
{
	lone->entries = raft_realloc(lone->entries, (lone->entry_count + 1) * sizeof entry);
	lone->entries[lone->entry_count++] = entry;
}

static inline struct raft_buffer lone_manifest(uint64_t applied_index)
{
	struct manifest manifest = {.applied_index = applied_index, .position = applied_index};
	struct raft_buffer buffer = {.base = raft_malloc(MANIFEST_BYTES), .len = MANIFEST_BYTES};

	manifest_encode(&manifest, buffer.base);
	return buffer;
}

/* ---- the disk ---- */

static inline struct lone *lone_of(struct raft_io *io)
{
	return io->impl;
}

static inline int lone_answer(struct raft_io *io, int answer, const char *what)
{
	if (answer != 0)
		snprintf(io->errmsg, sizeof io->errmsg, "%s: refused", what);
	return answer;
}

static inline int lone_io_init(struct raft_io *io, raft_id id, const char *address)
{
	(void)io, (void)id, (void)address;
	return 0;
}

static inline int lone_io_load(struct raft_io *io, raft_term *term, raft_id *vote,
			       struct raft_snapshot **into, raft_index *start,
			       struct raft_entry *entries[], size_t *count)
{
	struct lone *lone = lone_of(io);
	struct raft_snapshot *snapshot = raft_calloc(1, sizeof *snapshot);

	if (lone->answers.load != 0) {
		raft_free(snapshot);
		return lone_answer(io, lone->answers.load, "load");
	}
	snapshot->index = snapshot->term = snapshot->configuration_index = 1;
	snapshot->bufs = raft_calloc(1, sizeof *snapshot->bufs);
	snapshot->bufs[0] = lone_manifest(1);
	snapshot->n_bufs = 1;
	lone_configuration(lone, lone->members, lone->roles, &snapshot->configuration);
	*into = snapshot;
	*term = lone->term;
	*vote = lone->vote;
	*start = 2;
	*entries = lone->entries;
	*count = lone->entry_count;
	lone->entries = NULL; /* libraft's from here on */
	return 0;
}

static inline int lone_io_start(struct raft_io *io, unsigned tick_ms, raft_io_tick_cb tick,
				raft_io_recv_cb receive)
{
	struct lone *lone = lone_of(io);

	(void)tick_ms;
	lone->tick = tick;
	lone->receive = receive;
	return lone_answer(io, lone->answers.start, "start");
}

static inline int lone_io_set_term(struct raft_io *io, raft_term term)
{
	lone_of(io)->term = term;
	return lone_answer(io, lone_of(io)->answers.set_term, "set_term");
}

static inline int lone_io_set_vote(struct raft_io *io, raft_id vote)
{
	lone_of(io)->vote = vote;
	return lone_answer(io, lone_of(io)->answers.set_vote, "set_vote");
}

static inline int lone_io_append(struct raft_io *io, struct raft_io_append *request,
				 const struct raft_entry entries[], unsigned count,
				 raft_io_append_cb done)
{
	struct lone *lone = lone_of(io);

	(void)entries, (void)count;
	if (lone->answers.append == 0) {
		assert_true(lone->write_count < LONE_PENDING);
		lone->writes[lone->write_count++] = (struct lone_write){request, done};
	}
	return lone_answer(io, lone->answers.append, "append");
}

static inline int lone_io_truncate(struct raft_io *io, raft_index index)
{
	lone_of(io)->truncated_at = index;
	return lone_answer(io, lone_of(io)->answers.truncate, "truncate");
}

static inline int lone_io_put(struct raft_io *io, unsigned trailing,
			      struct raft_io_snapshot_put *request,
			      const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
	struct lone *lone = lone_of(io);

	(void)snapshot;
	assert_null(lone->put);
	if (lone->answers.put == 0) {
		lone->put = request;
		lone->put_done = done;
		lone->put_trailing = trailing;
	}
	return lone_answer(io, lone->answers.put, "put");
}

static inline int lone_io_get(struct raft_io *io, struct raft_io_snapshot_get *request,
			      raft_io_snapshot_get_cb done)
{
	(void)request, (void)done;
	return lone_answer(io, RAFT_IOERR, "snapshot_get");
}

static inline int lone_io_work(struct raft_io *io, struct raft_io_async_work *request,
			       raft_io_async_work_cb done)
{
	struct lone *lone = lone_of(io);

	assert_null(lone->work);
	lone->work = request;
	lone->work_done = done;
	return 0;
}

static inline raft_time lone_io_time(struct raft_io *io)
{
	(void)io;
	return (raft_time)lone_now_ms;
}

static inline int lone_io_random(struct raft_io *io, int min, int max)
{
	return lone_of(io)->draws_most ? max - 1 : min;
}

/* ---- the network ---- */

static inline struct lone_message lone_compact(const struct raft_message *message)
{
	struct lone_message sent = {.type = message->type, .to = message->server_id};

	switch (message->type) {
	case RAFT_IO_APPEND_ENTRIES:
		sent.term = message->append_entries.term;
		sent.prev = message->append_entries.prev_log_index;
		sent.commit = message->append_entries.leader_commit;
		sent.entries = message->append_entries.n_entries;
		break;
	case RAFT_IO_APPEND_ENTRIES_RESULT:
		sent.term = message->append_entries_result.term;
		sent.rejected = message->append_entries_result.rejected;
		sent.last = message->append_entries_result.last_log_index;
		break;
	case RAFT_IO_REQUEST_VOTE:
		sent.term = message->request_vote.term;
		sent.pre_vote = message->request_vote.pre_vote;
		break;
	case RAFT_IO_REQUEST_VOTE_RESULT:
		sent.term = message->request_vote_result.term;
		sent.granted = message->request_vote_result.vote_granted;
		sent.pre_vote = message->request_vote_result.pre_vote == raft_tribool_true;
		break;
	case RAFT_IO_INSTALL_SNAPSHOT:
		sent.term = message->install_snapshot.term;
		sent.last = message->install_snapshot.last_index;
		break;
	default:
		sent.term = message->timeout_now.term;
	}
	return sent;
}

static inline int lone_io_send(struct raft_io *io, struct raft_io_send *request,
			       const struct raft_message *message, raft_io_send_cb done)
{
	struct lone *lone = lone_of(io);

	if (lone->answers.send != 0)
		return lone_answer(io, lone->answers.send, "send");
	assert_true(lone->message_count < LONE_MESSAGES && lone->send_count < LONE_PENDING);
	lone->messages[lone->message_count++] = lone_compact(message);
	lone->sends[lone->send_count++] = (struct lone_send){request, done};
	return 0;
}

/* ---- what ends ---- */

static inline void lone_end_write(struct lone *lone, int status)
{
	struct lone_write write = lone->writes[0];

	assert_true(lone->write_count > 0);
	lone->write_count--;
	memmove(lone->writes, lone->writes + 1, lone->write_count * sizeof write);
	if (status != 0)
		snprintf(lone->disk.errmsg, sizeof lone->disk.errmsg, "write: failed");
	write.done(write.request, status);
}

static inline void lone_end_send(struct lone *lone, int status)
{
	struct lone_send send = lone->sends[0];

	lone->send_count--;
	memmove(lone->sends, lone->sends + 1, lone->send_count * sizeof send);
	if (send.done != NULL)
		send.done(send.request, status);
}

static inline void lone_end_put(struct lone *lone, int status)
{
	struct raft_io_snapshot_put *put = lone->put;

	assert_non_null(put);
	lone->put = NULL;
	if (status != 0)
		snprintf(lone->disk.errmsg, sizeof lone->disk.errmsg, "put: failed");
	lone->put_done(put, status);
}

static inline void lone_end_work(struct lone *lone)
{
	struct raft_io_async_work *work = lone->work;

	assert_non_null(work);
	lone->work = NULL;
	lone->work_done(work, work->work(work));
}

static inline void lone_settle(struct lone *lone)
{
	while (lone->write_count + lone->send_count > 0 || lone->put != NULL ||
	       lone->work != NULL) {
		if (lone->write_count > 0)
			lone_end_write(lone, 0);
		else if (lone->send_count > 0)
			lone_end_send(lone, 0);
		else if (lone->work != NULL)
			lone_end_work(lone);
		else
			lone_end_put(lone, 0);
	}
}

static inline void lone_io_close(struct raft_io *io, raft_io_close_cb closed)
{
	struct lone *lone = lone_of(io);

	while (lone->write_count > 0)
		lone_end_write(lone, RAFT_CANCELED);
	while (lone->send_count > 0)
		lone_end_send(lone, RAFT_CANCELED);
	if (lone->work != NULL)
		lone_end_work(lone);
	if (lone->put != NULL)
		lone_end_put(lone, RAFT_CANCELED);
	closed(io);
}

/* ---- what is told ---- */

static inline int lone_save(void *impl, const struct hardstate *hard, struct error *error)
{
	struct lone *lone = impl;

	if (lone->save_fails)
		return error_set(error, -EIO, "the hard state is refused");
	lone->hard = *hard;
	lone->saves++;
	return 0;
}

static inline void lone_note(void *impl, const struct hardstate *hard)
{
	struct lone *lone = impl;

	lone->hard = *hard;
}

static inline void lone_on_leader(void *arg, uint64_t term)
{
	struct lone *lone = arg;

	assert_int_equal(term, lone_raft(lone)->current_term);
	lone->leaderships++;
}

static inline void lone_on_fail(void *arg, const struct error *error)
{
	struct lone *lone = arg;

	lone->failures++;
	lone->error = *error;
}

static inline bool lone_accepts(void *arg)
{
	const struct lone *lone = arg;

	return !lone->takes_no_entries;
}

static inline void lone_on_apply(void *arg, uint64_t index, uint64_t term, struct span body)
{
	struct lone *lone = arg;

	(void)term, (void)body;
	assert_true(index > lone->applied_index);
	lone->applied_index = index;
	lone->applied_count++;
}

static inline bool lone_snapshot_begin(void *arg, uint64_t index)
{
	const struct lone *lone = arg;

	(void)index;
	return !lone->snapshot_refused;
}

static inline int lone_snapshot_wait(void *arg, uint64_t index, struct manifest *manifest)
{
	const struct lone *lone = arg;

	*manifest = (struct manifest){.applied_index = index, .position = index};
	return lone->snapshot_status;
}

static inline void lone_on_restore(void *arg, const struct manifest *manifest)
{
	struct lone *lone = arg;

	lone->restored = *manifest;
	lone->restores++;
}

/* ---- life ---- */

static inline void lone_init(struct lone *lone, unsigned members)
{
	*lone = (struct lone){.members = members, .term = 1};
	log_set_level(LOG_LEVEL_ERROR);
	for (unsigned id = 1; id <= LONE_MEMBERS; id++) {
		snprintf(lone->addresses[id], ENDPOINT_TEXT_BYTES, "127.0.0.1:%u/127.0.0.1:%u#%x",
			 1000 + id, 2000 + id, id);
		lone->roles[id] = RAFT_VOTER;
	}
	lone->disk = (struct raft_io){.version = 2,
				      .impl = lone,
				      .init = lone_io_init,
				      .close = lone_io_close,
				      .load = lone_io_load,
				      .start = lone_io_start,
				      .set_term = lone_io_set_term,
				      .set_vote = lone_io_set_vote,
				      .send = lone_io_send,
				      .append = lone_io_append,
				      .truncate = lone_io_truncate,
				      .snapshot_put = lone_io_put,
				      .snapshot_get = lone_io_get,
				      .time = lone_io_time,
				      .random = lone_io_random,
				      .async_work = lone_io_work};
	lone->options = (struct guard_options){.rows = GUARD_ALL,
					       .peer_in_flight_bytes = 1 * MIB,
					       .peer_in_flight_messages = 100,
					       .keeper = {lone, lone_save, lone_note},
					       .arg = lone,
					       .became_leader = lone_on_leader,
					       .fail = lone_on_fail,
					       .accepts_entries = lone_accepts};
	lone->downstream = (struct fsm_downstream){.arg = lone,
						   .apply = lone_on_apply,
						   .snapshot_begin = lone_snapshot_begin,
						   .snapshot_wait = lone_snapshot_wait,
						   .restore = lone_on_restore,
						   .fail = lone_on_fail};
}

static inline int lone_try_start(struct lone *lone)
{
	struct instance *instance = &lone->instance;

	instance->fsm = fsm_new(&instance->raft, &lone->downstream);
	instance->guard = guard_new(&instance->raft, &lone->disk, &lone->options);
	fsm_set_guard(instance->fsm, instance->guard);
	assert_int_equal(raft_init(&instance->raft, guard_io(instance->guard),
				   fsm_raft(instance->fsm), 1, lone->addresses[1]),
			 0);
	raft_set_election_timeout(&instance->raft, LONE_ELECTION_MS);
	raft_set_heartbeat_timeout(&instance->raft, LONE_TICK_MS);
	raft_set_pre_vote(&instance->raft, true);
	raft_set_snapshot_threshold(&instance->raft, 1u << 30);
	return raft_start(&instance->raft);
}

static inline void lone_start(struct lone *lone)
{
	if (lone_try_start(lone) != 0)
		fail_msg("%s", raft_errmsg(lone_raft(lone)));
}

static inline void lone_close(struct lone *lone)
{
	raft_close(lone_raft(lone), NULL); /* everything has ended when it returns */
	guard_free(lone->instance.guard);
	fsm_free(lone->instance.fsm);
}

#endif
