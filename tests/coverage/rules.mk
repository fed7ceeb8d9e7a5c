# cov: which branches the tests take: unit tests, and shares of the simulator, of the failing calls and of the
#      system tests, in a build that counts; a table, build/cov/index.html and build/cov/summary.json. Fails when
#      a folder has less than tests/coverage/report.py says.
#      COV_SEEDS=1-100   COV_SYSTEM='test_append test_trim'
# cov-report: the table alone, of what was counted since the last build.
COV_BUILD  := build/cov
COV_SEEDS  ?= 1-15
COV_FAILS  ?= 40
COV_SYSTEM ?= test_backup test_cluster test_cluster_grow test_cluster_life test_local
# What the guard does without one of its rows is only counted here: tests/sim/check.sh judges it.
COV_ROWS   := none all-clamp all-barrier all-hold all-commit all-serial all-jump all-vote all-flow all-failstop \
              all-members all-batch all-elect
# Unoptimized, and perhaps beside other work: nothing here is about time.
COV_MAKE   := $(MAKE) --no-print-directory -j2 FLAVOUR=cov UNIT_SECONDS=3600

PACKAGES_COV := gcovr
deps-cov: deps-test
	@cluster/install-packages.sh $(PACKAGES_COV)

# What ran before does not count, nor what was built of other sources: gcovr fails when they differ.
cov: deps-cov
	@rm -rf $(COV_BUILD)
	@$(COV_MAKE) unit
	@$(COV_MAKE) sim SEEDS=$(COV_SEEDS)
	@for rows in $(COV_ROWS); do $(COV_BUILD)/sim --seeds 1-2 --rows $$rows >/dev/null 2>&1 || true; done
	@$(COV_MAKE) fail-check FAIL_SAMPLE=$(COV_FAILS)
	@$(COV_MAKE) system TESTS='$(COV_SYSTEM)'
	@$(MAKE) --no-print-directory cov-report

cov-report:
	@$(PYTHON) tests/coverage/report.py $(COV_BUILD) $(ARGS)

.PHONY: cov cov-report deps-cov
