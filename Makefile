# annal: build, test, measure. `make help` lists what there is.
#
# Non-recursive: each folder of sources is a library; one build folder for each flavour.

FLAVOUR ?= release
B       := build/$(FLAVOUR)
PREFIX  ?= /usr/local
VERSION := 0.1.0
ifeq ($(origin CC),default)
CC := gcc
endif

WARNINGS := -Wall -Wextra -Wshadow -Wconversion -Wsign-conversion -Wstrict-prototypes \
            -Wmissing-prototypes -Wpointer-arith -Wcast-qual -Wwrite-strings -Wvla -Wundef \
            -Wformat=2 -Werror
FLAGS_release := -O2 -g -fno-omit-frame-pointer
FLAGS_asan    := -O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined -fno-sanitize-recover=undefined
FLAGS_tsan    := -O1 -g -fno-omit-frame-pointer -fsanitize=thread
FLAGS_fuzz    := -O1 -g -fno-omit-frame-pointer -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=undefined
FLAGS_cov     := -O0 -g --coverage -fprofile-update=atomic -Wno-format-truncation
# What tests is not counted itself.
$(B)/tests/%.o: FLAGS_cov := -O2 -g
COMPILE = $(CC) -std=c11 -D_GNU_SOURCE -DANNAL_VERSION='"$(VERSION)"' -I. -fPIC -pthread \
           $(WARNINGS) $(FLAGS_$(FLAVOUR)) $(CFLAGS)
LINK    := $(CC) -pthread $(FLAGS_$(FLAVOUR)) $(LDFLAGS)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:

# ---- libraries: one for each folder ----
# Files with a main() are programs, not parts of a library.
PROGRAMS := node/main.c client/main.c
MODULES  := base storage raft node client
define module_rules
OBJECTS_$(1) := $$(patsubst %.c,$$(B)/%.o,$$(filter-out $$(PROGRAMS),$$(wildcard $(1)/*.c)))
$$(B)/$(1).a: $$(OBJECTS_$(1))
	@rm -f $$@
	@ar rcs $$@ $$^
endef
$(foreach module,$(MODULES),$(eval $(call module_rules,$(module))))

# What a program of each layer links with. Those that count branches write their counters however they end.
ALSO_cov     := $(B)/tests/coverage/counters.o
WITH_base    := $(B)/base.a $(ALSO_$(FLAVOUR))
WITH_storage := $(B)/storage.a $(WITH_base)
WITH_raft    := $(B)/raft.a $(WITH_storage)
WITH_client  := $(B)/client.a $(WITH_base)
WITH_node    := $(B)/node.a $(B)/raft.a $(B)/storage.a $(B)/client.a $(WITH_base)
LIBS_base    := -lmsgpackc -lxxhash -linih -lzstd
LIBS_library := -lmsgpackc -lxxhash -linih
LIBS_storage := -llmdb -llz4 $(LIBS_base)
LIBS_raft    := -lraft -luv $(LIBS_storage)
LIBS_client  := -ljansson $(LIBS_base)
LIBS_node    := -lraft -luv -llmdb -llz4 $(LIBS_client)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(COMPILE) -MMD -MP -c $< -o $@

# ---- tests: tests/unit/<module>/test_<what>.c is a cmocka program of that layer ----
UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
UNIT_SECONDS ?= 600
UNIT_TESTS   := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SOURCES))
define unit_rules
$$(B)/unit/$(1)/%: $$(B)/tests/unit/$(1)/%.o $$(WITH_$(1))
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(LINK) -o $$@ $$^ -lcmocka $$(LIBS_$(1))
unit-$(1): $$(filter $$(B)/unit/$(1)/%,$$(UNIT_TESTS))
	@for test in $$^; do \
	    echo "  TEST  $$$$test"; timeout --kill-after=10 $(UNIT_SECONDS) $$$$test || \
	        { status=$$$$?; echo "$$$$test ended with $$$$status (124: after $(UNIT_SECONDS) s)"; exit 1; } \
	done
.PHONY: unit-$(1)
endef
$(foreach module,$(MODULES),$(eval $(call unit_rules,$(module))))
.SECONDARY:

unit: $(MODULES:%=unit-%)

# ---- what a user gets ----
ANNALD := $(B)/annald
ANNAL  := $(B)/annal
LIB_A  := $(B)/libannal.a
LIB_SO := $(B)/libannal.so
EXAMPLE := $(B)/orders

# The tool's sources, and what it alone needs of the base layer, stay out of the library.
LIBRARY_SOURCES := $(filter-out client/main.c $(wildcard client/tool*.c base/backup_*.c),$(wildcard client/*.c base/*.c))
LIBRARY_OBJECTS := $(LIBRARY_SOURCES:%.c=$(B)/%.o)

$(ANNALD): $(B)/node/main.o $(WITH_node)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_node)

$(ANNAL): $(B)/client/main.o $(WITH_client)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_client) -lm

# One archive that a user links with, the base layer inside, and no names but annal_*.
$(LIB_A): $(LIBRARY_OBJECTS)
	@rm -f $@
	@ld -r -o $(B)/libannal.o $^
	@objcopy --wildcard --keep-global-symbol='annal_*' $(B)/libannal.o
	@ar rcs $@ $(B)/libannal.o

$(LIB_SO): $(LIBRARY_OBJECTS) client/libannal.map
	@echo "  LINK  $@"
	@$(LINK) -shared -Wl,-soname,libannal.so.0 -Wl,--version-script=client/libannal.map \
	    -o $@ $(filter %.o,$^) $(LIBS_library)

# As its users see it: the public header alone.
$(B)/examples/%.o: COMPILE += -Iclient
$(EXAMPLE): $(B)/examples/orders.o $(LIB_A)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_library)

.PHONY: all unit check demo bench deps deps-build deps-test asan tsan install help clean
all: $(ANNALD) $(ANNAL) $(LIB_A) $(LIB_SO) $(EXAMPLE)

# ---- packages: what is missing is installed, with sudo when not root ----
PACKAGES_BUILD := gcc binutils libc6-dev libraft-dev libuv1-dev liblmdb-dev libmsgpack-dev libxxhash-dev \
                  libinih-dev libjansson-dev liblz4-dev libzstd-dev zstd
PACKAGES_TEST  := libcmocka-dev python3 python3-msgpack clang-14 libclang-rt-14-dev \
                  clang-format-14 shellcheck
deps: deps-build deps-test
deps-build:
	@cluster/install-packages.sh $(PACKAGES_BUILD)
deps-test:
	@cluster/install-packages.sh $(PACKAGES_BUILD) $(PACKAGES_TEST)

# ---- the commands of the README ----
demo: deps-build
	@$(MAKE) --no-print-directory -j2 all
	@ANNAL_BIN_DIR=$(abspath $(B)) cluster/demo.sh

check: deps-test
	@tests/check.sh

bench: deps-build
	@$(MAKE) --no-print-directory -j2 all
	@ANNAL_BIN_DIR=$(abspath $(B)) tests/bench/run.sh --json $(B)/bench.json --last build/bench-last.json $(BENCH)

# ---- sanitizers: the unit tests, a share of the simulator, and of the system tests with instrumented nodes ----
SANITIZED_TESTS ?= test_append
tsan: export TSAN_OPTIONS := halt_on_error=1 suppressions=$(abspath tests/tsan-suppressions) $(TSAN_OPTIONS)
asan tsan:
	@$(MAKE) --no-print-directory -j2 FLAVOUR=$@ UNIT_SECONDS=1800 unit
	@$(MAKE) --no-print-directory -j2 FLAVOUR=$@ sim SEEDS=1-100
	@$(MAKE) --no-print-directory -j2 FLAVOUR=$@ system TESTS='$(SANITIZED_TESTS)'

install: all
	install -d $(DESTDIR)$(PREFIX)/bin $(DESTDIR)$(PREFIX)/lib $(DESTDIR)$(PREFIX)/include
	install -m 755 $(ANNALD) $(ANNAL) $(DESTDIR)$(PREFIX)/bin
	install -m 644 $(LIB_A) $(DESTDIR)$(PREFIX)/lib
	install -m 755 $(LIB_SO) $(DESTDIR)$(PREFIX)/lib/libannal.so.0
	ln -sf libannal.so.0 $(DESTDIR)$(PREFIX)/lib/libannal.so
	install -m 644 client/annal.h $(DESTDIR)$(PREFIX)/include

clean:
	rm -rf build

help:
	@echo "make            build annald, annal, libannal.a, libannal.so into $(B)"
	@echo "make demo       a three-node cluster, real events, a killed leader, nothing lost"
	@echo "make check      every test that fits in 10 minutes (installs what they need)"
	@echo "make bench      measure a fresh local cluster, compare with the last run    BENCH='--seconds 5'"
	@echo "make bench-scale  as the store grows, to 50 million events    SCALE='--only store --resume'"
	@echo "make soak       memory of the nodes at full load, with slow ones among them    SECONDS=600"
	@echo "make bench-peers  the same work on annal, NATS, etcd, PostgreSQL, Redis   PEERS= ROWS="
	@echo "make bench-profile  what an append costs the nodes, by stage; flame graphs   ROWS= PROFILE="
	@echo "make bench-pairs  a build that was kept and this one, in turns    BEFORE=DIR ROWS= PAIRS=4"
	@echo "make sim        nodes in the simulator         SEEDS=1-5000, or SIM_SECONDS=600"
	@echo "make sim-mutants    planted defects, which the simulator must find"
	@echo "make sim-whole  whole nodes and clients, simulated   SEEDS=1-200"
	@echo "make sim-whole-mutants   planted defects, which sim-whole must find"
	@echo "make failover   real processes under faults    ARGS='--seconds 600'"
	@echo "make faults     every kind of fault            ARGS='--list', ARGS='--budget 60'"
	@echo "make fail-loops the n-th allocation, the n-th system call fails   ARGS='--work node --kinds open'"
	@echo "make check-long what takes longer than check: eight cells of faults"
	@echo "make fuzz       every fuzz target              FUZZ_SECONDS=60 FUZZ='fuzz_wire …'"
	@echo "make lint       dependencies, format, function length    make format"
	@echo "make asan|tsan  unit tests, simulator and system tests under a sanitizer"
	@echo "make valgrind   unit tests, a node and the tool at work, under memcheck   ARGS='--only base/test_buffer,system'"
	@echo "make cov        which branches the tests take; build/cov/index.html"
	@echo "make install    DESTDIR=, PREFIX=/usr/local"
	@echo "make deps       install the Debian packages that are missing"

include $(wildcard tests/*/*.mk) tests/sim/whole/rules.mk

-include $(shell find $(B) -name '*.d' 2>/dev/null)
