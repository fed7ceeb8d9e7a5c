/*
 * The data of an event: valid JSON of exactly the size asked for, which says what it is and when it was
 * sent; the rest are random letters, so that nothing compresses well.
 *
 *   {"s":"00000012","v":"00000003","t":"00000000001234567890","d":"kZ0…"}
 */
#ifndef TESTS_BENCH_PEERS_PAYLOAD_H
#define TESTS_BENCH_PEERS_PAYLOAD_H

#include <stddef.h>
#include <stdint.h>

#define PAYLOAD_BYTES_MIN 80u
#define PAYLOAD_BYTES_MAX 65536u

struct payload {
	uint32_t stream;
	uint64_t version;
	int64_t sent_ns;
};

void payload_init(void);
/* `size` bytes into `out`. */
void payload_write(char *out, size_t size, const struct payload *payload);
/* Of data that payload_write() made. */
struct payload payload_read(const char *data);

#endif
