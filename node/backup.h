/*
 * "backup": everything that this node's store holds, in one file on its disk (PROTOCOL, "Cluster and
 * node"; base/backup_file.h).
 *
 *   request ─► a thread of its own, low priority: flush, then store ─► PATH.partial in pieces ─► PATH
 *                    │ each piece: may it go on?                                        │
 *   deadline, session gone, node stopping ─► CANCELLED                 node_post ─► answer
 *
 *            ┌──► CANCELLED   the thread removes PATH.partial
 *   RUNNING ─┤
 *            └──► PUBLISHING  too late: the file appears; a deadline that passes now says "unknown"
 *
 * One at a time. No other thread of the node waits for it, but at the end of the node.
 *
 * What PROTOCOL leaves open:
 * - `path` is absolute, and neither it nor PATH.partial is there. It is not inside the data folder. Any
 *   of that, or a folder that is missing or not writable: INVALID_ARGUMENT, argument "path".
 * - OVERLOADED, reason "backup": another one is running; "catching_up": the node lacks records, or is in no
 *   cluster yet.
 * - `position` of the answer is the head at which it began; `bytes` is the size of the file.
 * - A file system that is also that of the data folder is not filled below disk-free-bytes: INTERNAL, as
 *   for any other error of the file system. Nothing is left of the file then.
 * - When the connection breaks, the backup is given up. (Who only closes its own side gets the answer.)
 */
#ifndef NODE_BACKUP_H
#define NODE_BACKUP_H

#include <stdint.h>

struct node;
struct backup_service;

struct backup_service *backup_service_new(struct node *node);
void backup_service_stop(struct backup_service *service); /* what runs is given up */
/* Wait for its thread: it posts nothing after that. */
void backup_service_join(struct backup_service *service);
void backup_service_free(struct backup_service *service); /* joined, and its posts have run */

struct backup_status {
	uint64_t position, wanted, bytes; /* of the one that runs; 0: none does */
};
void backup_service_get_status(const struct backup_service *service, struct backup_status *status);

#endif
