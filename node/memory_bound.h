/*
 * The memory that a node may take, whatever the load: one table of parts feeds the gauge
 * `memory_bound_bytes` and the page about settings. Memory of its own is meant; pages of the tables that
 * the kernel has mapped are the kernel's, and go when it needs them.
 */
#ifndef NODE_MEMORY_BOUND_H
#define NODE_MEMORY_BOUND_H

#include "base/buffer.h"
#include "node/settings.h"

/* Of all parts, but for what each connection adds. */
uint64_t memory_bound(const struct node_settings *settings);
/* The parts with their sizes by these settings, as a section of markdown. */
void memory_bound_print_markdown(const struct node_settings *settings, struct buffer *into);

#endif
