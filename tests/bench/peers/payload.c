#include "tests/bench/peers/payload.h"

#include "base/assert.h"
#include "base/random.h"

#include <string.h>

#define LETTERS_BYTES (2 * PAYLOAD_BYTES_MAX)

/* Where the numbers begin, and how many digits they have. */
enum { STREAM_AT = 6, STREAM_DIGITS = 8 };
enum { VERSION_AT = 21, VERSION_DIGITS = 8 };
enum { TIME_AT = 36, TIME_DIGITS = 20 };
static const char head[] =
	"{\"s\":\"00000000\",\"v\":\"00000000\",\"t\":\"00000000000000000000\",\"d\":\"";

static char letters[LETTERS_BYTES];
static uint64_t state;

/* xorshift: good enough to choose where the letters begin, and cheap. */
static uint64_t next_random(void)
{
	state ^= state << 13;
	state ^= state >> 7;
	state ^= state << 17;
	return state;
}

void payload_init(void)
{
	static const char set[] = "abcdefghijklmnopqrstuvwxyz0123456789"
				  "ABCDEFGHIJKLMNOPQRSTUVWXYZ-_";

	state = random_u64() | 1;
	for (size_t i = 0; i < sizeof letters; i++)
		letters[i] = set[next_random() & 63];
}

static void write_number(char *out, uint32_t digits, uint64_t number)
{
	for (uint32_t i = digits; i-- > 0; number /= 10)
		out[i] = (char)('0' + number % 10);
}

static uint64_t read_number(const char *digits, uint32_t count)
{
	uint64_t number = 0;

	for (uint32_t i = 0; i < count; i++)
		number = number * 10 + (uint64_t)(digits[i] - '0');
	return number;
}

void payload_write(char *out, size_t size, const struct payload *payload)
{
	const size_t head_size = sizeof head - 1;

	ASSERT(size >= PAYLOAD_BYTES_MIN && size <= PAYLOAD_BYTES_MAX);
	memcpy(out, head, head_size);
	write_number(out + STREAM_AT, STREAM_DIGITS, payload->stream);
	write_number(out + VERSION_AT, VERSION_DIGITS, payload->version);
	write_number(out + TIME_AT, TIME_DIGITS, (uint64_t)payload->sent_ns);
	memcpy(out + head_size, letters + next_random() % PAYLOAD_BYTES_MAX, size - head_size - 2);
	memcpy(out + size - 2, "\"}", 2);
}

struct payload payload_read(const char *data)
{
	return (struct payload){.stream = (uint32_t)read_number(data + STREAM_AT, STREAM_DIGITS),
				.version = read_number(data + VERSION_AT, VERSION_DIGITS),
				.sent_ns = (int64_t)read_number(data + TIME_AT, TIME_DIGITS)};
}
