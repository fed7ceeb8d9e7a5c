# Fuzzing with libFuzzer: tests/fuzz/<layer>/fuzz_<what>.c is a target of that layer, its seeds are
# the files of tests/fuzz/corpus/fuzz_<what>/. Built by clang in a folder of its own.
#
#   make fuzz            run each target for FUZZ_SECONDS, then a table; FUZZ='fuzz_<what> …' picks some
#   make fuzz-replay     run each target over its seeds only: part of `make check`
#   make fuzz-minimise   make seeds of what the runs have grown, where it reaches something new
#   make fuzz-seeds      write the seeds that are made by a script (tests/fuzz/make_*_corpus.py)
#   make fuzz-afl        build the targets for AFL++ instead, with FUZZ_AFL_CC
#
# What breaks a target is left in $(FUZZ_BUILD)/found/; put it among the seeds once it is mended.

FUZZ_SECONDS    ?= 60
FUZZ            ?= fuzz_%
FUZZ_SEED_BYTES ?= 2048
FUZZ_CC         ?= clang-14
FUZZ_AFL_CC     ?= afl-clang-fast
FUZZ_BUILD      := $(B)/fuzzing
FUZZ_MAKE        = $(MAKE) --no-print-directory FLAVOUR=fuzz CC=$(FUZZ_CC) B=$(FUZZ_BUILD)

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

# The three below run inside the recursive make, where B is the fuzzing folder.
FUZZ_RUN = @test -n "$^" || { echo "no fuzz target is called $(FUZZ)" >&2; exit 1; }; \
	$(PYTHON) tests/fuzz/run.py --build $(B)

fuzz-run: $(FUZZ_TARGETS)
	$(FUZZ_RUN) --seconds $(FUZZ_SECONDS) $^

fuzz-run-seeds: $(FUZZ_TARGETS)
	$(FUZZ_RUN) --seeds-only $^

fuzz-run-minimise: $(FUZZ_TARGETS)
	$(FUZZ_RUN) --minimise $(FUZZ_SEED_BYTES) $^

fuzz-build: $(FUZZ_TARGETS)

fuzz:
	@+$(FUZZ_MAKE) fuzz-run

fuzz-replay:
	@+$(FUZZ_MAKE) fuzz-run-seeds

fuzz-minimise:
	@+$(FUZZ_MAKE) fuzz-run-minimise

fuzz-afl:
	@+$(MAKE) --no-print-directory FLAVOUR=asan CC=$(FUZZ_AFL_CC) B=$(B)/afl fuzz-build

fuzz-seeds:
	@for script in tests/fuzz/make_*_corpus.py; do $(PYTHON) $$script || exit 1; done

.PHONY: fuzz fuzz-replay fuzz-minimise fuzz-afl fuzz-seeds fuzz-build
.PHONY: fuzz-run fuzz-run-seeds fuzz-run-minimise
