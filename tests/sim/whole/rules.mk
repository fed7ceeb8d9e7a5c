# Whole nodes and the client library on a simulated operating system.
SIM_WHOLE := $(B)/sim-whole
# Programs without libannal: they use parts of it that have names of the node's, and see these alone.
SIM_WHOLE_PLAIN := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/whole/whole_plain*.c) \
                   tests/sim/whole/whole_window.c client/link.c client/wire.c client/decode.c)
SIM_WHOLE_OBJECTS := $(filter-out $(SIM_WHOLE_PLAIN),$(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/whole/*.c)))

# What stands in for these files is in tests/sim/whole; main() is left out everywhere.
SIM_WHOLE_LEFT_OUT := $(B)/storage/kv_lmdb.o $(B)/raft/slow_syscall.o $(B)/raft/libraft.o \
                      $(B)/base/assert.o
SIM_WHOLE_PARTS := $(filter-out $(SIM_WHOLE_LEFT_OUT),$(OBJECTS_base) $(OBJECTS_storage) \
                   $(OBJECTS_raft) $(OBJECTS_node))

# It has an abort() of its own; the simulated one goes before it.
$(B)/tests/sim/whole/libraft.o: $(B)/raft/libraft.o
	@mkdir -p $(@D)
	@objcopy --weaken-symbol=abort $< $@

$(B)/tests/sim/whole/plain.o: $(SIM_WHOLE_PLAIN)
	@ld -r -o $@ $^
	@objcopy --keep-global-symbol=whole_plain_start --keep-global-symbol=whole_window_start $@

# -rdynamic: libuv and libraft get the simulated functions, too.
# The programs use libannal as its users get it; the nodes use parts of the same sources.
$(SIM_WHOLE): $(SIM_WHOLE_OBJECTS) $(SIM_WHOLE_PARTS) $(B)/tests/sim/whole/libraft.o \
              $(B)/tests/sim/whole/plain.o $(LIB_A) $(B)/client.a
	@echo "  LINK  $@"
	@$(LINK) -rdynamic -o $@ $^ $(LIBS_raft) -ldl

# Planted defects (base/mutant.h), each of which must be found within so many seeds.
WHOLE_MUTANT_RUNS ?= 40
.PHONY: sim-whole sim-whole-check sim-whole-mutants
sim-whole: $(SIM_WHOLE)
	@$(SIM_WHOLE) --seeds $(SEEDS) $(ARGS)

sim-check: sim-whole-check
sim-whole-check: $(SIM_WHOLE)
	@tests/sim/whole/check.sh $(SIM_WHOLE)

sim-whole-mutants:
	@$(MAKE) --no-print-directory -j2 B=$(B)/mutants CFLAGS='$(CFLAGS) -DANNAL_MUTANTS' \
	    $(B)/mutants/sim-whole
	@tests/sim/whole/mutants.sh $(B)/mutants/sim-whole $(WHOLE_MUTANT_RUNS)
