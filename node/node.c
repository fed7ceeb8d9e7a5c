/*
 * Start: ports, then the data folder, then store, replica and services; whatever fails leaves what was
 * there before as it was. Stop, in steps:
 *
 *   SERVING ──node_stop──► DRAINING ──replica stopped──► ANSWERING ──nothing in flight──► CLOSING ──► GONE
 *              no new        appends in flight are          reads end     (or a second)    output is sent,
 *              connections,  decided, leadership is         connections are                everything is
 *              no new work   handed over                    read no more                   freed, flushed
 */
#include "node/node.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "base/mutant.h"
#include "node/append.h"
#include "node/backup.h"
#include "node/catch_up.h"
#include "node/data_dir.h"
#include "node/deadline.h"
#include "node/listener.h"
#include "node/log_rest.h"
#include "node/notify.h"
#include "node/own_writes.h"
#include "node/read.h"
#include "node/route.h"
#include "node/stats.h"
#include "node/stream.h"
#include "node/write.h"
#include "storage/kv.h"
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#define ANSWERING_MS 1000 /* for what is in flight when the replica has stopped */
#define CLOSING_MS   500  /* for the last answers to leave */
#define STEP_MS      10

enum node_state { NODE_SERVING, NODE_DRAINING, NODE_ANSWERING, NODE_CLOSING, NODE_GONE };

struct node_inside {
	enum node_state state;
	int lock_fd;
	uv_loop_t loop;
	uv_async_t posted;
	struct mailbox posts;
	uv_prepare_t turn; /* forgets the cached status, keeps the wheel of deadlines turning */
	uv_timer_t wheel;  /* active while a request waits */
	uv_timer_t step;   /* while stopping */
	uv_signal_t signals[2];
	int64_t step_until_ms;
	bool status_is_fresh;
	struct replica_status status;
};

/* ---- posts ---- */

static void run_posts(struct node_inside *inside)
{
	struct mail *mail = mailbox_take_all(&inside->posts);

	while (mail != NULL) {
		struct node_post *post = (struct node_post *)mail; /* its first member */

		mail = mail->next;
		post->run(post);
	}
}

static void on_posted(uv_async_t *async)
{
	run_posts(async->data);
}

static void wake_loop(void *arg)
{
	uv_async_send(arg);
}

void node_post(struct node *node, struct node_post *post)
{
	ASSERT(post->run != NULL);
	mailbox_put(&node->inside->posts, &post->mail);
}

/* ---- the turn of the loop ---- */

const struct replica_status *node_replica_status(struct node *node)
{
	struct node_inside *inside = node->inside;

	if (!inside->status_is_fresh && node->replica != NULL)
		replica_get_status(node->replica, &inside->status);
	inside->status_is_fresh = true;
	return &inside->status;
}

static void on_wheel(uv_timer_t *timer)
{
	struct node *node = timer->data;

	deadlines_advance(node->deadlines, clock_monotonic_ms());
	own_writes_check(node->own_writes, clock_monotonic_ms());
	if (node->deadlines->count == 0)
		uv_timer_stop(timer);
}

static void on_turn(uv_prepare_t *prepare)
{
	struct node *node = prepare->data;
	struct node_inside *inside = node->inside;

	inside->status_is_fresh = false;
	if (node->deadlines->count > 0 && !uv_is_active((uv_handle_t *)&inside->wheel))
		uv_timer_start(&inside->wheel, on_wheel, DEADLINE_TICK_MS, DEADLINE_TICK_MS);
}

/* ---- what the replica tells ---- */

_Noreturn void node_fail(struct node *node, const struct error *error)
{
	(void)node;
	log_error("node", "stopped: it cannot go on", "reason=\"%s\"", error->message);
	_exit(NODE_EXIT_FAILED);
}

static void on_fail(void *arg, const struct error *error)
{
	if (MUTANT(FAILED_WRITE_IGNORED))
		return;
	node_fail(arg, error);
}

static void on_changed(void *arg)
{
	struct node *node = arg;

	node->inside->status_is_fresh = false;
	if (node->inside->state >= NODE_ANSWERING)
		return;
	router_changed(node->router);
	notifier_role_changed(node->notifier);
}

static void on_applied(void *arg, uint64_t first, uint64_t last)
{
	struct node *node = arg;

	notifier_applied(node->notifier, first, last);
	own_writes_advance(node->own_writes);
}

static void on_pull(void *arg, const struct manifest *manifest)
{
	struct node *node = arg;

	catch_up_pull(node->catch_up, manifest);
}

/* ---- start ---- */

static enum node_exit bind_ports(const struct node_settings *settings, int *client_fd,
				 struct error *error)
{
	int peer_fd;

	if (listener_bind(&settings->client_address, "client-listen", client_fd, error) != 0)
		return NODE_EXIT_PORT;
	/* The replica listens there later: this is to know in time. */
	if (listener_bind(&settings->peer_address, "peer-listen", &peer_fd, error) != 0) {
		close(*client_fd);
		return NODE_EXIT_PORT;
	}
	close(peer_fd);
	return NODE_EXIT_OK;
}

static enum node_exit exit_of_store(int status)
{
	return status == -EBADMSG ? NODE_EXIT_DAMAGE : NODE_EXIT_DIRECTORY;
}

static enum node_exit exit_of_replica(int status)
{
	switch (status) {
	case -EADDRINUSE:
	case -EADDRNOTAVAIL:
		return NODE_EXIT_PORT;
	case -EBADMSG:
		return NODE_EXIT_DAMAGE;
	case -EEXIST:
		return NODE_EXIT_OTHER;
	case -EINVAL:
		return NODE_EXIT_USAGE;
	default:
		return NODE_EXIT_DIRECTORY;
	}
}

static enum node_exit open_store(struct node *node, struct error *error)
{
	char path[SETTING_TEXT_BYTES + 16];
	const struct kv_lmdb_options kv_options = {.path = path, .create = true};
	struct store_options options = {.tail_bytes_max = node->settings.tail_bytes};

	snprintf(path, sizeof path, "%s/store", node->settings.data_dir);
	int status = kv_lmdb_open(&options.kv, &kv_options, error);

	if (status == 0)
		status = store_open(&node->store, &options, error);
	if (status != 0)
		return exit_of_store(status);
	struct store_identity identity;

	if (store_get_identity(node->store, &identity, error) == 0 &&
	    identity.node_id != node->settings.node_id) {
		error_set(error, -EEXIST, "%s holds the data of node %llu, this is node %llu",
			  node->settings.data_dir, (unsigned long long)identity.node_id,
			  (unsigned long long)node->settings.node_id);
		store_close(node->store);
		return NODE_EXIT_OTHER;
	}
	return NODE_EXIT_OK;
}

static int begin_loop(struct node *node, struct error *error)
{
	struct node_inside *inside = node->inside;
	uv_loop_t *loop = &inside->loop;
	int status = uv_loop_init(loop);

	if (status != 0)
		return error_set_errno(error, -status, "an event loop cannot be had");
	node->loop = loop;
	uv_async_init(loop, &inside->posted, on_posted);
	inside->posted.data = inside;
	mailbox_init(&inside->posts, wake_loop, &inside->posted);
	uv_prepare_init(loop, &inside->turn);
	inside->turn.data = node;
	uv_prepare_start(&inside->turn, on_turn);
	uv_timer_init(loop, &inside->wheel);
	inside->wheel.data = node;
	uv_timer_init(loop, &inside->step);
	inside->step.data = node;
	for (size_t i = 0; i < 2; i++) {
		uv_signal_init(loop, &inside->signals[i]);
		inside->signals[i].data = node;
	}
	return 0;
}

static void begin_services(struct node *node)
{
	const struct flusher_options flusher = {.store = node->store,
						.tail_bytes = node->settings.tail_bytes / 2,
						.age_ms = LIMIT_FLUSH_AGE_MS,
						.failed = on_fail,
						.arg = node};

	node->counters = memory_zeroed(1, sizeof *node->counters);
	node->deadlines = deadlines_new(clock_monotonic_ms());
	node->flusher = flusher_new(&flusher);
	node->workers = workers_new((uint32_t)node->settings.read_threads, "annal-read");
	node->appends = append_service_new(node);
	node->router = router_new(node);
	node->own_writes = own_writes_new(node);
	node->reader = reader_new(node);
	node->notifier = notifier_new(node);
	node->log_rest = log_rest_new(node);
	node->catch_up = catch_up_new(node);
	node->backup = backup_service_new(node);
}

static int start_replica(struct node *node, struct error *error)
{
	const struct node_settings *settings = &node->settings;
	struct replica_options options = {
		.loop = node->loop,
		.store = node->store,
		.flusher = node->flusher,
		.data_dir = settings->data_dir,
		.cluster_name = settings->cluster_name,
		.node_id = settings->node_id,
		.peer_listen = settings->peer_address,
		.election_timeout_ms = settings->election_timeout_ms,
		.heartbeat_ms = settings->heartbeat_ms,
		.pack_log = settings->pack_log,
		.log_retained_bytes = settings->log_retained_bytes,
		.log_trailing_bytes = settings->log_trailing_bytes,
		.segment_bytes = settings->segment_bytes,
		.disk_free_bytes = settings->disk_free_bytes,
		.arg = node,
		.changed = on_changed,
		.applied = on_applied,
		.pull = on_pull,
		.fail = on_fail,
	};

	snprintf(options.peer_advertise, sizeof options.peer_advertise, "%.*s",
		 ADDRESS_TEXT_BYTES - 1, settings->peer_advertise);
	snprintf(options.client_advertise, sizeof options.client_advertise, "%.*s",
		 ADDRESS_TEXT_BYTES - 1, settings->client_advertise);
	snprintf(options.initial_members, sizeof options.initial_members, "%s",
		 settings->initial_members);
	return replica_start(&node->replica, &options, error);
}

/* The process ends after it: what runs is left alone, but the files are closed properly. */
static enum node_exit give_up(struct node *node, enum node_exit code)
{
	flusher_free(node->flusher);
	store_close(node->store);
	return code;
}

static enum node_exit start_locked(struct node *node, int client_fd, struct error *error)
{
	enum node_exit code = open_store(node, error);

	if (code != NODE_EXIT_OK) {
		close(client_fd);
		return code;
	}
	if (begin_loop(node, error) != 0) {
		close(client_fd);
		store_close(node->store);
		return NODE_EXIT_FAILED;
	}
	begin_services(node);
	int status = start_replica(node, error);

	if (status != 0) {
		close(client_fd);
		return give_up(node, exit_of_replica(status));
	}
	if (listener_new(&node->listener, node, client_fd, error) != 0)
		return give_up(node, NODE_EXIT_PORT);
	return NODE_EXIT_OK;
}

enum node_exit node_start(struct node **node, const struct node_settings *settings,
			  struct error *error)
{
	struct node *made;
	int lock_fd, client_fd;

	int status = data_dir_check(settings->data_dir, settings->cluster_name, &lock_fd, error);

	if (status != 0)
		return status == -EXDEV ? NODE_EXIT_OTHER : NODE_EXIT_DIRECTORY;
	enum node_exit code = bind_ports(settings, &client_fd, error);

	if (code != NODE_EXIT_OK)
		return code;
	if (data_dir_make(settings->data_dir, settings->cluster_name, &lock_fd, error) != 0)
		return NODE_EXIT_DIRECTORY;
	made = memory_zeroed(1, sizeof *made);
	made->inside = memory_zeroed(1, sizeof *made->inside);
	made->inside->lock_fd = lock_fd;
	made->settings = *settings;
	made->started_ms = clock_monotonic_ms();
	code = start_locked(made, client_fd, error);
	if (code != NODE_EXIT_OK)
		return code;
	log_info("node", "started", "version=%s client=%s peer=%s data=%s head=%llu", ANNAL_VERSION,
		 settings->client_advertise, settings->peer_advertise, settings->data_dir,
		 (unsigned long long)store_head(made->store));
	*node = made;
	return NODE_EXIT_OK;
}

/* ---- stop ---- */

static void move_to(struct node *node, enum node_state state)
{
	ASSERT(state == node->inside->state + 1);
	node->inside->state = state;
}

static void close_handles(struct node_inside *inside)
{
	uv_timer_stop(&inside->wheel);
	uv_close((uv_handle_t *)&inside->turn, NULL);
	uv_close((uv_handle_t *)&inside->wheel, NULL);
	uv_close((uv_handle_t *)&inside->step, NULL);
	uv_close((uv_handle_t *)&inside->posted, NULL);
	uv_close((uv_handle_t *)&inside->signals[0], NULL);
	uv_close((uv_handle_t *)&inside->signals[1], NULL);
}

/* Sessions, then those who work for them, then what they stand on. */
static void take_down(struct node *node)
{
	move_to(node, NODE_GONE);
	streams_kill_all(listener_streams(node->listener));
	workers_free(node->workers);
	backup_service_stop(node->backup);
	backup_service_join(node->backup);
	run_posts(node->inside);
	backup_service_free(node->backup);
	catch_up_free(node->catch_up);
	log_rest_free(node->log_rest);
	reader_free(node->reader);
	notifier_free(node->notifier);
	router_free(node->router);
	own_writes_free(node->own_writes);
	append_service_free(node->appends);
	listener_free(node->listener);
	deadlines_free(node->deadlines);
	close_handles(node->inside);
}

static void on_step(uv_timer_t *timer)
{
	struct node *node = timer->data;
	struct node_inside *inside = node->inside;
	struct streams *streams = listener_streams(node->listener);
	bool over = clock_monotonic_ms() >= inside->step_until_ms;

	if (inside->state == NODE_ANSWERING) {
		if (!over && streams_requests_in_flight(streams) > 0)
			return;
		move_to(node, NODE_CLOSING);
		inside->step_until_ms = clock_monotonic_ms() + CLOSING_MS;
		streams_close_all(streams);
	} else if (over || streams_count(streams) == 0) {
		take_down(node);
	}
}

static void on_replica_stopped(void *arg)
{
	struct node *node = arg;
	struct node_inside *inside = node->inside;

	move_to(node, NODE_ANSWERING);
	streams_stop_reading(listener_streams(node->listener));
	inside->step_until_ms = clock_monotonic_ms() + ANSWERING_MS;
	uv_timer_start(&inside->step, on_step, 0, STEP_MS);
}

void node_stop(struct node *node)
{
	if (node->stopping)
		return;
	log_info("node", "stopping", "");
	node->stopping = true;
	move_to(node, NODE_DRAINING);
	listener_stop(node->listener);
	notifier_stop(node->notifier);
	backup_service_stop(node->backup);
	replica_stop(node->replica, NODE_GRACE_MS, on_replica_stopped, node);
}

static void on_signal(uv_signal_t *handle, int number)
{
	struct node *node = handle->data;

	(void)number;
	if (node->stopping)
		_exit(NODE_EXIT_SIGNAL);
	node_stop(node);
}

void node_stop_on_signals(struct node *node)
{
	uv_signal_start(&node->inside->signals[0], on_signal, SIGTERM);
	uv_signal_start(&node->inside->signals[1], on_signal, SIGINT);
}

void node_run(struct node *node)
{
	struct node_inside *inside = node->inside;

	uv_run(node->loop, UV_RUN_DEFAULT);
	ASSERT(inside->state == NODE_GONE);
	replica_free(node->replica);
	flusher_free(node->flusher);
	store_close(node->store);
	mailbox_close(&inside->posts);
	int status = uv_loop_close(node->loop);

	if (status != 0)
		log_debug("node", "a handle was left open", "reason=\"%s\"", uv_strerror(status));
	close(inside->lock_fd);
	request_free_spare(node);
	write_free_spare(node);
	memory_free(node->counters);
	memory_free(inside);
	memory_free(node);
	log_info("node", "stopped", "");
}
