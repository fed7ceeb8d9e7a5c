# Benchmarks: programs that measure one layer by itself. Run them on an otherwise idle machine.
#
#   make bench-store     appends, flushes and reads of the store   BENCH_ARGS="--streams 1000000 --uniform"
#   make bench-scale     as the store grows: tables into docs/performance.md, pictures into docs/
#                        SCALE="--sizes 1000000,10000000 --ids v7 --only store --resume --dir DIR"
#   make soak            memory of three nodes at full load   SECONDS=600   SOAK="--set tail-bytes=16M"
#   make bench-profile   what appends cost the nodes, by stage of the data path   ROWS="append-256 batch-100"
#                        PROFILE="--seconds 20 --flames docs --paste docs/performance.md"
#   make bench-peers     the same work on annal and on other stores, side by side: tests/bench/peers/README.md
#                        PEERS="annal nats etcd"   ROWS="append-64 read-all"   SECONDS_PER_ROW=5

BENCH_ARGS ?=

$(B)/bench/store_bench $(B)/bench/scale_store: $(B)/bench/%: $(B)/tests/bench/%.o $(B)/tests/bench/store_load.o \
    $(WITH_storage)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(LIBS_storage)

bench-store: $(B)/bench/store_bench
	@$< $(BENCH_ARGS)

# ---- as the store grows ----
bench-scale: deps-build $(B)/bench/scale_store
	@cluster/install-packages.sh gnuplot-nox
	@$(MAKE) --no-print-directory -j2 all
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/bench/scale.py --scale-store $(abspath $(B))/bench/scale_store $(SCALE)
	@$(PYTHON) tests/bench/scale_page.py --plots docs --paste docs/performance.md
	@$(PYTHON) tests/bench/scale_page.py

# ---- memory under load ----
SOAK_SECONDS := $(if $(filter command%,$(origin SECONDS)),$(SECONDS),600)
soak: deps-test
	@cluster/install-packages.sh gnuplot-nox
	@$(MAKE) --no-print-directory -j2 all
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/bench/soak.py --seconds $(SOAK_SECONDS) \
	    --plot $(B)/soak.svg --json $(B)/soak.json $(SOAK)

# ---- what an append costs, by stage ----
bench-profile: deps-test
	@cluster/install-packages.sh linux-perf binutils
	@$(MAKE) --no-print-directory -j2 all
	@ANNAL_BIN_DIR=$(abspath $(B)) $(PYTHON) tests/bench/profile/profile.py $(PROFILE) $(or $(ROWS),append-256 batch-100)

# ---- side by side: one program for each store, the workload the same in all ----
PEER_NAMES    := annal nats etcd postgres redis
PEER_PROGRAMS := $(PEER_NAMES:%=$(B)/bench/peers/bench-%)
PEER_SHARED   := $(patsubst %.c,$(B)/%.o,$(filter-out %/store_annal.c %/store_nats.c %/store_etcd.c \
                 %/store_postgres.c %/store_redis.c,$(wildcard tests/bench/peers/*.c)))
PEER_PACKAGES := $(abspath build)/packages
PEER_STAMP    := $(PEER_PACKAGES)/.complete

# Servers and headers that are not installed are unpacked into a folder: the system stays as it is.
$(PEER_STAMP): tests/bench/peers/packages.sh
	@$< $(PEER_PACKAGES)

$(B)/tests/bench/peers/store_etcd.o $(B)/tests/bench/peers/store_postgres.o: $(PEER_STAMP)
$(B)/tests/bench/peers/store_etcd.o: COMPILE += -isystem $(PEER_PACKAGES)/usr/include
$(B)/tests/bench/peers/store_postgres.o: COMPILE += -isystem $(PEER_PACKAGES)/usr/include/postgresql \
                                                    -isystem /usr/include/postgresql
PEER_LIBS     := -L$(PEER_PACKAGES)/lib -Wl,-rpath,$(PEER_PACKAGES)/lib -lmsgpackc -lxxhash -linih
$(B)/bench/peers/bench-etcd: PEER_LIBS += -l:libnghttp2.so.14
$(B)/bench/peers/bench-postgres: PEER_LIBS += -l:libpq.so.5

$(PEER_PROGRAMS): $(B)/bench/peers/bench-%: $(B)/tests/bench/peers/store_%.o $(PEER_SHARED) $(WITH_client)
	@mkdir -p $(@D)
	@echo "  LINK  $@"
	@$(LINK) -o $@ $^ $(PEER_LIBS)

peer-programs: $(PEER_PROGRAMS)

# What is kept are runs of everything.
PEER_RESULTS := $(if $(PEERS)$(ROWS),$(B)/bench-peers.json,tests/bench/results/peers.json)

# A store whose program cannot be built is named in the table as left out.
bench-peers: deps-build
	@$(MAKE) --no-print-directory -j2 all
	@$(MAKE) --no-print-directory -k -j2 peer-programs || true
	@ANNAL_BIN_DIR=$(abspath $(B)) PEERS="$(PEERS)" ROWS="$(ROWS)" \
	    SECONDS_PER_ROW="$(SECONDS_PER_ROW)" FAILOVERS="$(FAILOVERS)" FILL_STREAMS="$(FILL_STREAMS)" \
	    $(PYTHON) tests/bench/peers/run.py --json $(PEER_RESULTS)

# ---- a change: two builds of annal in turns, BEFORE=FOLDER (a build/release that was kept) and this one ----
bench-pairs: deps-build
	@$(MAKE) --no-print-directory -j2 all $(B)/bench/peers/bench-annal
	@ROWS="$(ROWS)" PAIRS="$(PAIRS)" SECONDS_PER_ROW="$(SECONDS_PER_ROW)" FILL_STREAMS="$(FILL_STREAMS)" \
	    $(PYTHON) tests/bench/peers/pairs.py "$(BEFORE)" $(abspath $(B))

.PHONY: bench-pairs bench-profile bench-store bench-scale soak bench-peers peer-programs
