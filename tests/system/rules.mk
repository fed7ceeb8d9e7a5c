# system: every method, bad input and the life of a cluster, against real processes.
#         TESTS='test_append test_reads.ReadAllTest' runs these alone.
# failover: clients and subscribers while nodes are killed, frozen and restarted; then the checker.
#         ARGS='--seconds 600 --nodes 5 --seed 7'
PYTHON ?= /usr/bin/python3

system: all
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/system/run.py $(TESTS)

failover: all
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/system/failover.py $(ARGS)

.PHONY: system failover
