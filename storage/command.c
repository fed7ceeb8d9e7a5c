/* Commands: encode on the leader (step 5), decode when applied (step 7). */
#include "storage/command.h"

#include "base/assert.h"
#include "base/bytes.h"

#include <errno.h>

#define FORMAT                   1
#define ITEM_HEADER_BYTES        4
#define SECTION_HEADER_BYTES     4
#define EXPECTATION_HEADER_BYTES 16
#define CONDITION_HEADER_BYTES   16
#define CHECKPOINT_HEADER_BYTES  16
#define U24_MAX                  0xffffffu

static_assert(RECORD_BYTES_MAX <= U24_MAX, "a record fits into a section");
static_assert(LIMIT_ENTRY_BYTES_MAX <= UINT32_MAX, "an item's length fits into 32 bits");

/* ---- encoding ---- */

static size_t section_begin(struct buffer *buffer, enum command_section_tag tag)
{
	size_t offset = buffer->size;
	uint8_t *at = buffer_reserve(buffer, SECTION_HEADER_BYTES);

	bytes_set_le32(at, (uint32_t)tag);
	buffer->size += SECTION_HEADER_BYTES;
	return offset;
}

static void section_end(struct buffer *buffer, size_t offset)
{
	size_t content = buffer->size - offset - SECTION_HEADER_BYTES;
	uint8_t *at = buffer->data + offset;

	ASSERT(content <= U24_MAX);
	bytes_set_le32(at, (uint32_t)at[0] | (uint32_t)content << 8);
}

size_t command_item_begin(struct buffer *buffer)
{
	size_t offset = buffer->size;

	bytes_set_le32(buffer_reserve(buffer, ITEM_HEADER_BYTES), 0);
	buffer->size += ITEM_HEADER_BYTES;
	return offset;
}

void command_item_add_expectation(struct buffer *buffer, const struct expectation *expectation)
{
	ASSERT(expectation->stream.size >= 1);
	ASSERT(expectation->stream.size <= RECORD_STREAM_BYTES_MAX);
	size_t section = section_begin(buffer, COMMAND_EXPECTATION);
	uint8_t *at = buffer_reserve(buffer, EXPECTATION_HEADER_BYTES);

	memset(at, 0, EXPECTATION_HEADER_BYTES);
	at[0] = (uint8_t)expectation->kind;
	at[1] = expectation->written;
	bytes_set_le32(at + 4, expectation->index);
	if (expectation->kind == EXPECTATION_VERSION || expectation->kind == EXPECTATION_AT_LEAST)
		bytes_set_le64(at + 8, expectation->version);
	buffer->size += EXPECTATION_HEADER_BYTES;
	buffer_append_span(buffer, expectation->stream);
	section_end(buffer, section);
}

void command_item_add_condition(struct buffer *buffer, uint32_t index, uint64_t after,
				const struct query *query)
{
	size_t section = section_begin(buffer, COMMAND_CONDITION);
	uint8_t *at = buffer_reserve(buffer, CONDITION_HEADER_BYTES);

	bytes_set_le32(at, index);
	bytes_set_le32(at + 4, 0);
	bytes_set_le64(at + 8, after);
	buffer->size += CONDITION_HEADER_BYTES;
	query_encode(query, buffer);
	section_end(buffer, section);
}

void command_item_add_checkpoint(struct buffer *buffer, const uint64_t *if_position,
				 const struct record_fields *fields)
{
	size_t section = section_begin(buffer, COMMAND_CHECKPOINT);
	uint8_t *at = buffer_reserve(buffer, CHECKPOINT_HEADER_BYTES);

	memset(at, 0, CHECKPOINT_HEADER_BYTES);
	at[0] = if_position != NULL;
	if (if_position != NULL)
		bytes_set_le64(at + 8, *if_position);
	buffer->size += CHECKPOINT_HEADER_BYTES;
	record_encode(buffer, fields);
	section_end(buffer, section);
}

void command_item_add_record(struct buffer *buffer, const struct record_fields *fields)
{
	size_t section = section_begin(buffer, COMMAND_RECORD);

	record_encode(buffer, fields);
	section_end(buffer, section);
}

void command_item_end(struct buffer *buffer, size_t item_offset)
{
	ASSERT(item_offset + ITEM_HEADER_BYTES <= buffer->size);
	size_t content = buffer->size - item_offset - ITEM_HEADER_BYTES;

	ASSERT(content <= UINT32_MAX);
	bytes_set_le32(buffer->data + item_offset, (uint32_t)content);
}

void command_header_write(uint8_t *into, enum command_kind kind, uint32_t items, int64_t created)
{
	ASSERT(kind == COMMAND_BATCH || items == 0);
	into[0] = (uint8_t)kind;
	into[1] = FORMAT;
	bytes_set_le16(into + 2, 0);
	bytes_set_le32(into + 4, items);
	bytes_set_le64(into + 8, (uint64_t)created);
}

/* ---- decoding ---- */

/* What may follow what: expectations and conditions, records, one checkpoint. */
static int check_order(uint32_t tag, uint32_t before, uint32_t item, struct error *error)
{
	if (tag < COMMAND_EXPECTATION || tag > COMMAND_CHECKPOINT)
		return error_set(error, -EBADMSG,
				 "command: item %u has a section with tag %u, which this version "
				 "does not know: upgrade this node",
				 item, tag);
	if (before == COMMAND_CHECKPOINT)
		return error_set(error, -EBADMSG,
				 "command: item %u has a section behind its checkpoint", item);
	if (before == COMMAND_RECORD && (tag == COMMAND_EXPECTATION || tag == COMMAND_CONDITION))
		return error_set(
			error, -EBADMSG,
			"command: item %u has an expectation or a condition behind a record", item);
	return 0;
}

static int check_sections(struct span sections, uint32_t item, struct error *error)
{
	uint32_t before = 0;

	while (sections.size > 0) {
		if (sections.size < SECTION_HEADER_BYTES)
			return error_set(error, -EBADMSG, "command: item %u ends inside a section",
					 item);
		uint32_t tag = sections.data[0], size = bytes_le32(sections.data) >> 8;

		int rc = check_order(tag, before, item, error);
		if (rc != 0)
			return rc;
		if (size > sections.size - SECTION_HEADER_BYTES)
			return error_set(
				error, -EBADMSG,
				"command: a section of item %u has %u bytes where %zu are left",
				item, size, sections.size - SECTION_HEADER_BYTES);
		before = tag;
		sections.data += SECTION_HEADER_BYTES + size;
		sections.size -= SECTION_HEADER_BYTES + size;
	}
	return 0;
}

static int check_items(struct span items, uint32_t count, struct error *error)
{
	for (uint32_t item = 0; item < count; item++) {
		if (items.size < ITEM_HEADER_BYTES)
			return error_set(error, -EBADMSG, "command: it ends before item %u of %u",
					 item, count);
		size_t size = bytes_le32(items.data);

		if (size > items.size - ITEM_HEADER_BYTES)
			return error_set(error, -EBADMSG,
					 "command: item %u of %u has %zu bytes where %zu are left",
					 item, count, size, items.size - ITEM_HEADER_BYTES);
		int rc = check_sections(span_of(items.data + ITEM_HEADER_BYTES, size), item, error);
		if (rc != 0)
			return rc;
		items.data += ITEM_HEADER_BYTES + size;
		items.size -= ITEM_HEADER_BYTES + size;
	}
	if (items.size != 0)
		return error_set(error, -EBADMSG, "command: %zu bytes behind the last item",
				 items.size);
	return 0;
}

int command_parse(struct span body, struct command *command, struct error *error)
{
	if (body.size < COMMAND_HEADER_BYTES)
		return error_set(error, -EBADMSG, "command: %zu bytes are too few", body.size);
	uint8_t kind = body.data[0], format = body.data[1];
	uint32_t items = bytes_le32(body.data + 4);

	if (kind != COMMAND_BATCH && kind != COMMAND_TERM)
		return error_set(error, -EBADMSG, "command: unknown kind %u: upgrade this node",
				 kind);
	if (format != FORMAT || bytes_le16(body.data + 2) != 0)
		return error_set(error, -EBADMSG, "command: unknown format %u: upgrade this node",
				 format);
	if (kind == COMMAND_TERM && items != 0)
		return error_set(error, -EBADMSG, "command: a term marker with %u items", items);
	struct span rest =
		span_of(body.data + COMMAND_HEADER_BYTES, body.size - COMMAND_HEADER_BYTES);
	int rc = check_items(rest, items, error);
	if (rc != 0)
		return rc;
	*command = (struct command){
		.kind = kind,
		.item_count = items,
		.created = (int64_t)bytes_le64(body.data + 8),
		.items = rest,
	};
	return 0;
}

int command_parse_expectation(struct span content, struct expectation *expectation,
			      struct error *error)
{
	if (content.size <= EXPECTATION_HEADER_BYTES ||
	    content.size > EXPECTATION_HEADER_BYTES + RECORD_STREAM_BYTES_MAX)
		return error_set(error, -EBADMSG, "command: an expectation of %zu bytes",
				 content.size);
	const uint8_t *at = content.data;

	if (at[0] > EXPECTATION_AT_LEAST || at[1] > 1 || bytes_le16(at + 2) != 0)
		return error_set(error, -EBADMSG, "command: an unknown kind of expectation: %u %u",
				 at[0], at[1]);
	*expectation = (struct expectation){
		.kind = at[0],
		.written = at[1] == 1,
		.index = bytes_le32(at + 4),
		.version = bytes_le64(at + 8),
		.stream = span_of(at + EXPECTATION_HEADER_BYTES,
				  content.size - EXPECTATION_HEADER_BYTES),
	};
	return 0;
}

int command_parse_condition(struct span content, struct condition *condition, struct error *error)
{
	if (content.size <= CONDITION_HEADER_BYTES || bytes_le32(content.data + 4) != 0)
		return error_set(error, -EBADMSG, "command: a condition of %zu bytes is malformed",
				 content.size);
	*condition = (struct condition){
		.index = bytes_le32(content.data),
		.after = bytes_le64(content.data + 8),
		.query = span_of(content.data + CONDITION_HEADER_BYTES,
				 content.size - CONDITION_HEADER_BYTES),
	};
	return 0;
}

int command_parse_checkpoint(struct span content, struct checkpoint_section *checkpoint,
			     struct error *error)
{
	if (content.size <= CHECKPOINT_HEADER_BYTES || bytes_le64(content.data) > 1)
		return error_set(error, -EBADMSG, "command: a checkpoint of %zu bytes is malformed",
				 content.size);
	*checkpoint = (struct checkpoint_section){
		.has_if_position = content.data[0] == 1,
		.if_position = bytes_le64(content.data + 8),
		.record = span_of(content.data + CHECKPOINT_HEADER_BYTES,
				  content.size - CHECKPOINT_HEADER_BYTES),
	};
	return 0;
}

bool command_next_item(struct span *items, struct span *sections)
{
	if (items->size == 0)
		return false;
	ASSERT(items->size >= ITEM_HEADER_BYTES);
	size_t size = bytes_le32(items->data);

	ASSERT(size <= items->size - ITEM_HEADER_BYTES);
	*sections = span_of(items->data + ITEM_HEADER_BYTES, size);
	items->data += ITEM_HEADER_BYTES + size;
	items->size -= ITEM_HEADER_BYTES + size;
	return true;
}

bool command_next_section(struct span *sections, struct command_section *section)
{
	if (sections->size == 0)
		return false;
	ASSERT(sections->size >= SECTION_HEADER_BYTES);
	size_t size = bytes_le32(sections->data) >> 8;

	ASSERT(size <= sections->size - SECTION_HEADER_BYTES);
	section->tag = sections->data[0];
	section->content = span_of(sections->data + SECTION_HEADER_BYTES, size);
	sections->data += SECTION_HEADER_BYTES + size;
	sections->size -= SECTION_HEADER_BYTES + size;
	return true;
}
