# valgrind: the unit tests, and a node and the tool at work, under memcheck: uses of what was never set, reads and
#           writes out of bounds, memory that is lost. Prints the seconds of each; tests/valgrind/run says what is
#           left out, and why; tests/valgrind/suppressions what is not ours.
#           ARGS='--only raft/test_wire,system'
VALGRIND_SECONDS ?= 900

deps-valgrind: deps-test
	@cluster/install-packages.sh valgrind

valgrind: deps-valgrind all $(UNIT_TESTS)
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/valgrind/run --build $(B) --seconds $(VALGRIND_SECONDS) $(ARGS)

.PHONY: valgrind deps-valgrind
