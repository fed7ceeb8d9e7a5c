# fail-loops: the n-th allocation, the n-th system call fails, for each n until none is struck; a table.
#             ARGS='--work node --kinds open,rename', ARGS='--only node:open:EMFILE:27'
# fail-check: some of them, by chance; the seed is printed.
FAIL_LIBRARY := $(B)/fail/fail.so
FAIL_SOURCES := $(wildcard tests/fail/fail*.c)

# It stands in front of functions whose attributes the headers of the C library tell.
$(B)/tests/fail/fail%.o: CFLAGS += -Wno-nonnull-compare

$(FAIL_LIBRARY): $(FAIL_SOURCES:%.c=$(B)/%.o)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -shared -o $@ $^

$(B)/store_work: $(B)/tests/fail/store_work.o $(WITH_storage)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_storage)

FAIL_SAMPLE ?= 60
FAIL_CHECK  := first-start,node,store,libannal,append,export,import,restore,recover,verify,verify-file,backup
fail-loops: all $(FAIL_LIBRARY) $(B)/store_work
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/fail/run --library $(abspath $(FAIL_LIBRARY)) $(ARGS)

fail-check: all $(FAIL_LIBRARY) $(B)/store_work
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/fail/run --library $(abspath $(FAIL_LIBRARY)) \
	    --work $(FAIL_CHECK) --sample $(FAIL_SAMPLE) $(ARGS)

.PHONY: fail-loops fail-check
