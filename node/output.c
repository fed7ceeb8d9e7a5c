#include "node/output.h"

#include "base/assert.h"
#include "base/limits.h"
#include "node/pages.h"

#define COPIED_BYTES (4 * KIB)   /* up to it a copy costs less than a part of its own */
#define SPARE_BYTES  (256 * KIB) /* larger memory is not kept for one connection */

void output_init(struct output *output)
{
	*output = (struct output){0};
}

void output_close(struct output *output)
{
	for (uint32_t i = 0; i < output->count; i++)
		buffer_close(&output->parts[i]);
	buffer_close(&output->spare);
	output_init(output);
}

static bool joins_last(const struct output *output, const struct buffer *from)
{
	if (output->count == 0)
		return false;
	const struct buffer *last = &output->parts[output->count - 1];

	return output->count == OUTPUT_PARTS ||
	       (from->size <= COPIED_BYTES && last->capacity - last->size >= from->size);
}

void output_add(struct output *output, struct buffer *from)
{
	if (from->size == 0)
		return;
	output->bytes += from->size;
	if (joins_last(output, from)) {
		buffer_append_span(&output->parts[output->count - 1], buffer_span(from));
		buffer_clear(from);
		return;
	}
	ASSERT(output->count < OUTPUT_PARTS && output->spare.size == 0);
	output->parts[output->count++] = *from;
	*from = output->spare;
	buffer_init(&output->spare);
}

static bool fits_spare(const struct output *output, const struct buffer *part)
{
	return part->capacity <= SPARE_BYTES && part->capacity > output->spare.capacity;
}

void output_clear(struct output *output, struct pages *pages)
{
	for (uint32_t i = 0; i < output->count; i++) {
		struct buffer part = output->parts[i];

		buffer_clear(&part);
		if (fits_spare(output, &part)) {
			output->parts[i] = output->spare;
			output->spare = part;
		}
		pages_give(pages, &output->parts[i]);
	}
	output->count = 0;
	output->bytes = 0;
}

uint32_t output_spans(const struct output *output, size_t skipped, struct span spans[OUTPUT_PARTS])
{
	uint32_t count = 0;

	ASSERT(skipped <= output->bytes);
	for (uint32_t i = 0; i < output->count; i++) {
		const struct buffer *part = &output->parts[i];

		if (skipped < part->size)
			spans[count++] = span_of(part->data + skipped, part->size - skipped);
		skipped -= skipped < part->size ? skipped : part->size;
	}
	return count;
}
