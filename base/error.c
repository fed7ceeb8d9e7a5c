#include "base/error.h"

#include "base/assert.h"
#include "base/text.h"
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

/* Messages travel as UTF-8 strings: a cut must not leave half a character at the end. */
static void drop_half_character(char *message)
{
	size_t size = strlen(message);
	size_t tail = 0; /* continuation bytes at the end */

	while (tail < size && tail < 3 && ((uint8_t)message[size - 1 - tail] & 0xc0) == 0x80)
		tail++;
	if (tail == size)
		return;
	uint8_t lead = (uint8_t)message[size - 1 - tail];
	size_t wanted = lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : lead >= 0xc0 ? 1 : 0;

	if (tail < wanted)
		message[size - 1 - tail] = '\0';
}

/* What a message quotes may be the bytes of a damaged file: a person reads it, on a terminal. */
static void make_readable(char *message)
{
	bool is_text = text_is_utf8(span_of_string(message));

	for (uint8_t *at = (uint8_t *)message; *at != '\0'; at++)
		if ((*at < ' ' && *at != '\n' && *at != '\t') || *at == 0x7f ||
		    (*at >= 0x80 && !is_text))
			*at = '?';
}

/* Formats aside first: the arguments may point into the message that is replaced. */
__attribute__((format(printf, 2, 0))) static void format_into(struct error *error,
							      const char *format, va_list args)
{
	char message[ERROR_MESSAGE_BYTES];
	int size = vsnprintf(message, sizeof message, format, args);

	ASSERT(size >= 0);
	if ((size_t)size >= sizeof message)
		drop_half_character(message);
	make_readable(message);
	memcpy(error->message, message, strlen(message) + 1);
}

/* Put `separator` and `text` behind the message. */
static void append(struct error *error, const char *separator, const char *text)
{
	size_t size = strlen(error->message);
	size_t room = sizeof error->message - size;
	int wanted = snprintf(error->message + size, room, "%s%s", separator, text);

	ASSERT(wanted >= 0);
	if ((size_t)wanted >= room)
		drop_half_character(error->message);
}

int error_set(struct error *error, int code, const char *format, ...)
{
	va_list args;

	ASSERT(error != NULL && code < 0);
	va_start(args, format);
	format_into(error, format, args);
	va_end(args);
	return code;
}

int error_set_errno(struct error *error, int errno_value, const char *format, ...)
{
	char text[128];
	va_list args;

	ASSERT(error != NULL && errno_value > 0);
	va_start(args, format);
	format_into(error, format, args);
	va_end(args);
	append(error, ": ", strerror_r(errno_value, text, sizeof text));
	return -errno_value;
}

void error_prefix(struct error *error, const char *format, ...)
{
	struct error old = *error;
	va_list args;

	va_start(args, format);
	format_into(error, format, args);
	va_end(args);
	append(error, ": ", old.message);
}
