# Benchmarks: programs that measure one layer by itself. Run them on an otherwise idle machine.
#
#   make bench-store     appends, flushes and reads of the store   BENCH_ARGS="--streams 1000000 --uniform"

BENCH_ARGS ?=

$(B)/bench/store_bench: $(B)/tests/bench/store_bench.o $(WITH_storage)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_storage)

bench-store: $(B)/bench/store_bench
	@$< $(BENCH_ARGS)

.PHONY: bench-store
