/*
 * Version 7: 48 bits of milliseconds, the version, a counter of 12 bits, the variant, 62 random
 * bits. The counter starts somewhere in its lower half each millisecond; when it is used up, or the
 * clock has gone back, the next ids take their milliseconds from the future.
 */
#include "base/uuid.h"

#include "base/assert.h"
#include "base/bytes.h"
#include "base/clock.h"
#include "base/random.h"

#define COUNTER_MAX   0xfffu
#define COUNTER_START 0x7ffu

void uuid7_generate(uint8_t id[UUID_BYTES])
{
	static _Thread_local uint64_t last_ms;
	static _Thread_local uint32_t counter;
	uint64_t now_ms = (uint64_t)clock_realtime_ns() / 1000000;
	uint64_t random[2];

	random_bytes(random, sizeof random);
	if (now_ms <= last_ms && counter < COUNTER_MAX) {
		counter++;
	} else {
		last_ms = now_ms > last_ms ? now_ms : last_ms + 1;
		counter = (uint32_t)(random[1] & COUNTER_START);
	}
	ASSERT(last_ms < UINT64_C(1) << 48);
	bytes_set_be64(id, last_ms << 16 | 0x7000 | counter);
	bytes_set_be64(id + 8, random[0] >> 2 | UINT64_C(1) << 63);
}

static bool has_dash_before(int byte)
{
	return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const uint8_t id[UUID_BYTES], char text[UUID_TEXT_BYTES])
{
	static const char digits[] = "0123456789abcdef";
	char *at = text;

	for (int i = 0; i < UUID_BYTES; i++) {
		if (has_dash_before(i))
			*at++ = '-';
		*at++ = digits[id[i] >> 4];
		*at++ = digits[id[i] & 0x0f];
	}
	*at++ = '\0';
	ASSERT(at == text + UUID_TEXT_BYTES);
}

/* The digit's value, or -1. */
static int hex_value(char digit)
{
	if (digit >= '0' && digit <= '9')
		return digit - '0';
	if (digit >= 'a' && digit <= 'f')
		return digit - 'a' + 10;
	if (digit >= 'A' && digit <= 'F')
		return digit - 'A' + 10;
	return -1;
}

bool uuid_parse(const char *text, uint8_t id[UUID_BYTES])
{
	uint8_t parsed[UUID_BYTES];

	ASSERT(text != NULL);
	for (int i = 0; i < UUID_BYTES; i++) {
		if (has_dash_before(i) && *text++ != '-')
			return false;
		int high = hex_value(text[0]);
		int low = high < 0 ? -1 : hex_value(text[1]);

		if (low < 0)
			return false;
		parsed[i] = (uint8_t)(high << 4 | low);
		text += 2;
	}
	if (*text != '\0')
		return false;
	memcpy(id, parsed, sizeof parsed);
	return true;
}
