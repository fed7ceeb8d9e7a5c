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
FLAGS_cov     := -O0 -g --coverage
COMPILE := $(CC) -std=c11 -D_GNU_SOURCE -DANNAL_VERSION='"$(VERSION)"' -I. -fPIC -pthread \
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

# What a program of each layer links with.
WITH_base    := $(B)/base.a
WITH_storage := $(B)/storage.a $(WITH_base)
WITH_raft    := $(B)/raft.a $(WITH_storage)
WITH_client  := $(B)/client.a $(WITH_base)
WITH_node    := $(B)/node.a $(B)/raft.a $(B)/storage.a $(B)/client.a $(WITH_base)
LIBS_base    := -lmsgpackc -lxxhash -linih
LIBS_storage := -llmdb $(LIBS_base)
LIBS_raft    := -lraft -luv $(LIBS_storage)
LIBS_client  := -ljansson -lzstd $(LIBS_base)
LIBS_node    := -lraft -luv -llmdb $(LIBS_client)

$(B)/%.o: %.c
	@mkdir -p $(@D)
	@echo "  CC    $<"
	@$(COMPILE) -MMD -MP -c $< -o $@

# ---- tests: tests/unit/<module>/test_<what>.c is a cmocka program of that layer ----
UNIT_SOURCES := $(wildcard tests/unit/*/test_*.c)
UNIT_TESTS   := $(patsubst tests/unit/%.c,$(B)/unit/%,$(UNIT_SOURCES))
define unit_rules
$$(B)/unit/$(1)/%: $$(B)/tests/unit/$(1)/%.o $$(WITH_$(1))
	@mkdir -p $$(@D)
	@echo "  LINK  $$@"
	@$$(LINK) -o $$@ $$^ -lcmocka $$(LIBS_$(1))
unit-$(1): $$(filter $$(B)/unit/$(1)/%,$$(UNIT_TESTS))
	@set -e; for test in $$^; do echo "  TEST  $$$$test"; $$$$test; done
.PHONY: unit-$(1)
endef
$(foreach module,$(MODULES),$(eval $(call unit_rules,$(module))))
.SECONDARY:

include $(wildcard tests/*/rules.mk)

all:
-include $(shell find $(B) -name '*.d' 2>/dev/null)
