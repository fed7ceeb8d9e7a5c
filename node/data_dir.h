/*
 * The data directory of a node: who may use it. At the start only; touches files.
 *
 *   DIR/lock      locked as long as a node runs; holds its process id
 *   DIR/cluster   the name of the cluster, so that a node is not started for another one by mistake
 *   DIR/store     the tables (LMDB)
 *   DIR/raft, DIR/hardstate, DIR/peers   the replica's
 *   DIR/unfinished   what is being done to it while no node runs: no node starts on it meanwhile, nor
 *                    after that was cut off
 */
#ifndef NODE_DATA_DIR_H
#define NODE_DATA_DIR_H

#include "base/error.h"

#include <stddef.h>

/*
 * Look at the directory without changing anything: 0 when it may be used or made. *lock_fd is the lock,
 * or -1 when there is none yet. -ENOTDIR, -EACCES; -EEXIST: it is somebody else's; -EBUSY: another
 * process uses it; -EXDEV: it is of a cluster of another name.
 */
int data_dir_check(const char *path, const char *cluster_name, int *lock_fd, struct error *error);
/* Make what is missing, and lock it if *lock_fd is -1. */
int data_dir_make(const char *path, const char *cluster_name, int *lock_fd, struct error *error);

/* ---- for what is done to it while no node runs ---- */

#define DATA_DIR_RESTORE "restore"
#define DATA_DIR_RECOVER "recover"

/* 0 when it does not exist or has nothing in it; -ENOTEMPTY. */
int data_dir_check_empty(const char *path, struct error *error);
/* data_dir_check for one that is there, possibly with this mark. */
int data_dir_check_marked(const char *path, const char *cluster_name, const char *mark,
			  int *lock_fd, struct error *error);
/* The name of the cluster; empty when there is none. */
int data_dir_cluster(const char *path, char *name, size_t size, struct error *error);
/* Durable when they return. */
int data_dir_mark(const char *path, const char *mark, struct error *error);
int data_dir_unmark(const char *path, struct error *error);

#endif
