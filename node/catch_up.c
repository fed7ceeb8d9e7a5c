#include "node/catch_up.h"
#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/msgpack.h"
#include "node/node.h"
#include "node/notify.h"
#include "node/peer_client.h"
#include "node/pull_page.h"
#include "node/table.h"

#include <errno.h>
#include <uv.h>

#define TICK_MS 100
/* Asked for in each request; a peer that says nothing for longer than its own deadline is given up. */
#define PAGE_BYTES         (2 * MIB)
#define REQUEST_TIMEOUT_MS 5000
#define SILENCE_MS         (REQUEST_TIMEOUT_MS + 2000)
/* Between two rounds over all peers; doubled after each that led to nothing. */
#define PAUSE_MS_MIN 100
#define PAUSE_MS_MAX 2000

static_assert(LIMIT_PULLS_IN_FLIGHT >= 1, "something is asked for");

enum catch_up_state {
	CATCH_UP_IDLE,
	CATCH_UP_BEGINNING,
	CATCH_UP_FETCHING,
	CATCH_UP_ENDING,
	CATCH_UP_FAILED,
	CATCH_UP_STATES
};

/*
 *   FREE ──► WANTED ──asked──► ASKED ──answer──► FILLED ──first in order──► INGESTING ─┬─ all of it ─► FREE
 *              ▲                 │ peer lost                                           │
 *              └─────────────────┴──────────────────────────── a part of it ───────────┘
 */
enum slot_state { SLOT_FREE, SLOT_WANTED, SLOT_ASKED, SLOT_FILLED, SLOT_INGESTING, SLOT_STATES };

/* A range of positions that is being fetched. */
struct slot {
	struct peer_call call;
	struct catch_up *catch_up;
	enum slot_state state;
	uint64_t from, to;
	int64_t asked_ms;
	uint32_t peer_number; /* who was asked ... */
	uint64_t peer_id;     /* ... and which member that is */
	struct buffer answer; /* FILLED, INGESTING: the whole result */
};

struct catch_up {
	struct node *node;
	enum catch_up_state state;
	struct manifest manifest; /* that the store is brought to: `asked`, or a newer one */
	struct manifest asked;    /* by raft */
	/* The manifest must be of this position or later: the store's horizon, or its head. Beyond the
	 * manifest after a start of a node that was killed with a newer one on its mind. */
	uint64_t needed;
	uv_timer_t timer;

	/* The ring of slots: `first` holds the lowest positions. */
	struct slot slots[LIMIT_PULLS_IN_FLIGHT];
	uint32_t first, used;
	uint64_t next_from; /* of the next range to be made */

	struct peer_client *peer; /* NULL: none */
	char peer_address[ADDRESS_TEXT_BYTES];
	uint64_t peer_id;
	uint32_t peer_number;  /* which one this is, counted from the start */
	const char *peer_lost; /* why it must be left, NULL: it need not */
	uint32_t peers_tried;  /* one after the other, since the last progress */
	int64_t pause_ms, resume_ms;
	/* Members whose records did not fit, since the last that did. */
	uint64_t refused[LIMIT_MEMBERS];
	uint32_t refused_count;

	/* One work at a time: begin, ingest or end. */
	struct work work;
	struct node_post post;
	bool working;
	int status;
	struct error error;
	uint64_t ingested;      /* the store's head after the work; the worker's until then ... */
	uint64_t worker_needed; /* ... as these */
	bool has_newer;
	struct manifest newer;

	uint64_t started_from, reported_head;
	int64_t reported_ms;
	uint64_t rate;
};

static void advance(struct catch_up *catch_up);
static void tick(uv_timer_t *timer);

/* ---- states ---- */

#define TO(state) (1u << CATCH_UP_##state)
static const uint32_t moves[CATCH_UP_STATES] = {
	[CATCH_UP_IDLE] = TO(BEGINNING),
	[CATCH_UP_BEGINNING] = TO(FETCHING) | TO(FAILED),
	[CATCH_UP_FETCHING] = TO(ENDING) | TO(FAILED),
	[CATCH_UP_ENDING] = TO(IDLE) | TO(FAILED),
};

static void move(struct catch_up *catch_up, enum catch_up_state to)
{
	ASSERT(moves[catch_up->state] & (1u << to));
	catch_up->state = to;
}

#define SLOT_TO(state) (1u << SLOT_##state)
static const uint32_t slot_moves[SLOT_STATES] = {
	[SLOT_FREE] = SLOT_TO(WANTED),
	[SLOT_WANTED] = SLOT_TO(ASKED),
	[SLOT_ASKED] = SLOT_TO(FILLED) | SLOT_TO(WANTED),
	[SLOT_FILLED] = SLOT_TO(INGESTING),
	[SLOT_INGESTING] = SLOT_TO(FREE) | SLOT_TO(WANTED),
};

static void slot_move(struct slot *slot, enum slot_state to)
{
	ASSERT(slot_moves[slot->state] & (1u << to));
	slot->state = to;
}

/* ---- peers ---- */

static bool is_refused(const struct catch_up *catch_up, uint64_t id)
{
	for (uint32_t i = 0; i < catch_up->refused_count; i++)
		if (catch_up->refused[i] == id)
			return true;
	return false;
}

/*
 * Followers before the leader, which has enough to do; each in the order of the members. Without
 * those that are refused.
 */
static uint32_t list_peers(struct catch_up *catch_up, const struct member *peers[LIMIT_MEMBERS])
{
	struct node *node = catch_up->node;
	const struct replica_status *status = node_replica_status(node);
	uint32_t count = 0;

	for (int leader = 0; leader <= 1; leader++) {
		for (uint32_t i = 0; i < status->member_count; i++) {
			const struct member *member = &status->members[i];

			if (member->id != node->settings.node_id &&
			    member->client_address[0] != '\0' &&
			    !is_refused(catch_up, member->id) &&
			    (member->id == status->leader_id) == (leader == 1))
				peers[count++] = member;
		}
	}
	return count;
}

/* Away from this peer: what it was asked for is wanted again, from the next one. */
static void leave_peer(struct catch_up *catch_up)
{
	struct peer_client *peer = catch_up->peer;

	if (peer == NULL)
		return;
	if (catch_up->peer_lost != NULL)
		log_warn("catch_up", "leaving a peer", "peer=%s reason=\"%s\"",
			 catch_up->peer_address, catch_up->peer_lost);
	catch_up->peer = NULL;
	catch_up->peer_lost = NULL;
	if (!is_refused(catch_up, catch_up->peer_id)) /* else it is in no list any more */
		catch_up->peers_tried++;
	peer_client_free(peer); /* calls in flight end here */
}

static void pause_peers(struct catch_up *catch_up)
{
	catch_up->pause_ms = catch_up->pause_ms == 0 ? PAUSE_MS_MIN : catch_up->pause_ms * 2;
	if (catch_up->pause_ms > PAUSE_MS_MAX)
		catch_up->pause_ms = PAUSE_MS_MAX;
	catch_up->resume_ms = clock_monotonic_ms() + catch_up->pause_ms;
	catch_up->peers_tried = 0;
}

/* false: there is none to be asked now. */
static bool have_peer(struct catch_up *catch_up)
{
	const struct member *peers[LIMIT_MEMBERS];

	if (catch_up->peer != NULL)
		return true;
	if (clock_monotonic_ms() < catch_up->resume_ms)
		return false;
	uint32_t count = list_peers(catch_up, peers);

	if (count == 0 && catch_up->refused_count > 0) { /* the members have changed since */
		catch_up->refused_count = 0;
		count = list_peers(catch_up, peers);
	}
	if (count == 0)
		log_warn("catch_up", "no other member has a client address", "");
	if (catch_up->peers_tried >= count) {
		pause_peers(catch_up);
		return false;
	}
	const struct member *member = peers[catch_up->peers_tried];

	memcpy(catch_up->peer_address, member->client_address, sizeof catch_up->peer_address);
	catch_up->peer_id = member->id;
	catch_up->peer_number++;
	catch_up->peer = peer_client_new(catch_up->node->loop, catch_up->peer_address);
	log_info("catch_up", "pulling from a peer", "peer=%s node=%llu", catch_up->peer_address,
		 (unsigned long long)member->id);
	return true;
}

/* ---- asking ---- */

static bool needs_newer(const struct catch_up *catch_up)
{
	return catch_up->needed > catch_up->manifest.position;
}

static uint64_t last_wanted(const struct catch_up *catch_up)
{
	return needs_newer(catch_up) ? catch_up->needed : catch_up->manifest.position;
}

/* The peer will be left by the next tick, which comes at once: not within one of its own calls. */
static void lose_peer(struct catch_up *catch_up, const char *reason)
{
	if (catch_up->peer == NULL || catch_up->peer_lost != NULL)
		return;
	catch_up->peer_lost = reason;
	uv_timer_start(&catch_up->timer, tick, 0, TICK_MS);
}

static const char *reason_of(enum peer_result result)
{
	if (result == PEER_ANSWERED)
		return "it answered with an error";
	return result == PEER_NEVER_SENT ? "it cannot be reached" : "the connection was lost";
}

static void answered(struct peer_call *call, enum peer_result result, struct span error,
		     struct span value)
{
	struct slot *slot = TABLE_ENTRY(call, struct slot, call);
	struct catch_up *catch_up = slot->catch_up;

	if (result != PEER_ANSWERED || error.size > 0) {
		slot_move(slot, SLOT_WANTED);
		lose_peer(catch_up, reason_of(result));
		return;
	}
	slot_move(slot, SLOT_FILLED);
	buffer_clear(&slot->answer);
	buffer_append_span(&slot->answer, value);
	advance(catch_up);
}

static void ask(struct catch_up *catch_up, struct slot *slot)
{
	struct buffer params;

	ASSERT(slot->from <= slot->to);
	buffer_init(&params);
	msgpack_write_map(&params, 5);
	msgpack_write_string(&params, "raw");
	msgpack_write_bool(&params, true);
	msgpack_write_string(&params, "from");
	msgpack_write_u64(&params, slot->from);
	msgpack_write_string(&params, "limit");
	msgpack_write_u64(&params, slot->to - slot->from + 1);
	msgpack_write_string(&params, "max_bytes");
	msgpack_write_u64(&params, PAGE_BYTES);
	msgpack_write_string(&params, "timeout_ms");
	msgpack_write_u64(&params, REQUEST_TIMEOUT_MS);
	slot_move(slot, SLOT_ASKED);
	slot->asked_ms = clock_monotonic_ms();
	slot->peer_number = catch_up->peer_number;
	slot->peer_id = catch_up->peer_id;
	slot->call.done = answered;
	peer_client_call(catch_up->peer, &slot->call, "read_all", buffer_span(&params));
	buffer_close(&params);
}

static struct slot *slot_at(struct catch_up *catch_up, uint32_t place)
{
	return &catch_up->slots[(catch_up->first + place) % LIMIT_PULLS_IN_FLIGHT];
}

/*
 * As far as the manifest, and no further. But one who needs a newer manifest asks for whole pages: the
 * page that brings it should bring the records up to it, too. Were they asked for afterwards, they could
 * come with holes again, which need a manifest newer still, for as long as the peer goes on dropping.
 */
static void make_ranges(struct catch_up *catch_up)
{
	uint64_t last = last_wanted(catch_up);
	bool whole = last != catch_up->asked.position;

	if (catch_up->used == 0 && catch_up->next_from > last && needs_newer(catch_up))
		last = catch_up->next_from; /* for the manifest that comes with the page */
	while (catch_up->used < LIMIT_PULLS_IN_FLIGHT && catch_up->next_from <= last) {
		struct slot *slot = slot_at(catch_up, catch_up->used++);
		uint64_t left = last - catch_up->next_from + 1;

		slot->from = catch_up->next_from;
		slot->to = slot->from - 1 +
			   (whole || left > LIMIT_PULL_RECORDS ? LIMIT_PULL_RECORDS : left);
		slot_move(slot, SLOT_WANTED);
		catch_up->next_from = slot->to + 1;
	}
}

static void ask_what_is_wanted(struct catch_up *catch_up)
{
	for (uint32_t i = 0; i < catch_up->used; i++) {
		struct slot *slot = slot_at(catch_up, i);

		if (slot->state != SLOT_WANTED)
			continue;
		if (catch_up->peer_lost != NULL || !have_peer(catch_up))
			return;
		ask(catch_up, slot);
	}
}

/* ---- work, on a worker ---- */

/*
 * Holes may lack what was the last checkpoint as of the manifest: then the manifest that came with the
 * page takes its place, which is of the horizon or later. -EAGAIN: the peer has none to offer.
 */
static int look_at_horizon(struct catch_up *catch_up, const struct pull_page *page, bool has_hole)
{
	struct store_status status;

	store_get_status(catch_up->node->store, &status);
	uint64_t needed = status.horizon > status.head ? status.horizon : status.head;

	if (has_hole && page->horizon > needed)
		needed = page->horizon;
	catch_up->worker_needed = needed;
	if (needed <= catch_up->manifest.position)
		return 0;
	const struct manifest *newer = &page->manifest;
	if (!page->has_manifest || newer->position < needed ||
	    newer->applied_index < catch_up->manifest.applied_index ||
	    memcmp(newer->cluster_id, catch_up->manifest.cluster_id, CLUSTER_ID_BYTES) != 0)
		return error_set(&catch_up->error, -EAGAIN,
				 "the peer has no manifest of position %llu or later",
				 (unsigned long long)needed);
	catch_up->newer = *newer;
	catch_up->has_newer = true;
	return 0;
}

/* A whole page can go beyond the manifest, where the store must end. */
static int cut_behind(struct catch_up *catch_up, const struct pull_page *page,
		      const struct slot *slot, uint64_t wanted, struct span *items)
{
	bool has_hole;

	*items = span_of(NULL, 0);
	if (wanted < slot->from)
		return 0;
	return pull_page_cut(page, slot->from, wanted, store_head(catch_up->node->store), items,
			     &has_hole, &catch_up->error);
}

/* What a record says of its stream, its time and its id, store_ingest checks. */
static int ingest_slot(struct catch_up *catch_up, struct slot *slot)
{
	struct store *store = catch_up->node->store;
	struct pull_page page;
	struct span items;
	bool has_hole;

	if (pull_page_parse(buffer_span(&slot->answer), &page) != 0)
		return error_set(&catch_up->error, -EBADMSG,
				 "the answer for positions from %llu is no page of records",
				 (unsigned long long)slot->from);
	if (page.count > slot->to - slot->from + 1)
		return error_set(&catch_up->error, -EBADMSG,
				 "%u records came for positions %llu to %llu", page.count,
				 (unsigned long long)slot->from, (unsigned long long)slot->to);
	int rc = pull_page_cut(&page, slot->from, slot->to, store_head(store), &items, &has_hole,
			       &catch_up->error);
	if (rc == 0)
		rc = look_at_horizon(catch_up, &page, has_hole);
	if (rc != 0)
		return rc;
	uint64_t wanted = catch_up->has_newer ? catch_up->newer.position : last_wanted(catch_up);

	if (wanted < slot->to)
		rc = cut_behind(catch_up, &page, slot, wanted, &items);
	if (rc != 0)
		return rc;
	if (has_hole)
		store_ingest_horizon(store, page.horizon);
	return store_ingest(store, items, &catch_up->error);
}

/*
 * With a newer manifest than raft's, the store will be ahead of the log: the hard state must say why,
 * before it is. And what raft's manifest says must be so, too, where it can still be known.
 */
static int end(struct catch_up *catch_up)
{
	const struct manifest *asked = &catch_up->asked, *manifest = &catch_up->manifest;
	struct node *node = catch_up->node;
	uint64_t position = asked->position, hash;

	if (manifest->applied_index != asked->applied_index) {
		int rc = position == 0
				 ? -ENOENT
				 : store_digest(node->store, &position, &hash, &catch_up->error);

		if (rc == 0 && hash != asked->hash)
			return error_set(&catch_up->error, -EBADMSG,
					 "the records up to position %llu are not those of the "
					 "cluster: remove this node's data and sync again",
					 (unsigned long long)position);
		if (rc == 0 || rc == -ENOENT)
			rc = replica_note_pulled(node->replica, manifest->applied_index,
						 &catch_up->error);
		if (rc != 0)
			return rc;
	}
	return store_ingest_end(node->store, manifest, &catch_up->error);
}

static void work_run(struct work *work)
{
	struct catch_up *catch_up = TABLE_ENTRY(work, struct catch_up, work);
	struct store *store = catch_up->node->store;

	if (catch_up->state == CATCH_UP_BEGINNING)
		catch_up->status = store_ingest_begin(store, &catch_up->error);
	else if (catch_up->state == CATCH_UP_FETCHING)
		catch_up->status = ingest_slot(catch_up, slot_at(catch_up, 0));
	else
		catch_up->status = end(catch_up);
	catch_up->ingested = store_head(store);
	node_post(catch_up->node, &catch_up->post);
}

/* The state and the slots do not change while it works. */
static void work_start(struct catch_up *catch_up)
{
	ASSERT(!catch_up->working);
	catch_up->working = true;
	workers_submit(catch_up->node->workers, &catch_up->work);
}

/* ---- back on the loop ---- */

static void fail(struct catch_up *catch_up)
{
	move(catch_up, CATCH_UP_FAILED);
	uv_timer_stop(&catch_up->timer);
	leave_peer(catch_up);
	error_prefix(&catch_up->error, "catching up to position %llu from %s",
		     (unsigned long long)catch_up->manifest.position, catch_up->peer_address);
	node_fail(catch_up->node, &catch_up->error);
}

/* As far as the store took the slot's records. */
static void note_progress(struct catch_up *catch_up, struct slot *slot)
{
	ASSERT(slot->from <= catch_up->ingested);
	if (catch_up->next_from <= catch_up->ingested) /* a hole went over it */
		catch_up->next_from = catch_up->ingested + 1;
	notifier_applied(catch_up->node->notifier, slot->from, catch_up->ingested);
	catch_up->peers_tried = 0;
	catch_up->refused_count = 0;
	catch_up->pause_ms = 0;
	slot->from = catch_up->ingested + 1;
}

/* Of what came, something does not fit: others are asked for it, unless that is so of everybody's. */
static void slot_refused(struct catch_up *catch_up, struct slot *slot)
{
	const struct member *peers[LIMIT_MEMBERS];

	log_warn("catch_up", "records of a peer do not fit", "node=%llu reason=\"%s\"",
		 (unsigned long long)slot->peer_id, catch_up->error.message);
	buffer_clear(&slot->answer);
	if (catch_up->ingested >= slot->from)
		note_progress(catch_up, slot);
	slot_move(slot, SLOT_WANTED);
	if (!is_refused(catch_up, slot->peer_id) && catch_up->refused_count < LIMIT_MEMBERS)
		catch_up->refused[catch_up->refused_count++] = slot->peer_id;
	if (slot->peer_number == catch_up->peer_number)
		lose_peer(catch_up, "its records do not fit");
	if (list_peers(catch_up, peers) == 0)
		fail(catch_up);
}

/* The peer cannot be of help for now, but might be later. */
static void slot_put_back(struct catch_up *catch_up, struct slot *slot, const char *reason)
{
	buffer_clear(&slot->answer);
	slot_move(slot, SLOT_WANTED);
	if (slot->peer_number == catch_up->peer_number)
		lose_peer(catch_up, reason);
}

static void slot_ingested(struct catch_up *catch_up, struct slot *slot)
{
	bool has_more = catch_up->ingested >= slot->from;

	buffer_clear(&slot->answer);
	if (has_more)
		note_progress(catch_up, slot);
	bool is_wanted = slot->from <= slot->to && slot->from <= last_wanted(catch_up);

	if (is_wanted && !has_more) {
		slot_put_back(catch_up, slot, "it does not have these records yet");
		return;
	}
	if (is_wanted) {
		slot_move(slot, SLOT_WANTED);
		return;
	}
	slot_move(slot, SLOT_FREE);
	catch_up->first = (catch_up->first + 1) % LIMIT_PULLS_IN_FLIGHT;
	catch_up->used--;
}

static void finish(struct catch_up *catch_up)
{
	move(catch_up, CATCH_UP_IDLE);
	uv_timer_stop(&catch_up->timer);
	leave_peer(catch_up);
	for (uint32_t i = 0; i < LIMIT_PULLS_IN_FLIGHT; i++)
		buffer_close(&catch_up->slots[i].answer);
	log_info("catch_up", "done", "position=%llu records=%llu",
		 (unsigned long long)catch_up->manifest.position,
		 (unsigned long long)(catch_up->manifest.position - catch_up->started_from));
	replica_resume(catch_up->node->replica);
}

static void take_newer(struct catch_up *catch_up)
{
	catch_up->needed = catch_up->worker_needed;
	if (!catch_up->has_newer)
		return;
	catch_up->has_newer = false;
	catch_up->manifest = catch_up->newer;
	log_info("catch_up", "a newer manifest is needed, since the peer has dropped checkpoints",
		 "needed=%llu wanted=%llu", (unsigned long long)catch_up->needed,
		 (unsigned long long)catch_up->manifest.position);
}

static void begin_fetching(struct catch_up *catch_up)
{
	struct store_status status;

	store_get_status(catch_up->node->store, &status);
	catch_up->needed = status.horizon > status.head ? status.horizon : status.head;
	move(catch_up, CATCH_UP_FETCHING);
	catch_up->started_from = catch_up->ingested;
	catch_up->reported_head = catch_up->ingested;
	catch_up->reported_ms = clock_monotonic_ms();
	catch_up->next_from = catch_up->ingested + 1;
	log_info("catch_up", "begins", "head=%llu wanted=%llu",
		 (unsigned long long)catch_up->ingested,
		 (unsigned long long)catch_up->manifest.position);
}

static void work_done(struct node_post *post)
{
	struct catch_up *catch_up = TABLE_ENTRY(post, struct catch_up, post);

	ASSERT(catch_up->working);
	catch_up->working = false;
	if (catch_up->node->stopping)
		return;
	if (catch_up->state == CATCH_UP_FETCHING && catch_up->status == 0)
		take_newer(catch_up);
	if (catch_up->status == -EAGAIN && catch_up->state == CATCH_UP_FETCHING)
		slot_put_back(catch_up, slot_at(catch_up, 0),
			      "it lacks a manifest that fits what it dropped");
	else if (catch_up->status == -EBADMSG && catch_up->state == CATCH_UP_FETCHING)
		slot_refused(catch_up, slot_at(catch_up, 0));
	else if (catch_up->status != 0)
		fail(catch_up);
	else if (catch_up->state == CATCH_UP_ENDING)
		finish(catch_up);
	else if (catch_up->state == CATCH_UP_BEGINNING)
		begin_fetching(catch_up);
	else
		slot_ingested(catch_up, slot_at(catch_up, 0));
	advance(catch_up);
}

/* Whatever can be done now. */
static void advance(struct catch_up *catch_up)
{
	if (catch_up->state != CATCH_UP_FETCHING || catch_up->node->stopping)
		return;
	make_ranges(catch_up);
	ask_what_is_wanted(catch_up);
	if (catch_up->working)
		return;
	if (catch_up->used == 0) {
		move(catch_up, CATCH_UP_ENDING);
		work_start(catch_up);
	} else if (slot_at(catch_up, 0)->state == SLOT_FILLED) {
		slot_move(slot_at(catch_up, 0), SLOT_INGESTING);
		work_start(catch_up);
	}
}

static void look_for_silence(struct catch_up *catch_up, int64_t now)
{
	for (uint32_t i = 0; i < catch_up->used; i++) {
		const struct slot *slot = slot_at(catch_up, i);

		if (slot->state == SLOT_ASKED && now - slot->asked_ms > SILENCE_MS)
			lose_peer(catch_up, "it does not answer");
	}
}

static void report(struct catch_up *catch_up, int64_t now)
{
	uint64_t head = store_head(catch_up->node->store), wanted = catch_up->manifest.position;
	int64_t past_ms = now - catch_up->reported_ms;

	if (past_ms < 1000)
		return;
	catch_up->rate = (head - catch_up->reported_head) * 1000 / (uint64_t)past_ms;
	catch_up->reported_head = head;
	catch_up->reported_ms = now;
	log_info("catch_up", "progress",
		 "head=%llu wanted=%llu percent=%llu records_per_second=%llu",
		 (unsigned long long)head, (unsigned long long)wanted,
		 (unsigned long long)(wanted == 0 ? 100 : head * 100 / wanted),
		 (unsigned long long)catch_up->rate);
}

static void tick(uv_timer_t *timer)
{
	struct catch_up *catch_up = TABLE_ENTRY(timer, struct catch_up, timer);
	int64_t now = clock_monotonic_ms();

	if (catch_up->state != CATCH_UP_FETCHING || catch_up->node->stopping)
		return;
	look_for_silence(catch_up, now);
	if (catch_up->peer_lost != NULL)
		leave_peer(catch_up);
	report(catch_up, now);
	advance(catch_up);
}

/* ---- public ---- */

struct catch_up *catch_up_new(struct node *node)
{
	struct catch_up *catch_up = memory_zeroed(1, sizeof *catch_up);
	int rc = uv_timer_init(node->loop, &catch_up->timer);

	ASSERT(rc == 0);
	catch_up->node = node;
	catch_up->work.run = work_run;
	catch_up->post.run = work_done;
	for (uint32_t i = 0; i < LIMIT_PULLS_IN_FLIGHT; i++) {
		catch_up->slots[i].catch_up = catch_up;
		buffer_init(&catch_up->slots[i].answer);
	}
	return catch_up;
}

static void timer_closed(uv_handle_t *handle)
{
	memory_free(TABLE_ENTRY(handle, struct catch_up, timer));
}

void catch_up_free(struct catch_up *catch_up)
{
	if (catch_up == NULL)
		return;
	ASSERT(!catch_up->working);
	leave_peer(catch_up);
	for (uint32_t i = 0; i < LIMIT_PULLS_IN_FLIGHT; i++)
		buffer_close(&catch_up->slots[i].answer);
	uv_close((uv_handle_t *)&catch_up->timer, timer_closed);
}

void catch_up_pull(struct catch_up *catch_up, const struct manifest *manifest)
{
	if (catch_up->node->stopping)
		return;
	move(catch_up, CATCH_UP_BEGINNING);
	catch_up->manifest = catch_up->asked = *manifest;
	catch_up->has_newer = false;
	catch_up->needed = 0;
	catch_up->ingested = store_head(catch_up->node->store);
	catch_up->peers_tried = 0;
	catch_up->refused_count = 0;
	catch_up->pause_ms = 0;
	catch_up->rate = 0;
	uv_timer_start(&catch_up->timer, tick, TICK_MS, TICK_MS);
	work_start(catch_up);
}

void catch_up_get_status(const struct catch_up *catch_up, struct catch_up_status *status)
{
	*status = (struct catch_up_status){
		.active = catch_up->state != CATCH_UP_IDLE && catch_up->state != CATCH_UP_FAILED,
		.from = catch_up->started_from,
		.head = store_head(catch_up->node->store),
		.wanted = catch_up->manifest.position,
		.records_per_second = catch_up->rate,
	};
}
