/* What processes have cost, from /proc: needs no rights but those of their owner. */
#ifndef TESTS_BENCH_PEERS_METER_H
#define TESTS_BENCH_PEERS_METER_H

#include <stdint.h>

#define METER_PROCESSES_MAX 16u

struct meter {
	int64_t at_ns;
	double servers_s, client_s; /* CPU time, with that of their children */
	double busy_s, steal_s;     /* of the whole machine */
	uint64_t dirtied;           /* bytes, as the kernel counts them for the servers */
	uint64_t written;           /* bytes written to the disk, by whomever; 0: not known */
};

/* The servers; those that have ended are left out. */
void meter_init(const int *processes, uint32_t count);
/* A folder on the disk that is meant. */
void meter_init_disk(const char *folder);
void meter_read(struct meter *meter);
/* Wait until the servers write no more, at most `seconds`, and what they wrote is on the disk. */
void meter_settle(double seconds);

#endif
