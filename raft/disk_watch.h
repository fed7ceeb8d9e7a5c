/*
 * Free space under a directory, looked up each second off the loop: libraft 0.15 must never meet a full
 * disk, so writes are refused before: appends where this node leads, entries where it follows. Below the
 * floor it is low; it is so no more from an eighth above the floor. Loop thread.
 */
#ifndef RAFT_DISK_WATCH_H
#define RAFT_DISK_WATCH_H

#include <stdbool.h>
#include <stdint.h>
#include <uv.h>

#define DISK_WATCH_MS 1000

struct disk_watch {
	uv_timer_t timer;
	uv_work_t work;
	const char *path; /* borrowed */
	uint64_t floor_bytes;
	uint64_t found_bytes; /* by the worker */
	bool low;
	bool working, timer_closed;
	void (*closed)(void *arg);
	void *arg;
};

bool disk_watch_judge(bool low, uint64_t free_bytes, uint64_t floor_bytes);
void disk_watch_start(struct disk_watch *watch, uv_loop_t *loop, const char *path,
		      uint64_t floor_bytes);
void disk_watch_close(struct disk_watch *watch, void (*closed)(void *arg), void *arg);

#endif
