#include "raft/disk_watch.h"

#include "base/assert.h"
#include "base/log.h"

#include <inttypes.h>
#include <sys/statvfs.h>

static void look(uv_work_t *work)
{
	struct disk_watch *watch = work->data;
	struct statvfs found;

	if (statvfs(watch->path, &found) == 0)
		watch->found_bytes = (uint64_t)found.f_bavail * found.f_frsize;
}

static void maybe_closed(struct disk_watch *watch)
{
	if (watch->closed != NULL && watch->timer_closed && !watch->working)
		watch->closed(watch->arg);
}

bool disk_watch_judge(bool low, uint64_t free_bytes, uint64_t floor_bytes)
{
	uint64_t margin = floor_bytes / 8;

	if (!low)
		return free_bytes < floor_bytes;
	return free_bytes < floor_bytes || free_bytes - floor_bytes < margin;
}

static void looked(uv_work_t *work, int status)
{
	struct disk_watch *watch = work->data;
	bool low = disk_watch_judge(watch->low, watch->found_bytes, watch->floor_bytes);

	watch->working = false;
	if (status == 0 && low != watch->low) {
		watch->low = low;
		if (low)
			log_error("disk",
				  "free space below the floor: appends and entries are refused",
				  "path=%s free=%" PRIu64 " floor=%" PRIu64, watch->path,
				  watch->found_bytes, watch->floor_bytes);
		else
			log_info("disk", "free space above the floor again",
				 "path=%s free=%" PRIu64, watch->path, watch->found_bytes);
	}
	maybe_closed(watch);
}

static void on_timer(uv_timer_t *timer)
{
	struct disk_watch *watch = timer->data;

	if (watch->working)
		return;
	watch->working = uv_queue_work(timer->loop, &watch->work, look, looked) == 0;
}

void disk_watch_start(struct disk_watch *watch, uv_loop_t *loop, const char *path,
		      uint64_t floor_bytes)
{
	*watch = (struct disk_watch){.path = path, .floor_bytes = floor_bytes};
	watch->found_bytes = floor_bytes;
	watch->work.data = watch;
	uv_timer_init(loop, &watch->timer);
	watch->timer.data = watch;
	uv_timer_start(&watch->timer, on_timer, 0, DISK_WATCH_MS);
}

static void on_timer_closed(uv_handle_t *handle)
{
	struct disk_watch *watch = handle->data;

	watch->timer_closed = true;
	maybe_closed(watch);
}

void disk_watch_close(struct disk_watch *watch, void (*closed)(void *arg), void *arg)
{
	ASSERT(watch->closed == NULL);
	watch->closed = closed;
	watch->arg = arg;
	uv_close((uv_handle_t *)&watch->timer, on_timer_closed);
}
