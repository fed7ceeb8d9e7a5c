/*
 * Values for tests, written down: {stream: 'x', events: [{type: 'T', data: b'a' * 16, id: nil}]}.
 * Keys and strings in single quotes (keys may go without), b'…' is bin, 'a' * 5 repeats, integers,
 * true, false, nil, float (one of 1.5). \xNN in strings.
 */
#ifndef TESTS_NOTATION_H
#define TESTS_NOTATION_H

#include "base/assert.h"
#include "base/msgpack.h"

#include <ctype.h>
#include <stdlib.h>

static void notation_write(struct buffer *into, const char **at);

static inline char notation_peek(const char **at)
{
	while (**at == ' ')
		(*at)++;
	return **at;
}

static inline void notation_take(const char **at, char wanted)
{
	char found = notation_peek(at);

	ASSERT(found == wanted);
	(*at)++;
}

static inline void notation_write_string(struct buffer *into, const char **at, bool bin)
{
	struct buffer text = {0}, all = {0};
	unsigned long times = 1;

	notation_take(at, '\'');
	while (**at != '\'') {
		unsigned char byte = (unsigned char)*(*at)++;

		if (byte == '\\') {
			char digits[3] = {(*at)[1], (*at)[2], '\0'};

			ASSERT((*at)[0] == 'x');
			byte = (unsigned char)strtoul(digits, NULL, 16);
			*at += 3;
		}
		buffer_append(&text, &byte, 1);
	}
	(*at)++;
	if (notation_peek(at) == '*') {
		(*at)++;
		times = strtoul(*at, (char **)(uintptr_t)at, 10);
	}
	for (unsigned long i = 0; i < times; i++)
		buffer_append_span(&all, buffer_span(&text));
	if (bin)
		msgpack_write_bin(into, buffer_span(&all));
	else
		msgpack_write_str(into, buffer_span(&all));
	buffer_close(&text);
	buffer_close(&all);
}

/* An identifier, or a key without quotes. */
static inline struct span notation_word(const char **at)
{
	const char *begin = *at;

	while (isalnum((unsigned char)**at) || **at == '_')
		(*at)++;
	ASSERT(*at > begin);
	return span_of(begin, (size_t)(*at - begin));
}

static inline void notation_write_members(struct buffer *into, const char **at, char end, bool map)
{
	struct buffer inside = {0};
	uint32_t count = 0;

	while (notation_peek(at) != end) {
		if (map && **at != '\'' && !isdigit((unsigned char)**at))
			msgpack_write_str(&inside, notation_word(at));
		else if (map)
			notation_write(&inside, at);
		if (map)
			notation_take(at, ':');
		notation_write(&inside, at);
		count++;
		if (notation_peek(at) == ',')
			(*at)++;
	}
	(*at)++;
	if (map)
		msgpack_write_map(into, count);
	else
		msgpack_write_array(into, count);
	buffer_append_span(into, buffer_span(&inside));
	buffer_close(&inside);
}

static inline void notation_write_word(struct buffer *into, const char **at)
{
	struct span word = notation_word(at);

	if (span_equal_string(word, "nil"))
		msgpack_write_nil(into);
	else if (span_equal_string(word, "float"))
		msgpack_write_double(into, 1.5);
	else
		msgpack_write_bool(into, span_equal_string(word, "true"));
}

static void notation_write(struct buffer *into, const char **at)
{
	char first = notation_peek(at);

	if (first == '{' || first == '[') {
		(*at)++;
		notation_write_members(into, at, first == '{' ? '}' : ']', first == '{');
	} else if (first == '\'') {
		notation_write_string(into, at, false);
	} else if (first == 'b' && (*at)[1] == '\'') {
		(*at)++;
		notation_write_string(into, at, true);
	} else if (first == '-') {
		msgpack_write_i64(into, strtoll(*at, (char **)(uintptr_t)at, 10));
	} else if (isdigit((unsigned char)first)) {
		msgpack_write_u64(into, strtoull(*at, (char **)(uintptr_t)at, 10));
	} else {
		notation_write_word(into, at);
	}
}

/* The value that the text stands for, appended. */
static inline void notation_append(struct buffer *into, const char *text)
{
	notation_write(into, &text);
	ASSERT(notation_peek(&text) == '\0');
}

#endif
