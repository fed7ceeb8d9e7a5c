#include "node/backup.h"

#include "base/assert.h"
#include "base/clock.h"
#include "base/log.h"
#include "base/memory.h"
#include "node/methods.h"
#include "node/node.h"
#include "node/table.h"
#include "storage/backup.h"
#include <errno.h>
#include <inttypes.h>
#include <limits.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define FLUSH_WAIT_MS    60000
#define NICE             5
#define IO_PRIORITY_OF   1         /* IOPRIO_WHO_PROCESS; 0: this thread */
#define IO_CLASS_IDLE    (3 << 13) /* IOPRIO_CLASS_IDLE: when nobody else wants the disk */
#define FREE_MORE_BYTES  (64 * MIB)
#define PACE_REST        3
#define PACE_REST_MAX_US 100000

enum backup_phase { BACKUP_RUNNING, BACKUP_PUBLISHING, BACKUP_CANCELLED };

struct backup_service {
	struct node *node;
	struct request *request; /* NULL: none runs */
	pthread_t thread;
	bool joined;
	char path[PATH_MAX];
	atomic_int phase; /* enum backup_phase */
	_Atomic uint64_t position, wanted, bytes;
	int64_t began_ms;
	/* Of the thread, until its post runs: */
	struct backup_progress progress;
	bool shares_disk; /* with the data folder */
	uint64_t seen_head;
	int64_t worked_us; /* processor time, as of the last rest */
	int status;
	struct error error;
	struct node_post post;
};

/* ---- on its thread ---- */

static void lower_priority(void)
{
	pid_t thread = (pid_t)syscall(SYS_gettid);

	/*
	 * Neither is needed for a right backup, only for a polite one. Not the lowest: it holds locks of
	 * the store for moments, and who starves with one in its hands makes apply wait. What it takes is
	 * bounded by its pace.
	 */
	(void)setpriority(PRIO_PROCESS, (id_t)thread, NICE);
	(void)syscall(SYS_ioprio_set, IO_PRIORITY_OF, 0, IO_CLASS_IDLE);
}

/* The folder that the file goes to. */
static void folder_of(const char *path, char folder[PATH_MAX])
{
	const char *slash = strrchr(path, '/');

	ASSERT(slash != NULL);
	snprintf(folder, PATH_MAX, "%.*s", slash == path ? 1 : (int)(slash - path), path);
}

static int check_place(struct backup_service *service, struct error *error)
{
	const char *data_dir = service->node->settings.data_dir;
	char folder[PATH_MAX], real[PATH_MAX], real_data[PATH_MAX];
	struct stat target, data;

	folder_of(service->path, folder);
	if (realpath(folder, real) == NULL || stat(real, &target) < 0)
		return error_set_errno(error, errno, "%s", folder);
	if (realpath(data_dir, real_data) == NULL || stat(real_data, &data) < 0)
		return error_set_errno(error, EIO, "%s", data_dir);
	size_t size = strlen(real_data);

	if (strncmp(real, real_data, size) == 0 && (real[size] == '\0' || real[size] == '/'))
		return error_set(error, -EINVAL,
				 "%s is inside the data folder of this node: give a path elsewhere",
				 service->path);
	service->shares_disk = target.st_dev == data.st_dev;
	return 0;
}

/* Applied index, position and hash belong together in what a flush has made durable. */
static int flush_first(struct backup_service *service, struct error *error)
{
	struct node *node = service->node;
	struct store_status status;

	store_get_status(node->store, &status);
	if (status.ingesting)
		return error_set(error, -EBUSY, "this node lacks records and is catching up");
	if (status.applied_index == 0)
		return 0;
	int rc = flusher_wait(node->flusher, status.applied_index, FLUSH_WAIT_MS);

	return rc == 0 ? 0
		       : error_set(error, rc, "the store did not become durable in time: %s",
				   strerror(-rc));
}

/* Processor time of this thread. */
static int64_t thread_time_us(void)
{
	struct timespec time;

	if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time) != 0)
		return 0;
	return (int64_t)time.tv_sec * 1000000 + time.tv_nsec / 1000;
}

static bool is_cancelled(struct backup_service *service)
{
	return atomic_load(&service->phase) == BACKUP_CANCELLED;
}

/* The node stops taking appends when its disk is nearly full: a backup must not be what fills it. */
static bool leaves_room(struct backup_service *service)
{
	struct statvfs disk;

	if (!service->shares_disk || statvfs(service->node->settings.data_dir, &disk) < 0)
		return true;
	return (uint64_t)disk.f_bavail * disk.f_frsize >=
	       service->node->settings.disk_free_bytes + FREE_MORE_BYTES;
}

/* While appends come in, it rests PACE_REST times as long as it has worked: they share disk and caches. */
static void pace(struct backup_service *service)
{
	uint64_t head = store_head(service->node->store);
	int64_t now_us = thread_time_us(), rest_us = (now_us - service->worked_us) * PACE_REST;
	bool busy = head != service->seen_head;

	service->seen_head = head;
	if (busy && rest_us > 0)
		usleep(rest_us < PACE_REST_MAX_US ? (useconds_t)rest_us : PACE_REST_MAX_US);
	service->worked_us = thread_time_us();
}

static bool go_on(void *arg, const struct backup_progress *progress)
{
	struct backup_service *service = arg;

	atomic_store(&service->position, progress->position);
	atomic_store(&service->wanted, progress->wanted);
	atomic_store(&service->bytes, progress->bytes);
	if (is_cancelled(service))
		return false;
	if (leaves_room(service)) {
		pace(service);
		return true;
	}
	service->status = error_set(&service->error, -ENOSPC,
				    "the disk of the data folder would have less than "
				    "disk-free-bytes left: back up to another one, or make room");
	return false;
}

static bool publish(void *arg)
{
	struct backup_service *service = arg;
	int running = BACKUP_RUNNING;

	return atomic_compare_exchange_strong(&service->phase, &running, BACKUP_PUBLISHING);
}

static int run(struct backup_service *service, struct error *error)
{
	const struct backup_options options = {
		.path = service->path, .go_on = go_on, .publish = publish, .arg = service};
	int rc = check_place(service, error);

	if (rc == 0)
		rc = flush_first(service, error);
	if (rc == 0)
		rc = backup_write(service->node->store, &options, &service->progress, error);
	return rc;
}

static void *thread_run(void *arg)
{
	struct backup_service *service = arg;
	struct error error;

	pthread_setname_np(pthread_self(), "annal-backup");
	lower_priority();
	int rc = run(service, &error);

	/* go_on may have said why it gave up. */
	if (rc != 0 && service->status == 0) {
		service->status = rc;
		if (rc != -ECANCELED)
			service->error = error;
	}
	node_post(service->node, &service->post);
	return NULL;
}

/* ---- on the loop ---- */

static void answer_result(struct backup_service *service)
{
	struct buffer result;

	buffer_init(&result);
	msgpack_write_map(&result, 3);
	msgpack_write_string(&result, "path");
	msgpack_write_string(&result, service->path);
	msgpack_write_string(&result, "position");
	msgpack_write_u64(&result, service->progress.position);
	msgpack_write_string(&result, "bytes");
	msgpack_write_u64(&result, service->progress.bytes);
	request_answer_result(service->request, buffer_span(&result));
	buffer_close(&result);
}

static void answer_failure(struct backup_service *service)
{
	struct request *request = service->request;
	const char *message = service->error.message;

	switch (service->status) {
	case -ECANCELED:
		request_answer_error(request, ANSWER_SHUTTING_DOWN,
				     "this node is stopping; nothing is left of the backup");
		break;
	case -EBUSY:
	case -ENODATA:
		request_answer_retry(request, ANSWER_OVERLOADED, "catching_up", message);
		break;
	case -EEXIST:
	case -EINVAL:
	case -ENOENT:
	case -ENOTDIR:
	case -EISDIR:
	case -EACCES:
	case -EPERM:
	case -EROFS:
	case -ELOOP:
	case -ENAMETOOLONG:
		request_answer_invalid(request, "path", "%s", message);
		break;
	default:
		request_answer_error(request, ANSWER_INTERNAL, "%s", message);
		break;
	}
}

static void log_end(const struct backup_service *service)
{
	long long took_ms = (long long)(clock_monotonic_ms() - service->began_ms);

	if (service->status == 0)
		log_info("backup", "done",
			 "path=\"%s\" position=%" PRIu64 " bytes=%" PRIu64 " ms=%lld",
			 service->path, service->progress.position, service->progress.bytes,
			 took_ms);
	else if (service->status == -ECANCELED)
		log_info("backup", "given up", "path=\"%s\" ms=%lld", service->path, took_ms);
	else
		log_warn("backup", "failed", "path=\"%s\" reason=\"%s\" ms=%lld", service->path,
			 service->error.message, took_ms);
}

static void thread_done(struct node_post *post)
{
	struct backup_service *service = TABLE_ENTRY(post, struct backup_service, post);
	struct request *request = service->request;

	log_end(service);
	request->ended = NULL;
	if (service->status == 0)
		answer_result(service);
	else
		answer_failure(service);
	service->request = NULL;
	request_release(request);
}

/* Its deadline has passed, or nobody waits for it any more. */
static void request_ended(struct request *request)
{
	struct backup_service *service = request->handler;

	ASSERT(service->request == request);
	backup_service_stop(service);
	request->maybe_proposed = atomic_load(&service->phase) == BACKUP_PUBLISHING;
}

/* true: the path can be tried. */
static bool take_path(struct request *request, char path[PATH_MAX])
{
	struct span given = {0};

	if (!request_arg_str(request, "path", &given))
		return false;
	if (given.size == 0 || given.data[0] != '/' || given.data[given.size - 1] == '/' ||
	    memchr(given.data, '\0', given.size) != NULL) {
		request_answer_invalid(request, "path",
				       "path must be the absolute path of a file to be made on "
				       "this node");
		return false;
	}
	if (given.size >= PATH_MAX - 16) {
		request_answer_invalid(request, "path", "path is longer than %d bytes",
				       PATH_MAX - 17);
		return false;
	}
	memcpy(path, given.data, given.size);
	path[given.size] = '\0';
	return true;
}

static void begin(struct backup_service *service, struct request *request)
{
	/* Of the last one: it ended long ago, and nobody waited for so slow a thread then. */
	backup_service_join(service);
	service->request = request;
	service->status = 0;
	service->progress = (struct backup_progress){0};
	service->shares_disk = false;
	service->seen_head = 0;
	service->worked_us = 0;
	service->began_ms = clock_monotonic_ms();
	service->post.run = thread_done;
	atomic_store(&service->phase, BACKUP_RUNNING);
	atomic_store(&service->position, 0);
	atomic_store(&service->wanted, 0);
	atomic_store(&service->bytes, 0);
	request->handler = service;
	request->ended = request_ended;
	log_info("backup", "begins", "path=\"%s\" head=%" PRIu64, service->path,
		 store_head(service->node->store));
	int failed = pthread_create(&service->thread, NULL, thread_run, service);

	service->joined = failed != 0;
	if (failed == 0)
		return;
	service->status = error_set_errno(&service->error, failed, "cannot begin a thread");
	thread_done(&service->post);
}

void method_backup(struct request *request)
{
	struct backup_service *service = request->node->backup;
	char path[PATH_MAX];

	if (!take_path(request, path)) {
		request_release(request);
		return;
	}
	if (service->request != NULL) {
		request_answer_retry(request, ANSWER_OVERLOADED, "backup",
				     "another backup is running on this node");
		request_release(request);
		return;
	}
	memcpy(service->path, path, strlen(path) + 1);
	begin(service, request);
}

/* ---- life ---- */

struct backup_service *backup_service_new(struct node *node)
{
	struct backup_service *service = memory_zeroed(1, sizeof *service);

	service->node = node;
	service->joined = true;
	return service;
}

void backup_service_stop(struct backup_service *service)
{
	int running = BACKUP_RUNNING;

	(void)atomic_compare_exchange_strong(&service->phase, &running, BACKUP_CANCELLED);
}

void backup_service_join(struct backup_service *service)
{
	if (service->joined)
		return;
	int failed = pthread_join(service->thread, NULL);

	ASSERT(failed == 0);
	service->joined = true;
}

void backup_service_free(struct backup_service *service)
{
	ASSERT(service->joined && service->request == NULL);
	memory_free(service);
}

void backup_service_get_status(const struct backup_service *service, struct backup_status *status)
{
	*status = (struct backup_status){0};
	if (service->request == NULL)
		return;
	status->position = atomic_load(&service->position);
	status->wanted = atomic_load(&service->wanted);
	status->bytes = atomic_load(&service->bytes);
}
