# lint: what is wrong, by file and line.   format: rewrite what clang-format would write otherwise.
PYTHON       ?= /usr/bin/python3
CLANG_FORMAT ?= $(firstword $(shell command -v clang-format-14 clang-format))

lint:
	@$(PYTHON) tests/lint/test_lint.py --quiet
	@$(PYTHON) tests/lint/lint.py

format:
	@git ls-files -z -- '*.c' '*.h' | xargs -0 -r $(CLANG_FORMAT) -i

.PHONY: lint format
