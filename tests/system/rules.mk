# system: every method, bad input and the life of a cluster, against real processes.
# failover: clients and subscribers while nodes are killed, frozen and restarted; then the checker.
PYTHON   ?= /usr/bin/python3
SECONDS  ?= 60
NODES    ?= 3

system: all
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/system/run.py $(TESTS)

failover: all
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/system/failover.py --seconds $(SECONDS) \
		--nodes $(NODES) $(if $(SEED),--seed $(SEED))

.PHONY: system failover
