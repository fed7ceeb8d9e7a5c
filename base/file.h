/*
 * Files that are there after a power cut: a name is durable once the directory that holds it is synced.
 * Blocking; any thread. Errors: negative errno with a message that names the file.
 */
#ifndef BASE_FILE_H
#define BASE_FILE_H

#include "base/error.h"
#include "base/span.h"

int file_sync_directory(const char *directory, struct error *error);
/* The directory that holds the name of `path`. */
int file_sync_parent(const char *path, struct error *error);
/*
 * Make `bytes` the content of the file (for its owner alone), whole or not at all: they are written to
 * PATH.new first, which takes the name when it is synced.
 */
int file_replace(const char *path, struct span bytes, struct error *error);

#endif
