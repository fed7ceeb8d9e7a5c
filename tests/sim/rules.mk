# The simulator: libraft with the guard under faults, in virtual time.
SIM := $(B)/sim
SEEDS ?= 1-1000
SIM_OBJECTS := $(patsubst %.c,$(B)/%.o,$(wildcard tests/sim/*.c))

$(SIM): $(SIM_OBJECTS) $(B)/node/pull_page.o $(WITH_raft)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_raft)

.PHONY: sim sim-check
sim: $(SIM)
	@$(SIM) --seeds $(SEEDS) $(ARGS)

# The share of `make check`: seeds that must pass, and seeds that must fail without the guard.
sim-check: $(SIM)
	@tests/sim/check.sh $(SIM)
