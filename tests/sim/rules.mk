# The simulator: libraft with the guard under faults, in virtual time.
SIM := $(B)/sim
SEEDS ?= 1-1000
SIM_SECONDS ?=
SIM_OBJECTS := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/*.c))

$(SIM): $(SIM_OBJECTS) $(B)/node/pull_page.o $(WITH_raft)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_raft)

.PHONY: sim sim-check
sim: $(SIM)
	@$(SIM) --seeds $(SEEDS) $(if $(SIM_SECONDS),--for $(SIM_SECONDS)) $(ARGS)

# The share of `make check`: seeds that must pass, and seeds that must fail without the guard.
sim-check: $(SIM)
	@tests/sim/check.sh $(SIM)

# Seeds for each row of the guard, after a change that gives runs another course: tests/sim/regressions.
.PHONY: sim-rows
sim-rows: $(SIM)
	@tests/sim/rows.sh $(SIM)

# A build with planted defects, each of which must be found (base/mutant.h).
MUTANT_RUNS ?= 200
.PHONY: sim-mutants
sim-mutants:
	@$(MAKE) --no-print-directory -j2 B=$(B)/mutants CFLAGS='$(CFLAGS) -DANNAL_MUTANTS' $(B)/mutants/sim
	@tests/sim/mutants.sh $(B)/mutants/sim $(MUTANT_RUNS)
