/*
 * The C library's functions on files and directories. What begins with /annal/ is on the disk of the calling
 * process; other paths are real ones, for none of which a node asks.
 */
#include "tests/sim/whole/os.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOT       "/annal"
#define PATH_BYTES 160
#define FREE_BYTES (UINT64_C(1) << 40)
#define BLOCK      4096

static int fail(int problem)
{
	errno = problem;
	return -1;
}

static bool is_ours(const char *path)
{
	return os_current() != NULL && os_current()->disk != NULL &&
	       strncmp(path, ROOT, sizeof ROOT - 1) == 0;
}

static struct os_disk *disk(void)
{
	return os_current()->disk;
}

static struct os_file *disk_file(int fd)
{
	struct os_file *file = os_file(fd);

	return file == NULL || file->kind != OS_FILE_DISK ? NULL : file;
}

/* ---- opening ---- */

static int open_path(const char *path, int flags)
{
	struct os_inode *inode = os_disk_find(disk(), path);

	os_preempt();
	if (inode == NULL && !(flags & O_CREAT))
		return fail(ENOENT);
	if (inode != NULL && (flags & O_CREAT) && (flags & O_EXCL))
		return fail(EEXIST);
	if (inode == NULL)
		inode = os_disk_make(disk(), path, false);
	if ((flags & O_DIRECTORY) && !os_inode_is_directory(inode))
		return fail(ENOTDIR);
	if (flags & O_TRUNC)
		os_inode_truncate(inode, 0);
	int fd = os_file_new(OS_FILE_DISK, flags);

	if (fd < 0)
		return -1;
	os_file(fd)->inode = inode;
	os_file(fd)->path = memory_copy_string(path);
	if (flags & O_APPEND)
		os_file(fd)->at = os_inode_size(inode);
	os_inode_opened(inode);
	return fd;
}

int open(const char *path, int flags, ...)
{
	char clean[PATH_BYTES];
	size_t size = strlen(path);

	if (!is_ours(path))
		return fail(ENOENT);
	while (size > 1 && path[size - 1] == '/')
		size--;
	ASSERT(size < sizeof clean);
	snprintf(clean, sizeof clean, "%.*s", (int)size, path);
	return open_path(clean, flags);
}

int open64(const char *path, int flags, ...)
{
	return open(path, flags);
}

static const char *path_at(int fd, const char *path, char full[PATH_BYTES])
{
	const struct os_file *directory = disk_file(fd);

	if (path[0] == '/' || directory == NULL)
		return path;
	snprintf(full, PATH_BYTES, "%s/%s", directory->path, path);
	return full;
}

int openat(int fd, const char *path, int flags, ...)
{
	char full[PATH_BYTES];

	return open(path_at(fd, path, full), flags);
}

/* ---- reading, writing ---- */

ssize_t pread(int fd, void *into, size_t size, off_t at)
{
	const struct os_file *file = disk_file(fd);

	if (file == NULL)
		return fail(EBADF);
	return (ssize_t)os_inode_read(file->inode, (uint64_t)at, into, size);
}

ssize_t pread64(int fd, void *into, size_t size, off64_t at)
{
	return pread(fd, into, size, at);
}

ssize_t pwrite(int fd, const void *from, size_t size, off_t at)
{
	struct os_file *file = disk_file(fd);

	if (file == NULL)
		return fail(EBADF);
	uint64_t before = file->at;

	file->at = (uint64_t)at;
	ssize_t written = write(fd, from, size);

	file->at = before;
	return written;
}

ssize_t pwrite64(int fd, const void *from, size_t size, off64_t at)
{
	return pwrite(fd, from, size, at);
}

/* What was never written reads as zeros; those that were written count as a hole, too. */
static off_t seek_data(struct os_file *file, uint64_t from)
{
	uint8_t block[BLOCK];
	size_t got;

	for (; (got = os_inode_read(file->inode, from, block, sizeof block)) > 0; from += got)
		for (size_t i = 0; i < got; i++)
			if (block[i] != 0) {
				file->at = from;
				return (off_t)from;
			}
	return fail(ENXIO);
}

off_t lseek(int fd, off_t offset, int whence)
{
	struct os_file *file = disk_file(fd);

	if (file == NULL)
		return fail(EBADF);
	if (whence == SEEK_DATA)
		return seek_data(file, (uint64_t)offset);
	if (whence == SEEK_SET)
		file->at = (uint64_t)offset;
	else if (whence == SEEK_CUR)
		file->at += (uint64_t)offset;
	else
		file->at = os_inode_size(file->inode) + (uint64_t)offset;
	return (off_t)file->at;
}

int ftruncate(int fd, off_t size)
{
	struct os_file *file = disk_file(fd);

	if (file == NULL)
		return fail(EBADF);
	bool grows = (uint64_t)size > os_inode_size(file->inode);
	int problem = grows ? os_disk_problem(disk(), true) : 0;

	if (problem != 0)
		return fail(problem);
	os_inode_truncate(file->inode, (uint64_t)size);
	return 0;
}

int ftruncate64(int fd, off64_t size)
{
	return ftruncate(fd, size);
}

int posix_fallocate(int fd, off_t at, off_t size)
{
	struct os_file *file = disk_file(fd);

	if (file == NULL)
		return EBADF;
	bool grows = (uint64_t)(at + size) > os_inode_size(file->inode);
	int problem = os_disk_problem(disk(), grows);

	if (problem != 0)
		return problem;
	if (grows)
		os_inode_truncate(file->inode, (uint64_t)(at + size));
	return 0;
}

/* As a journaling file system does it: with the file, all names that were changed before. */
int fsync(int fd)
{
	struct os_file *file = disk_file(fd);

	if (file == NULL)
		return fail(EBADF);
	struct os_inode *inode = file->inode;

	os_disk_delay(disk());
	int problem = os_disk_problem(disk(), false);

	if (problem != 0)
		return fail(problem);
	os_inode_sync(inode);
	os_disk_sync_names(disk());
	return 0;
}

int fdatasync(int fd)
{
	return fsync(fd);
}

int flock(int fd, int operation)
{
	struct os_file *file = disk_file(fd);

	if (file == NULL)
		return fail(EBADF);
	if (operation & LOCK_UN) {
		os_inode_unlock(file->inode);
		file->locked = false;
		return 0;
	}
	if (!file->locked && !os_inode_lock(file->inode))
		return fail(EWOULDBLOCK);
	file->locked = true;
	return 0;
}

void *mmap(void *address, size_t size, int protection, int flags, int fd, off_t at)
{
	struct os_file *file = disk_file(fd);

	if (file == NULL)
		return (void *)os_real(SYS_mmap, address, size, protection, flags, fd, at);
	return os_inode_map(file->inode, (uint64_t)at, size);
}

int munmap(void *address, size_t size)
{
	const struct os_process *process = os_current();

	if (process != NULL && process->disk != NULL && os_disk_unmap(process->disk, address))
		return 0;
	return (int)os_real(SYS_munmap, address, size);
}

/* ---- names ---- */

int mkdir(const char *path, mode_t mode)
{
	(void)mode;
	if (!is_ours(path))
		return fail(EACCES);
	if (strcmp(path, ROOT) == 0 || os_disk_find(disk(), path) != NULL)
		return fail(EEXIST);
	os_disk_make(disk(), path, true);
	return 0;
}

int unlink(const char *path)
{
	if (!is_ours(path) || !os_disk_remove(disk(), path))
		return fail(ENOENT);
	return 0;
}

int unlinkat(int fd, const char *path, int flags)
{
	char full[PATH_BYTES];

	(void)flags;
	return unlink(path_at(fd, path, full));
}

int rename(const char *from, const char *to)
{
	if (!is_ours(from) || !os_disk_rename(disk(), from, to))
		return fail(ENOENT);
	return 0;
}

int access(const char *path, int mode)
{
	(void)mode;
	return is_ours(path) && os_disk_find(disk(), path) != NULL ? 0 : fail(ENOENT);
}

static int describe(const struct os_inode *inode, struct stat *into)
{
	if (inode == NULL)
		return fail(ENOENT);
	*into = (struct stat){.st_mode = os_inode_is_directory(inode) ? S_IFDIR | 0700
								      : S_IFREG | 0600,
			      .st_size = (off_t)os_inode_size(inode),
			      .st_blksize = BLOCK};
	into->st_blocks = (into->st_size + 511) / 512;
	return 0;
}

int stat(const char *restrict path, struct stat *restrict into)
{
	return is_ours(path) ? describe(os_disk_find(disk(), path), into) : fail(ENOENT);
}

int stat64(const char *restrict path, struct stat64 *restrict into)
{
	return stat(path, (struct stat *)(void *)into);
}

int lstat(const char *restrict path, struct stat *restrict into)
{
	return stat(path, into);
}

int fstat(int fd, struct stat *into)
{
	const struct os_file *file = disk_file(fd);

	if (file == NULL) { /* a descriptor that is no file: the log asks what stderr is */
		memset(into, 0, sizeof *into);
		return 0;
	}
	return describe(file->inode, into);
}

int fstat64(int fd, struct stat64 *into)
{
	return fstat(fd, (struct stat *)(void *)into);
}

int fstatat(int fd, const char *restrict path, struct stat *restrict into, int flags)
{
	char full[PATH_BYTES];

	(void)flags;
	return stat(path_at(fd, path, full), into);
}

int statvfs(const char *restrict path, struct statvfs *restrict into)
{
	*into = (struct statvfs){.f_bsize = BLOCK, .f_frsize = BLOCK};
	into->f_blocks = FREE_BYTES / BLOCK;
	if (is_ours(path) && !os_disk_is_full(disk()))
		into->f_bfree = into->f_bavail = into->f_blocks;
	return 0;
}

int fstatfs(int fd, struct statfs *into)
{
	(void)fd;
	*into = (struct statfs){.f_type = 0xef53, .f_bsize = BLOCK};
	return 0;
}

char *realpath(const char *restrict path, char *restrict into)
{
	if (!is_ours(path) || os_disk_find(disk(), path) == NULL) {
		errno = ENOENT;
		return NULL;
	}
	if (into == NULL)
		return memory_copy_string(path);
	strcpy(into, path);
	return into;
}

/* ---- directories: as of the moment of opening ---- */

struct names {
	int fd;
	unsigned cursor;
	struct dirent entry;
};

DIR *opendir(const char *path)
{
	int fd = is_ours(path) ? open(path, O_RDONLY | O_DIRECTORY) : fail(ENOENT);

	if (fd < 0)
		return NULL;
	struct names *names = memory_zeroed(1, sizeof *names);

	names->fd = fd;
	return (DIR *)(void *)names;
}

struct dirent *readdir(DIR *directory)
{
	struct names *names = (struct names *)(void *)directory;
	const char *name = os_disk_list(disk(), os_file(names->fd)->path, &names->cursor);

	if (name == NULL)
		return NULL;
	names->entry = (struct dirent){.d_type = DT_UNKNOWN};
	snprintf(names->entry.d_name, sizeof names->entry.d_name, "%s", name);
	return &names->entry;
}

int dirfd(DIR *directory)
{
	return ((struct names *)(void *)directory)->fd;
}

int closedir(DIR *directory)
{
	struct names *names = (struct names *)(void *)directory;

	close(names->fd);
	memory_free(names);
	return 0;
}

int scandir64(const char *restrict path, struct dirent64 ***restrict into,
	      int (*wanted)(const struct dirent64 *entry),
	      int (*compare)(const struct dirent64 **a, const struct dirent64 **b))
{
	struct dirent64 **found = memory_zeroed(1024, sizeof *found);
	int count = 0;
	DIR *directory = opendir(path);
	struct dirent *entry;

	if (directory == NULL) {
		memory_free(found);
		return -1;
	}
	while ((entry = readdir(directory)) != NULL) {
		struct dirent64 *copy = memory_copy(entry, sizeof *entry);

		ASSERT(count < 1024);
		if (wanted == NULL || wanted(copy))
			found[count++] = copy;
		else
			memory_free(copy);
	}
	closedir(directory);
	for (int i = 1; compare != NULL && i < count; i++)
		for (int j = i; j > 0; j--) {
			const struct dirent64 *a = found[j - 1], *b = found[j];

			if (compare(&a, &b) <= 0)
				break;
			struct dirent64 *kept = found[j];
			found[j] = found[j - 1];
			found[j - 1] = kept;
		}
	*into = found;
	return count;
}
