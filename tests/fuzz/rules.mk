# Fuzzing with libFuzzer: tests/fuzz/<layer>/fuzz_<what>.c is a target of that layer, its seeds are
# the files of tests/fuzz/corpus/fuzz_<what>/. Built by clang in a folder of its own.
#
#   make fuzz            run each target for FUZZ_SECONDS; FUZZ=fuzz_<what> picks one
#   make fuzz-replay     run each target over its seeds only: part of `make check`
#
# What breaks a target is left in $(FUZZ_BUILD)/found/; put it among the seeds once it is mended.

FUZZ_SECONDS ?= 60
FUZZ         ?= fuzz_%
FUZZ_CC      ?= clang-14
FUZZ_BUILD   := $(B)/fuzzing
FUZZ_MAKE     = $(MAKE) --no-print-directory FLAVOUR=fuzz CC=$(FUZZ_CC) B=$(FUZZ_BUILD)

FUZZ_SOURCES := $(wildcard tests/fuzz/*/fuzz_*.c)
FUZZ_CHOSEN  := $(foreach source,$(FUZZ_SOURCES),$(if $(filter $(FUZZ),$(notdir $(source:.c=))),$(source)))
FUZZ_TARGETS := $(patsubst tests/fuzz/%.c,$(B)/fuzz/%,$(FUZZ_CHOSEN))

define fuzz_link_rules
$$(B)/fuzz/$(1)/%: $$(B)/tests/fuzz/$(1)/%.o $$(WITH_$(1))
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(LINK) -fsanitize=fuzzer -o $$@ $$^ $$(LIBS_$(1))
endef
$(foreach module,$(MODULES),$(eval $(call fuzz_link_rules,$(module))))

# The two below run inside the recursive make, where B is the fuzzing folder. A target without seeds,
# or no target at all, is an error: it would check nothing.
fuzz-run fuzz-run-seeds: $(FUZZ_TARGETS)
	@test -n "$^" || { echo "no fuzz target is called $(FUZZ)" >&2; exit 1; }
	@mkdir -p $(B)/found
	@set -e; for target in $^; do \
		name=$${target##*/}; seeds=tests/fuzz/corpus/$$name; log=$(B)/found/$$name.log; \
		test -n "$$(ls -A $$seeds 2>/dev/null)" || \
			{ echo "$$seeds is empty: give $$name some seeds" >&2; exit 1; }; \
		echo "  FUZZ  $$name"; \
		if [ $@ = fuzz-run ]; then \
			mkdir -p $(B)/corpus/$$name; \
			set -- -max_total_time=$(FUZZ_SECONDS) $(B)/corpus/$$name $$seeds; \
		else \
			set -- $$seeds/*; \
		fi; \
		if ! $$target -artifact_prefix=$(B)/found/$$name- -rss_limit_mb=4096 "$$@" \
			> $$log 2>&1; then tail -n 60 $$log; exit 1; fi; \
		if [ $@ = fuzz-run ]; then grep '^Done' $$log; fi; \
	done

fuzz:
	@+$(FUZZ_MAKE) fuzz-run

fuzz-replay:
	@+$(FUZZ_MAKE) fuzz-run-seeds

.PHONY: fuzz fuzz-replay fuzz-run fuzz-run-seeds
