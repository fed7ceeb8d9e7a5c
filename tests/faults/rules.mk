# faults: real processes under every kind of fault, then the checker; a table and a report in HTML.
#         ARGS='--list' shows the cells, ARGS='--cells kill,partition+kill --seconds 60 --nodes 5'
# check-long: what takes longer than `make check` may: eight cells of faults, 30 seconds each.
INTERPOSE := $(B)/faults/interpose.so

$(INTERPOSE): $(B)/tests/faults/interpose.o $(B)/tests/faults/interpose_disk.o $(B)/tests/faults/journal.o
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -shared -o $@ $^

# Whether the tools do what they are taken to do: a minute that saves a wrong verdict.
faults-tools: all $(INTERPOSE)
	@ANNAL_BIN_DIR=$(abspath $(B)) ANNAL_INTERPOSE=$(abspath $(INTERPOSE)) $(PYTHON) tests/faults/test_faults.py
	@$(PYTHON) tests/faults/test_fabric.py

faults: faults-tools
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/faults/run --interpose $(abspath $(INTERPOSE)) $(ARGS)

check-long: faults-tools
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/faults/run --interpose $(abspath $(INTERPOSE)) \
	    --short --seconds 30 $(ARGS)

.PHONY: faults check-long faults-tools
