/*
 * libuv's work off the loop. Its own threads serve every loop of a process, here of all nodes: each piece of
 * work gets a fiber of its node instead, which ends with the node. The end is told by a handle of the
 * loop's, as libuv does it.
 */
#include "tests/sim/whole/os.h"

#include <netdb.h>
#include <uv.h>

struct job {
	uv_async_t done; /* first */
	uv_work_t *work;
	uv_getaddrinfo_t *resolve;
	uv_work_cb run;
	uv_after_work_cb after;
	uv_getaddrinfo_cb resolved;
	struct addrinfo *found;
	int status;
	char host[64], service[16];
};

static void on_closed(uv_handle_t *handle)
{
	struct job *job = (struct job *)handle;
	struct job ended = *job;

	memory_free(job);
	if (ended.work != NULL)
		ended.after(ended.work, 0);
	else
		ended.resolved(ended.resolve, ended.status, ended.found);
}

static void on_done(uv_async_t *async)
{
	uv_close((uv_handle_t *)async, on_closed);
}

static void *run(void *arg)
{
	struct job *job = arg;

	if (job->work != NULL)
		job->run(job->work);
	else if (getaddrinfo(job->host, job->service, NULL, &job->found) != 0)
		job->status = UV_EAI_NONAME;
	uv_async_send(&job->done);
	return NULL;
}

static void start(uv_loop_t *loop, struct job *job)
{
	int status = uv_async_init(loop, &job->done, on_done);

	ASSERT(status == 0);
	struct os_fiber *fiber = os_fiber_new(os_current(), run, job);

	os_fiber_name(fiber, "work");
	os_fiber_detach(fiber);
}

int uv_queue_work(uv_loop_t *loop, uv_work_t *work, uv_work_cb run_work, uv_after_work_cb after)
{
	struct job *job = memory_zeroed(1, sizeof *job);

	job->work = work;
	job->run = run_work;
	job->after = after;
	start(loop, job);
	return 0;
}

int uv_getaddrinfo(uv_loop_t *loop, uv_getaddrinfo_t *resolve, uv_getaddrinfo_cb resolved,
		   const char *host, const char *service, const struct addrinfo *hints)
{
	struct job *job = memory_zeroed(1, sizeof *job);

	(void)hints;
	ASSERT(resolved != NULL);
	job->resolve = resolve;
	job->resolved = resolved;
	snprintf(job->host, sizeof job->host, "%s", host);
	snprintf(job->service, sizeof job->service, "%s", service);
	start(loop, job);
	return 0;
}

void uv_freeaddrinfo(struct addrinfo *info)
{
	if (info != NULL)
		freeaddrinfo(info);
}

/* What was begun runs to its end. */
int uv_cancel(uv_req_t *request)
{
	(void)request;
	return UV_EBUSY;
}
