/*
 * One line of an import: {"stream": …, "type": …, "id"?: UUID, "data"?: any JSON, "metadata"?: any
 * JSON, "tags"?: [text…]}. Data is kept as the line has it, byte by byte; for what is no JSON there
 * are data_text (the text of a JSON string) and data_base64, and the same of metadata.
 * "expected_version" counts for `annal append --batch` alone. Other keys are ignored.
 */
#ifndef CLIENT_TOOL_LINE_H
#define CLIENT_TOOL_LINE_H

#include "base/buffer.h"
#include "base/error.h"
#include "client/annal.h"

/* Offsets in `bytes`, so that many lines can share one buffer that grows. */
struct tool_line {
	uint8_t id[ANNAL_ID_BYTES];
	bool has_id;
	size_t stream_at, type_at; /* zero-terminated */
	size_t data_at, data_size;
	size_t metadata_at, metadata_size;
	size_t tags_at; /* one after the other, each zero-terminated */
	size_t tags_count;
	bool has_expect;
	struct annal_expect expect;
};

/* 0, or -EINVAL with a message that says what is wrong and what is wanted; then `bytes` is as it
 * was. A line without id gets one that depends on its text and `number` alone. */
int tool_line_parse(struct span text, uint64_t number, struct tool_line *line, struct buffer *bytes,
		    struct error *error);

#endif
