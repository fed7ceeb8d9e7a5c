/* What a power cut would take away. See interpose.h for the format. */
#include "tests/faults/interpose.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

enum record_kind { WRITE = 1, WRITTEN, SYNC, SIZE, CREATED, RENAMED, UNLINKED, SYNC_FOLDER };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t last_sequence;
static int journal = -1;
static char journal_path[INTERPOSE_PATH_MAX];

/*
 * Everything here goes to the kernel past the functions that this library replaces. Inline, since
 * syscall(2) is one of them.
 */
static long kernel(long number, long a, long b, long c, long d)
{
	long answer;
	register long fourth __asm__("r10") = d;

	__asm__ volatile("syscall"
			 : "=a"(answer)
			 : "a"(number), "D"(a), "S"(b), "d"(c), "r"(fourth)
			 : "rcx", "r11", "memory");
	return answer;
}

static int kernel_open(const char *path, int flags, int mode)
{
	return (int)kernel(SYS_openat, AT_FDCWD, (long)path, flags | O_CLOEXEC, mode);
}

static void put(int fd, const void *data, size_t size)
{
	const char *at = data;

	while (size > 0) {
		long written = kernel(SYS_write, fd, (long)at, (long)size, 0);

		if (written == -EINTR)
			continue;
		if (written <= 0)
			abort(); /* a journal with a hole would undo too much */
		at += written;
		size -= (size_t)written;
	}
}

bool journal_is_kept(void)
{
	return journal >= 0;
}

void journal_open(const char *path)
{
	snprintf(journal_path, sizeof journal_path, "%s", path);
	journal = kernel_open(path, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND, 0600);
}

struct entry {
	enum record_kind kind;
	uint64_t inode, offset, size_before, refers_to;
	const char *path;
	const void *old;
	size_t old_bytes;
};

/* Locked. Returns its sequence. */
static uint64_t note(const struct entry *entry)
{
	size_t path_bytes = entry->path != NULL ? strlen(entry->path) : 0;
	uint64_t sequence = ++last_sequence;
	uint64_t head[8] = {entry->kind,      sequence,           entry->inode,     entry->offset,
			    entry->old_bytes, entry->size_before, entry->refers_to, path_bytes};

	put(journal, head, sizeof head);
	put(journal, entry->path, path_bytes);
	put(journal, entry->old, entry->old_bytes);
	return sequence;
}

static uint64_t note_alone(const struct entry *entry)
{
	int saved = errno;

	pthread_mutex_lock(&lock);
	uint64_t sequence = note(entry);

	pthread_mutex_unlock(&lock);
	errno = saved;
	return sequence;
}

static bool look(int fd, struct stat *found)
{
	return kernel(SYS_fstat, fd, (long)found, 0, 0) == 0;
}

static uint64_t inode_of(const char *path)
{
	struct stat found;

	return kernel(SYS_stat, (long)path, (long)&found, 0, 0) == 0 ? found.st_ino : 0;
}

/* The descriptor may be for writing only, or for aligned reads only: a new one. */
static size_t read_old(int fd, uint64_t offset, void *old, size_t size)
{
	char link[64];
	size_t have = 0;

	snprintf(link, sizeof link, "/proc/self/fd/%d", fd);
	int again = kernel_open(link, O_RDONLY, 0);

	while (again >= 0 && have < size) {
		long got = kernel(SYS_pread64, again, (long)old + (long)have, (long)(size - have),
				  (long)(offset + have));

		if (got <= 0)
			break;
		have += (size_t)got;
	}
	if (again >= 0)
		kernel(SYS_close, again, 0, 0, 0);
	return have;
}

static uint64_t note_old(int fd, const char *path, enum record_kind kind, uint64_t offset,
			 uint64_t size)
{
	struct stat found;
	int saved = errno;

	if (!look(fd, &found) || !S_ISREG(found.st_mode))
		return 0;
	uint64_t before = (uint64_t)found.st_size;
	uint64_t end = offset + size < before ? offset + size : before;
	size_t old_bytes = offset < end ? (size_t)(end - offset) : 0;
	void *old = malloc(old_bytes + 1);

	if (old == NULL)
		abort();
	struct entry entry = {.kind = kind,
			      .inode = found.st_ino,
			      .offset = offset,
			      .size_before = before,
			      .refers_to = kind == WRITE ? size : 0,
			      .path = path,
			      .old = old};

	pthread_mutex_lock(&lock);
	entry.old_bytes = read_old(fd, offset, old, old_bytes);
	uint64_t sequence = note(&entry);

	pthread_mutex_unlock(&lock);
	free(old);
	errno = saved;
	return sequence;
}

uint64_t journal_write(int fd, const char *path, uint64_t offset, uint64_t size)
{
	return journal_is_kept() ? note_old(fd, path, WRITE, offset, size) : 0;
}

void journal_written(uint64_t sequence)
{
	if (journal_is_kept() && sequence != 0)
		note_alone(&(struct entry){.kind = WRITTEN, .refers_to = sequence});
}

void journal_resize(int fd, const char *path, uint64_t size)
{
	if (journal_is_kept())
		note_old(fd, path, SIZE, size, UINT64_MAX - size);
}

void journal_created(const char *path)
{
	if (journal_is_kept())
		note_alone(&(struct entry){.kind = CREATED, .inode = inode_of(path), .path = path});
}

/* A second name for what is about to lose its own. */
static void keep(const char *path, uint64_t sequence)
{
	char kept[INTERPOSE_PATH_MAX + 32];

	snprintf(kept, sizeof kept, "%s.%llu", journal_path, (unsigned long long)sequence);
	kernel(SYS_link, (long)path, (long)kept, 0, 0);
}

void journal_rename(const char *from, const char *to)
{
	int saved = errno;

	if (!journal_is_kept())
		return;
	struct entry entry = {.kind = RENAMED,
			      .inode = inode_of(from),
			      .path = from,
			      .old = to,
			      .old_bytes = strlen(to)};

	pthread_mutex_lock(&lock);
	uint64_t sequence = note(&entry);

	keep(to, sequence);
	pthread_mutex_unlock(&lock);
	errno = saved;
}

void journal_unlink(const char *path)
{
	int saved = errno;

	if (!journal_is_kept())
		return;
	pthread_mutex_lock(&lock);
	uint64_t sequence =
		note(&(struct entry){.kind = UNLINKED, .inode = inode_of(path), .path = path});

	keep(path, sequence);
	pthread_mutex_unlock(&lock);
	errno = saved;
}

uint64_t journal_now(void)
{
	pthread_mutex_lock(&lock);
	uint64_t now = last_sequence + 1;

	pthread_mutex_unlock(&lock);
	return now;
}

/* Locked. Through a second file and a rename: the process may be killed in between. */
static void copy_small(int fd, const struct stat *found)
{
	char copy[INTERPOSE_PATH_MAX + 64], unfinished[INTERPOSE_PATH_MAX + 80];
	char data[JOURNAL_COPY_MAX];
	size_t size = read_old(fd, 0, data, sizeof data);

	snprintf(copy, sizeof copy, "%s.inode-%llu", journal_path,
		 (unsigned long long)found->st_ino);
	snprintf(unfinished, sizeof unfinished, "%s.unfinished", copy);
	int to = kernel_open(unfinished, O_WRONLY | O_CREAT | O_TRUNC, 0600);

	if (to < 0)
		abort();
	put(to, data, size);
	kernel(SYS_close, to, 0, 0, 0);
	kernel(SYS_rename, (long)unfinished, (long)copy, 0, 0);
}

void journal_synced(int fd, const char *path, uint64_t covered)
{
	struct stat found;
	int saved = errno;

	if (!journal_is_kept() || !look(fd, &found))
		return;
	struct entry entry = {.kind = S_ISDIR(found.st_mode) ? SYNC_FOLDER : SYNC,
			      .inode = found.st_ino,
			      .refers_to = covered,
			      .path = path};

	pthread_mutex_lock(&lock);
	note(&entry);
	if (entry.kind == SYNC && found.st_size <= JOURNAL_COPY_MAX)
		copy_small(fd, &found);
	pthread_mutex_unlock(&lock);
	errno = saved;
}
