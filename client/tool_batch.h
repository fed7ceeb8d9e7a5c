/* Events of a file as the writes of one append: what `annal append --batch` sends. */
#ifndef CLIENT_TOOL_BATCH_H
#define CLIENT_TOOL_BATCH_H

#include "base/error.h"
#include "client/annal.h"

struct tool_batch;

/*
 * Read NDJSON (as `annal import` takes it, also .zst; "-" is standard input). Consecutive lines of one
 * stream are one write; "expected_version" of its first line in the file is that of the stream. 0, or
 * negative with a message that names the line: -EINVAL for what is in the file, others for the file.
 */
int tool_batch_read(struct tool_batch **batch, const char *path, struct error *error);
void tool_batch_free(struct tool_batch *batch); /* NULL is allowed */

/* Valid until the batch is freed. */
const struct annal_write *tool_batch_writes(const struct tool_batch *batch, size_t *count);
size_t tool_batch_events(const struct tool_batch *batch);

#endif
