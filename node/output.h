/*
 * What waits to be sent on one connection: a few buffers, one after the other, for one system call. A
 * large one is taken as it is, small ones share one. Loop thread.
 */
#ifndef NODE_OUTPUT_H
#define NODE_OUTPUT_H

#include "base/buffer.h"

#define OUTPUT_PARTS 32u

struct pages;

struct output {
	struct buffer parts[OUTPUT_PARTS];
	struct buffer spare; /* empty: memory for who gives a buffer */
	uint32_t count;
	size_t bytes; /* of all parts */
};

void output_init(struct output *output);
void output_close(struct output *output);
/* Behind the others; `from` is left empty, with other memory perhaps. */
void output_add(struct output *output, struct buffer *from);
/* Nothing waits any more; large parts go to `pages`. */
void output_clear(struct output *output, struct pages *pages);
/* What is behind the first `skipped` bytes; how many spans that is, OUTPUT_PARTS at most. */
uint32_t output_spans(const struct output *output, size_t skipped, struct span spans[OUTPUT_PARTS]);

#endif
