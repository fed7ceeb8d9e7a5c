#include "node/data_dir.h"

#include "base/assert.h"
#include "base/settings.h"
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define PATH_BYTES (SETTING_TEXT_BYTES + 16)

static void path_in(const char *dir, const char *name, char path[PATH_BYTES])
{
	int size = snprintf(path, PATH_BYTES, "%s/%s", dir, name);

	ASSERT(size > 0 && size < PATH_BYTES);
}

/* 0: empty, or with marks of ours. */
static int check_entries(const char *dir, DIR *opened, struct error *error)
{
	struct dirent *entry;
	bool empty = true, ours = false;

	while ((entry = readdir(opened)) != NULL) {
		if (strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0)
			continue;
		empty = false;
		ours |= strcmp(entry->d_name, "lock") == 0 || strcmp(entry->d_name, "store") == 0;
	}
	if (empty || ours)
		return 0;
	return error_set(error, -EEXIST,
			 "%s is not empty, and not a data folder of annald: give an empty one",
			 dir);
}

static int lock_file(const char *path, int flags, int *lock_fd, struct error *error)
{
	char pid[32] = "";
	int fd = open(path, O_RDWR | O_CLOEXEC | flags, 0600);

	if (fd < 0)
		return error_set_errno(error, errno, "cannot open %s", path);
	if (flock(fd, LOCK_EX | LOCK_NB) == 0) {
		*lock_fd = fd;
		return 0;
	}
	int problem = errno;
	ssize_t size = pread(fd, pid, sizeof pid - 1, 0);

	close(fd);
	if (problem != EWOULDBLOCK)
		return error_set_errno(error, problem, "cannot lock %s", path);
	pid[size > 0 ? strcspn(pid, "\n") : 0] = '\0';
	return error_set(error, -EBUSY, "%s: the folder is in use by another annald (process %s)",
			 path, pid[0] != '\0' ? pid : "unknown");
}

/* The line in a file; empty when there is none. */
static int read_line(const char *path, char *line, size_t room, struct error *error)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	line[0] = '\0';
	if (fd < 0 && errno == ENOENT)
		return 0;
	if (fd < 0)
		return error_set_errno(error, errno, "cannot open %s", path);
	ssize_t size = read(fd, line, room - 1);

	close(fd);
	if (size < 0)
		return error_set_errno(error, EIO, "cannot read %s", path);
	line[size] = '\0';
	line[strcspn(line, "\n")] = '\0';
	return 0;
}

int data_dir_cluster(const char *path, char *name, size_t size, struct error *error)
{
	char name_path[PATH_BYTES];

	path_in(path, "cluster", name_path);
	return read_line(name_path, name, size, error);
}

/* 0 also when there is no name yet. */
static int check_name(const char *path, const char *cluster_name, struct error *error)
{
	char name[SETTING_TEXT_BYTES + 1];
	int status = data_dir_cluster(path, name, sizeof name, error);

	if (status != 0 || name[0] == '\0' || strcmp(name, cluster_name) == 0)
		return status;
	return error_set(error, -EXDEV,
			 "%s holds the data of cluster \"%.100s\", this node is of cluster "
			 "\"%.100s\" (cluster-name)",
			 path, name, cluster_name);
}

/* Nothing that was begun to be done to it may be unfinished, but for `mark`. */
static int check_mark(const char *path, const char *mark, struct error *error)
{
	char mark_path[PATH_BYTES], found[32];

	path_in(path, "unfinished", mark_path);
	if (access(mark_path, F_OK) != 0)
		return errno == ENOENT ? 0
				       : error_set_errno(error, errno, "look for %s", mark_path);
	int status = read_line(mark_path, found, sizeof found, error);

	/* An empty one: it was cut off before anything was done. */
	if (status != 0 || found[0] == '\0' || (mark != NULL && strcmp(found, mark) == 0))
		return status;
	if (strcmp(found, DATA_DIR_RECOVER) == 0)
		return error_set(error, -EUCLEAN,
				 "%s: a recovery of this folder was not finished: run the same "
				 "annald recover again",
				 path);
	return error_set(error, -EUCLEAN,
			 "%s: a restore into this folder was not finished, its data is not whole: "
			 "remove the folder and restore again",
			 path);
}

int data_dir_check_marked(const char *path, const char *cluster_name, const char *mark,
			  int *lock_fd, struct error *error)
{
	char lock_path[PATH_BYTES];
	DIR *opened = opendir(path);

	*lock_fd = -1;
	if (opened == NULL && errno == ENOENT)
		return 0;
	if (opened == NULL)
		return error_set_errno(error, errno, "cannot read the data folder %s", path);
	int status = check_entries(path, opened, error);

	closedir(opened);
	if (status != 0)
		return status;
	status = check_name(path, cluster_name, error);
	if (status == 0)
		status = check_mark(path, mark, error);
	if (status != 0)
		return status;
	if (access(path, W_OK | X_OK) != 0)
		return error_set_errno(error, errno, "cannot write into the data folder %s", path);
	path_in(path, "lock", lock_path);
	if (access(lock_path, F_OK) != 0)
		return 0;
	return lock_file(lock_path, 0, lock_fd, error);
}

int data_dir_check(const char *path, const char *cluster_name, int *lock_fd, struct error *error)
{
	return data_dir_check_marked(path, cluster_name, NULL, lock_fd, error);
}

int data_dir_check_empty(const char *path, struct error *error)
{
	DIR *opened = opendir(path);
	struct dirent *entry;
	bool empty = true;

	if (opened == NULL && errno == ENOENT)
		return 0;
	if (opened == NULL)
		return error_set_errno(error, errno, "cannot read the data folder %s", path);
	while ((entry = readdir(opened)) != NULL)
		empty &= strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0;
	closedir(opened);
	return empty ? 0
		     : error_set(error, -ENOTEMPTY,
				 "%s is not empty: give a folder that is empty or not there yet",
				 path);
}

/* The directory with its parents. */
static int make_directories(const char *path, struct error *error)
{
	char part[PATH_BYTES];

	snprintf(part, sizeof part, "%s", path);
	for (char *slash = strchr(part + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
		*slash = '\0';
		if (mkdir(part, 0755) != 0 && errno != EEXIST)
			return error_set_errno(error, errno, "cannot make %s", part);
		*slash = '/';
	}
	if (mkdir(path, 0700) != 0 && errno != EEXIST)
		return error_set_errno(error, errno, "cannot make the data folder %s", path);
	return 0;
}

/* A name that is cut short by a crash is no harm: an empty one is none. */
static int write_line(int fd, const char *path, const char *line, struct error *error)
{
	if (ftruncate(fd, 0) != 0 || dprintf(fd, "%s\n", line) < 0)
		return error_set_errno(error, errno, "cannot write %s", path);
	return 0;
}

static int write_name(const char *path, const char *cluster_name, struct error *error)
{
	char name_path[PATH_BYTES];

	path_in(path, "cluster", name_path);
	if (access(name_path, F_OK) == 0)
		return 0;
	int fd = open(name_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set_errno(error, errno, "cannot make %s", name_path);
	int status = write_line(fd, name_path, cluster_name, error);

	close(fd);
	return status;
}

int data_dir_make(const char *path, const char *cluster_name, int *lock_fd, struct error *error)
{
	char lock_path[PATH_BYTES], pid[32];
	int status = make_directories(path, error);

	if (status != 0)
		return status;
	path_in(path, "lock", lock_path);
	if (*lock_fd < 0)
		status = lock_file(lock_path, O_CREAT, lock_fd, error);
	if (status != 0)
		return status;
	/* For people only: the lock itself is the kernel's. */
	snprintf(pid, sizeof pid, "%ld", (long)getpid());
	status = write_line(*lock_fd, lock_path, pid, error);
	if (status != 0)
		return status;
	return write_name(path, cluster_name, error);
}

/* ---- the mark ---- */

static int sync_file(const char *path, int flags, struct error *error)
{
	int fd = open(path, flags | O_CLOEXEC);
	int status = fd < 0 || fsync(fd) != 0
			     ? error_set_errno(error, errno, "cannot sync %s", path)
			     : 0;

	if (fd >= 0)
		close(fd);
	return status;
}

int data_dir_mark(const char *path, const char *mark, struct error *error)
{
	char mark_path[PATH_BYTES];

	path_in(path, "unfinished", mark_path);
	int fd = open(mark_path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);

	if (fd < 0)
		return error_set_errno(error, errno, "cannot make %s", mark_path);
	int status = write_line(fd, mark_path, mark, error);

	close(fd);
	if (status == 0)
		status = sync_file(mark_path, O_RDONLY, error);
	return status != 0 ? status : sync_file(path, O_RDONLY | O_DIRECTORY, error);
}

int data_dir_unmark(const char *path, struct error *error)
{
	char mark_path[PATH_BYTES];
	int status = sync_file(path, O_RDONLY | O_DIRECTORY, error);

	path_in(path, "unfinished", mark_path);
	if (status == 0 && unlink(mark_path) != 0)
		status = error_set_errno(error, errno, "cannot remove %s", mark_path);
	return status != 0 ? status : sync_file(path, O_RDONLY | O_DIRECTORY, error);
}
