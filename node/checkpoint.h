/*
 * Checkpoints: how far consumers have come (PROTOCOL, section "Checkpoints"; storage/system.h). Writes go
 * the way of write.h, reads that of read.h.
 *
 * What PROTOCOL leaves open:
 * - a consumer is named by the rules for stream names.
 * - no epoch is epoch 0: it is fenced off by any that was stored.
 * - a checkpoint that was never stored, or deleted, is at position 0 with epoch 0.
 */
#ifndef NODE_CHECKPOINT_H
#define NODE_CHECKPOINT_H

#include "node/request.h"

void method_checkpoint_put(struct request *request);
void method_checkpoint_get(struct request *request);
void method_checkpoint_list(struct request *request);
void method_checkpoint_delete(struct request *request);

#endif
