/*
 * A disk for the raft log, as raft_uv has it: one write at a time, which takes all appends that have
 * come meanwhile; truncations and snapshots wait their turn. At a crash, of the write under way some
 * requests, in order, have reached the disk; nothing behind it has.
 *
 * An append that fails leaves nothing behind, and the next one is written where the last good one
 * ended: what the file then says of indexes is wrong, as it is with raft_uv.
 */
#include "tests/sim/sim.h"

#include <string.h>

enum kind { KIND_APPEND, KIND_TRUNCATE, KIND_PUT };

struct sim_disk_request {
	enum kind kind;
	struct raft_io_append *append;
	struct raft_io_snapshot_put *put;
	struct sim_entry *entries;
	unsigned count;
	raft_index index; /* truncate */
	struct sim_snapshot snapshot;
	unsigned trailing, segment_entries;
	struct sim_disk_request *next;
};

/* ---- copies ---- */

void sim_configuration_copy(const struct raft_configuration *from, struct raft_configuration *to)
{
	raft_configuration_init(to);
	for (unsigned i = 0; i < from->n; i++) {
		int status = raft_configuration_add(
			to, from->servers[i].id, from->servers[i].address, from->servers[i].role);

		ASSERT(status == 0);
	}
}

void sim_snapshot_copy(const struct raft_snapshot *from, struct sim_snapshot *to)
{
	ASSERT(from->n_bufs == 1);
	to->index = from->index;
	to->term = from->term;
	to->configuration_index = from->configuration_index;
	sim_configuration_copy(&from->configuration, &to->configuration);
	to->size = from->bufs[0].len;
	to->data = memory_copy(from->bufs[0].base, to->size);
}

struct raft_snapshot *sim_snapshot_for_raft(const struct sim_snapshot *snapshot)
{
	struct raft_snapshot *copy = raft_malloc(sizeof *copy);

	copy->index = snapshot->index;
	copy->term = snapshot->term;
	copy->configuration_index = snapshot->configuration_index;
	sim_configuration_copy(&snapshot->configuration, &copy->configuration);
	copy->bufs = raft_malloc(sizeof *copy->bufs);
	copy->n_bufs = 1;
	copy->bufs[0].len = snapshot->size;
	copy->bufs[0].base = raft_malloc(snapshot->size);
	memcpy(copy->bufs[0].base, snapshot->data, snapshot->size);
	return copy;
}

static struct sim_entry copy_entry(const struct raft_entry *entry)
{
	return (struct sim_entry){
		.term = entry->term,
		.type = entry->type,
		.size = entry->buf.len,
		.data = memory_copy(entry->buf.base, entry->buf.len),
	};
}

/* ---- what a request does to the durable log ---- */

static void put_entries(struct sim_disk *disk, const struct sim_disk_request *request)
{
	for (unsigned i = 0; i < request->count; i++) {
		if (disk->count == disk->capacity) {
			disk->capacity = disk->capacity == 0 ? 256 : disk->capacity * 2;
			disk->entries = memory_resize(disk->entries,
						      disk->capacity * sizeof *disk->entries);
		}
		disk->entries[disk->count++] = request->entries[i];
	}
}

static void drop_first(struct sim_disk *disk, size_t count)
{
	ASSERT(count <= disk->count);
	for (size_t i = 0; i < count; i++)
		memory_free(disk->entries[i].data);
	disk->count -= count;
	disk->start += count;
	memmove(disk->entries, disk->entries + count, disk->count * sizeof *disk->entries);
}

static void truncate_entries(struct sim_disk *disk, raft_index index)
{
	size_t keep = index > disk->start ? (size_t)(index - disk->start) : 0;

	while (disk->count > keep)
		memory_free(disk->entries[--disk->count].data);
}

static void put_snapshot(struct sim_disk *disk, const struct sim_disk_request *request)
{
	disk->snapshot = request->snapshot;
	if (request->trailing == 0) {
		truncate_entries(disk, 0);
		disk->start = disk->snapshot.index + 1;
	} else if (disk->snapshot.index > request->trailing) {
		raft_index keep = disk->snapshot.index - request->trailing + 1;

		/* Whole segments go, as with raft_uv. */
		keep -= keep % request->segment_entries;
		if (keep > disk->start && keep <= disk->start + disk->count)
			drop_first(disk, (size_t)(keep - disk->start));
	}
}

static void make_durable(struct sim_disk *disk, const struct sim_disk_request *request)
{
	switch (request->kind) {
	case KIND_APPEND:
		put_entries(disk, request);
		break;
	case KIND_TRUNCATE:
		truncate_entries(disk, request->index);
		break;
	case KIND_PUT:
		put_snapshot(disk, request);
		break;
	}
}

/* ---- the queue ---- */

static void begin_write(struct sim_node *node);

static struct sim_disk_request *take_first(struct sim_disk *disk)
{
	struct sim_disk_request *request = disk->first;

	ASSERT(request != NULL);
	disk->first = request->next;
	if (disk->first == NULL)
		disk->last = &disk->first;
	return request;
}

static void call_back(const struct sim_disk_request *request, int status)
{
	if (request->append != NULL)
		request->append->cb(request->append, status);
	else if (request->put != NULL)
		request->put->cb(request->put, status);
}

/* Writes where something is that has room already do not fail; those that need more do. */
static bool is_full(struct sim_node *node)
{
	if (node->disk.full_until <= node->sim->now)
		return false;
	node->sim->outcome.faults[FAULT_FULL]++;
	return true;
}

bool sim_disk_is_low(const struct sim_node *node)
{
	const struct sim_disk *disk = &node->disk;

	return disk->low_until > node->sim->now && disk->low_from <= node->sim->now;
}

/* All appends of one write share its fate. */
static int write_status(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;
	int status = 0;

	if (disk->first->kind == KIND_APPEND && disk->failing > 0) {
		disk->failing--;
		node->sim->outcome.faults[FAULT_WRITE]++;
		status = RAFT_IOERR;
	} else if (disk->first->kind != KIND_TRUNCATE && is_full(node)) {
		status = RAFT_NOSPACE;
	}
	disk->broken = status != 0;
	return status;
}

static void end_write(struct sim *sim, struct sim_node *node, void *data)
{
	struct sim_disk *disk = &node->disk;

	(void)data;
	if (node->paused) {
		sim_after(sim, 20 * SIM_MS, "disk", end_write, node, NULL);
		return;
	}
	uint64_t epoch = node->epoch;
	unsigned count = disk->writing;
	int status = write_status(node);

	while (count-- > 0 && node->epoch == epoch && !node->dying && !node->failed) {
		struct sim_disk_request *request = take_first(disk);

		disk->writing--;
		if (status == 0)
			make_durable(disk, request);
		call_back(request, status);
		memory_free(request);
	}
	sim_node_after(node);
	disk->broken = false;
	if (node->epoch == epoch && disk->first != NULL && disk->writing == 0)
		begin_write(node);
}

static void begin_write(struct sim_node *node)
{
	struct sim *sim = node->sim;
	struct sim_disk *disk = &node->disk;
	const struct sim_disk_request *request = disk->first;
	uint64_t begin = disk->stalled_until > sim->now ? disk->stalled_until : sim->now;
	uint64_t latency = sim_between(sim, sim->profile.disk_min, sim->profile.disk_max);

	ASSERT(disk->writing == 0);
	disk->writing = 1;
	if (request->kind == KIND_APPEND && !sim->profile.single)
		while ((request = request->next) != NULL && request->kind == KIND_APPEND)
			disk->writing++;
	else if (request->kind != KIND_APPEND)
		latency *= 3;
	if (disk->slow_until > sim->now)
		latency *= 20;
	sim_at(sim, begin + latency, "disk", end_write, node, NULL);
}

/* raft_uv remembers one barrier: of two at once, the second may never be reached. */
static void check_barrier(struct sim_node *node, const struct sim_disk_request *request)
{
	const struct sim_disk_request *other = node->disk.first;

	while (other != NULL && other->kind == KIND_APPEND)
		other = other->next;
	if (request->kind != KIND_APPEND && other != NULL)
		sim_violation(node->sim, "node %u: raft_uv loses one of two barriers",
			      node->number);
}

static void enqueue(struct sim_node *node, struct sim_disk_request *request)
{
	struct sim_disk *disk = &node->disk;

	check_barrier(node, request);
	*disk->last = request;
	disk->last = &request->next;
	if (disk->writing == 0)
		begin_write(node);
}

void sim_disk_reset(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;

	disk->first = NULL;
	disk->last = &disk->first;
	disk->writing = 0;
	disk->failing = 0;
	disk->broken = false;
	if (disk->start == 0)
		disk->start = 1;
}

void sim_disk_crash(struct sim_node *node, bool power)
{
	struct sim_disk *disk = &node->disk;
	uint64_t reached = disk->broken ? 0 : sim_between(node->sim, 0, disk->writing);

	while (reached-- > 0)
		make_durable(disk, take_first(disk));
	if (power)
		disk->noted = disk->saved;
	if (MUTANT(VOTE_FORGOTTEN))
		disk->vote = disk->saved.vote = disk->noted.vote = 0;
	if (MUTANT(LOG_NOT_SYNCED) && power && disk->count > 2)
		truncate_entries(disk, disk->start + disk->count - 2);
	sim_disk_reset(node);
}

void sim_disk_cancel(struct sim_node *node)
{
	struct sim_disk *disk = &node->disk;

	while (disk->first != NULL) {
		struct sim_disk_request *request = take_first(disk);

		if (disk->writing > 0) {
			disk->writing--;
			make_durable(disk, request);
		}
		call_back(request, RAFT_CANCELED);
		memory_free(request);
	}
	sim_disk_reset(node);
}

/* ---- raft_io ---- */

/* raft_uv loads what was written at once into one piece of memory: let these be so many entries. */
#define LOADED_TOGETHER 8

static void load_entries(const struct sim_disk *disk, struct raft_entry **entries)
{
	uint8_t *batch = NULL;
	size_t at = 0;

	*entries = raft_malloc(disk->count * sizeof **entries);
	for (size_t i = 0; i < disk->count; i++) {
		const struct sim_entry *entry = &disk->entries[i];

		if (i % LOADED_TOGETHER == 0) {
			size_t bytes = 8;

			for (size_t j = i; j < disk->count && j < i + LOADED_TOGETHER; j++)
				bytes += disk->entries[j].size;
			batch = raft_malloc(bytes);
			at = 0;
		}
		memcpy(batch + at, entry->data, entry->size);
		(*entries)[i] = (struct raft_entry){
			.term = entry->term,
			.type = entry->type,
			.buf = {.base = batch + at, .len = entry->size},
			.batch = batch,
		};
		at += entry->size;
	}
}

static int io_load(struct raft_io *io, raft_term *term, raft_id *vote,
		   struct raft_snapshot **snapshot, raft_index *start, struct raft_entry *entries[],
		   size_t *count)
{
	const struct sim_disk *disk = &sim_node_of(io)->disk;

	*term = disk->term;
	*vote = disk->vote;
	*start = disk->start;
	*count = disk->count;
	*entries = NULL;
	*snapshot = disk->snapshot.index == 0 ? NULL : sim_snapshot_for_raft(&disk->snapshot);
	if (disk->count > 0)
		load_entries(disk, entries);
	return 0;
}

static int io_bootstrap(struct raft_io *io, const struct raft_configuration *configuration)
{
	struct sim_disk *disk = &sim_node_of(io)->disk;
	struct raft_entry entry = {.term = 1, .type = RAFT_CHANGE};

	if (raft_configuration_encode(configuration, &entry.buf) != 0)
		return RAFT_NOMEM;
	struct sim_entry copy = copy_entry(&entry);
	struct sim_disk_request request = {.kind = KIND_APPEND, .entries = &copy, .count = 1};

	disk->term = 1;
	make_durable(disk, &request);
	raft_free(entry.buf.base);
	return 0;
}

static int io_set_term(struct raft_io *io, raft_term term)
{
	struct sim_node *node = sim_node_of(io);

	if (node->dying)
		return 0;
	if (sim_chance(node->sim, 200) && is_full(node))
		return RAFT_NOSPACE;
	sim_check_term(node, term, 0);
	node->disk.term = term;
	node->disk.vote = 0;
	return 0;
}

static int io_set_vote(struct raft_io *io, raft_id vote)
{
	struct sim_node *node = sim_node_of(io);

	if (node->dying)
		return 0;
	if (sim_chance(node->sim, 200) && is_full(node))
		return RAFT_NOSPACE;
	sim_check_term(node, node->disk.term, vote);
	node->disk.vote = vote;
	return 0;
}

static int io_append(struct raft_io *io, struct raft_io_append *append,
		     const struct raft_entry entries[], unsigned count, raft_io_append_cb done)
{
	struct sim_node *node = sim_node_of(io);
	struct sim_disk_request *request = memory_zeroed(1, sizeof *request);

	if (node->dying)
		return 0;
	append->cb = done;
	request->kind = KIND_APPEND;
	request->append = append;
	request->count = count;
	request->entries = memory_zeroed(count, sizeof *request->entries);
	for (unsigned i = 0; i < count; i++)
		request->entries[i] = copy_entry(&entries[i]);
	enqueue(node, request);
	return 0;
}

static int io_truncate(struct raft_io *io, raft_index index)
{
	struct sim_node *node = sim_node_of(io);
	struct sim_disk_request *request = memory_zeroed(1, sizeof *request);

	if (node->dying)
		return 0;
	request->kind = KIND_TRUNCATE;
	request->index = index;
	node->sim->outcome.truncations++;
	sim_trace(node->sim, "node %u truncates at %llu", node->number, index);
	enqueue(node, request);
	return 0;
}

static int io_snapshot_put(struct raft_io *io, unsigned trailing, struct raft_io_snapshot_put *put,
			   const struct raft_snapshot *snapshot, raft_io_snapshot_put_cb done)
{
	struct sim_node *node = sim_node_of(io);
	struct sim_disk_request *request = memory_zeroed(1, sizeof *request);

	if (node->dying)
		return 0;
	put->cb = done;
	request->kind = KIND_PUT;
	request->put = put;
	request->trailing = trailing;
	request->segment_entries = node->sim->profile.segment_entries;
	sim_snapshot_copy(snapshot, &request->snapshot);
	node->sim->outcome.snapshots++;
	sim_trace(node->sim, "node %u puts a snapshot of %llu, trailing %u", node->number,
		  snapshot->index, trailing);
	enqueue(node, request);
	return 0;
}

void sim_disk_fill_io(struct raft_io *io)
{
	io->load = io_load;
	io->bootstrap = io_bootstrap;
	io->set_term = io_set_term;
	io->set_vote = io_set_vote;
	io->append = io_append;
	io->truncate = io_truncate;
	io->snapshot_put = io_snapshot_put;
}

/* ---- our own record ---- */

static int keeper_save(void *impl, const struct hardstate *state, struct error *error)
{
	struct sim_node *node = impl;
	struct sim *sim = node->sim;
	bool may = !sim->calm && sim_nemesis_may(sim, FAULT_TORN_STATE);
	unsigned torn = may ? sim->profile.weight[FAULT_TORN_STATE] : 0;

	(void)error;
	if (node->dying)
		return 0;
	node->disk.saved = *state;
	node->disk.noted = *state;
	if (sim_chance(sim, torn))
		node->dying = true;
	return 0;
}

static void keeper_note(void *impl, const struct hardstate *state)
{
	struct sim_node *node = impl;

	if (!node->dying)
		node->disk.noted = *state;
}

struct hardstate_keeper sim_disk_keeper(struct sim_node *node)
{
	return (struct hardstate_keeper){.impl = node, .save = keeper_save, .note = keeper_note};
}
