#include "base/file.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <unistd.h>

int file_sync_directory(const char *directory, struct error *error)
{
	int file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	int status = 0;

	if (file < 0)
		return error_set_errno(error, errno, "cannot open the directory %s", directory);
	if (fsync(file) != 0)
		status = error_set_errno(error, errno, "cannot sync the directory %s", directory);
	close(file);
	return status;
}

int file_sync_parent(const char *path, struct error *error)
{
	char directory[PATH_MAX];
	const char *slash = strrchr(path, '/');

	if (slash == NULL)
		return file_sync_directory(".", error);
	if ((size_t)(slash - path) + 1 >= sizeof directory)
		return error_set(error, -ENAMETOOLONG, "%.100s…: the path is too long", path);
	memcpy(directory, path, (size_t)(slash - path) + 1);
	directory[slash - path + 1] = '\0';
	return file_sync_directory(directory, error);
}

static int write_synced(const char *path, struct span bytes, struct error *error)
{
	int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
	int status = 0;

	if (file < 0)
		return error_set_errno(error, errno, "cannot create %s", path);
	ssize_t written = write(file, bytes.data, bytes.size);

	if (written != (ssize_t)bytes.size)
		status = error_set_errno(error, written < 0 ? errno : ENOSPC, "cannot write %s",
					 path);
	else if (fsync(file) != 0)
		status = error_set_errno(error, errno, "cannot sync %s", path);
	close(file);
	return status;
}

int file_replace(const char *path, struct span bytes, struct error *error)
{
	char aside[PATH_MAX];
	int size = snprintf(aside, sizeof aside, "%s.new", path);

	if ((size_t)size >= sizeof aside)
		return error_set(error, -ENAMETOOLONG, "%.100s…: the path is too long", path);
	int status = write_synced(aside, bytes, error);

	if (status == 0 && rename(aside, path) != 0)
		status = error_set_errno(error, errno, "cannot rename %s", aside);
	return status == 0 ? file_sync_parent(path, error) : status;
}
