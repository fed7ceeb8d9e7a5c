# Whole nodes and the client library on a simulated operating system.
SIM_WHOLE := $(B)/sim-whole
SIM_WHOLE_OBJECTS := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/whole/*.c))

# What stands in for these files is in tests/sim/whole; main() is left out everywhere.
SIM_WHOLE_LEFT_OUT := $(B)/storage/kv_lmdb.o $(B)/raft/slow_syscall.o $(B)/raft/libraft.o \
                      $(B)/base/assert.o
SIM_WHOLE_PARTS := $(filter-out $(SIM_WHOLE_LEFT_OUT),$(OBJECTS_base) $(OBJECTS_storage) \
                   $(OBJECTS_raft) $(OBJECTS_node))

# It has an abort() of its own; the simulated one goes before it.
$(B)/tests/sim/whole/libraft.o: $(B)/raft/libraft.o
	@mkdir -p $(@D)
	@objcopy --weaken-symbol=abort $< $@

# -rdynamic: libuv and libraft get the simulated functions, too.
# The programs use libannal as its users get it; the nodes use parts of the same sources.
$(SIM_WHOLE): $(SIM_WHOLE_OBJECTS) $(SIM_WHOLE_PARTS) $(B)/tests/sim/whole/libraft.o $(LIB_A) $(B)/client.a
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
