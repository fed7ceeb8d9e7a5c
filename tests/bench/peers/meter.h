/* What processes have cost, from /proc: needs no rights but those of their owner. */
#ifndef TESTS_BENCH_PEERS_METER_H
#define TESTS_BENCH_PEERS_METER_H

#include <stdint.h>

#define METER_PROCESSES_MAX 16u

struct meter {
	int64_t at_ns;
	double servers_s, client_s; /* CPU time, with that of their children */
	double busy_s, steal_s;     /* of the whole machine */
	uint64_t written;           /* bytes that the servers made the kernel write */
};

/* The servers; those that have ended are left out. */
void meter_init(const int *processes, uint32_t count);
void meter_read(struct meter *meter);
/* Wait until the servers write no more, at most `seconds`. */
void meter_settle(double seconds);

#endif
