/*
 * The data directory of a node: who may use it. At the start only; touches files.
 *
 *   DIR/lock      locked as long as a node runs; holds its process id
 *   DIR/cluster   the name of the cluster, so that a node is not started for another one by mistake
 *   DIR/store     the tables (LMDB)
 *   DIR/raft, DIR/hardstate, DIR/peers   the replica's
 */
#ifndef NODE_DATA_DIR_H
#define NODE_DATA_DIR_H

#include "base/error.h"

/*
 * Look at the directory without changing anything: 0 when it may be used or made. *lock_fd is the lock,
 * or -1 when there is none yet. -ENOTDIR, -EACCES; -EEXIST: it is somebody else's; -EBUSY: another
 * process uses it; -EXDEV: it is of a cluster of another name.
 */
int data_dir_check(const char *path, const char *cluster_name, int *lock_fd, struct error *error);
/* Make what is missing, and lock it if *lock_fd is -1. */
int data_dir_make(const char *path, const char *cluster_name, int *lock_fd, struct error *error);

#endif
