# Benchmark of a whole cluster, from outside.
#
#   make bench     three fresh nodes on this machine   BENCH_FLAGS="--file history.ndjson.zst --times 5"

BENCH_FLAGS ?=

bench: $(B)/annald $(B)/annal
	@ANNAL_BIN_DIR=$(abspath $(B)) tests/bench/run.sh $(BENCH_FLAGS)

.PHONY: bench
