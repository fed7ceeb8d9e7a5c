#include "base/text.h"

#include "base/assert.h"
#include "base/limits.h"

#define HIGH_BITS UINT64_C(0x8080808080808080)

/* The second byte's bounds tell overlong forms, surrogates and code points beyond U+10FFFF apart.
 */
static bool second_byte_fits(uint8_t lead, uint8_t second)
{
	switch (lead) {
	case 0xe0:
		return second >= 0xa0 && second <= 0xbf;
	case 0xed:
		return second >= 0x80 && second <= 0x9f;
	case 0xf0:
		return second >= 0x90 && second <= 0xbf;
	case 0xf4:
		return second >= 0x80 && second <= 0x8f;
	default:
		return second >= 0x80 && second <= 0xbf;
	}
}

/* The size of the well-formed character at `at`, 0 if there is none. */
static size_t character_size(const uint8_t *at, size_t left)
{
	uint8_t lead = at[0];
	size_t size = lead < 0x80 ? 1 : lead < 0xc2 ? 0 : lead < 0xe0 ? 2 : lead < 0xf0 ? 3 : 4;

	if (lead > 0xf4 || size == 0 || size > left)
		return 0;
	if (size > 1 && !second_byte_fits(lead, at[1]))
		return 0;
	for (size_t i = 2; i < size; i++)
		if ((at[i] & 0xc0) != 0x80)
			return 0;
	return size;
}

bool text_is_utf8(struct span text)
{
	size_t at = 0;

	ASSERT(text.data != NULL || text.size == 0);
	while (at < text.size) {
		uint64_t eight;

		if (text.size - at >= sizeof eight) {
			memcpy(&eight, text.data + at, sizeof eight);
			if ((eight & HIGH_BITS) == 0) {
				at += sizeof eight;
				continue;
			}
		}
		size_t size = character_size(text.data + at, text.size - at);

		if (size == 0)
			return false;
		at += size;
	}
	return true;
}

/* Of well-formed text: U+0000-001F, U+007F, and U+0080-009F, which are 0xc2 0x80-0x9f. */
static bool has_control_character(struct span text)
{
	for (size_t i = 0; i < text.size; i++) {
		uint8_t byte = text.data[i];

		if (byte < 0x20 || byte == 0x7f)
			return true;
		if (byte == 0xc2 && text.data[i + 1] < 0xa0)
			return true;
	}
	return false;
}

const char *text_stream_name_problem(struct span name)
{
	static_assert(LIMIT_STREAM_NAME_BYTES == 1024, "the message below says so");

	if (name.size == 0)
		return "is empty";
	if (name.size > LIMIT_STREAM_NAME_BYTES)
		return "is longer than 1024 bytes";
	if (!text_is_utf8(name))
		return "is not well-formed UTF-8";
	if (has_control_character(name))
		return "contains a control character";
	if (name.data[0] == '$')
		return "begins with '$', which is reserved for the system";
	return NULL;
}

const char *text_label_problem(struct span label)
{
	static_assert(LIMIT_TYPE_BYTES == 255 && LIMIT_TAG_BYTES == 255, "one rule for both");

	if (label.size == 0)
		return "is empty";
	if (label.size > LIMIT_TYPE_BYTES)
		return "is longer than 255 bytes";
	if (!text_is_utf8(label))
		return "is not well-formed UTF-8";
	return NULL;
}

struct span text_category(struct span stream)
{
	const uint8_t *dash = stream.size > 0 ? memchr(stream.data, '-', stream.size) : NULL;

	ASSERT(stream.data != NULL || stream.size == 0);
	return dash == NULL ? stream : span_of(stream.data, (size_t)(dash - stream.data));
}
