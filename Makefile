# Everything a newcomer or a contributor needs. PYTHON picks the interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT ?= quickstart

.PHONY: help quickstart test lint format bench clean

help:
	@echo "make quickstart   install into $(VENV) and go the whole way once, offline"
	@echo "make test         install the test extras and run the tests (ARGS='-k name' chooses)"
	@echo "make lint         ruff check, ruff format --check, basedpyright"
	@echo "make format       ruff format and the fixes ruff is sure of"
	@echo "make bench        run every benchmark in its quick mode and print its figures"
	@echo "make clean        remove $(VENV) and $(OUT)/"

quickstart: $(VENV)/installed
	$(BIN)/ulfine quickstart --out $(OUT)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest $(ARGS)

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

bench: $(VENV)/installed-test
	@for benchmark in benchmarks/*.py; do \
		echo "== $$benchmark"; $(BIN)/python $$benchmark --quick || echo "$$benchmark: a bar does not hold"; \
	done

clean:
	rm -rf $(VENV) $(OUT)

# One stamp for each set of extras; a changed pyproject.toml installs again.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("error: ulfine-fast needs Python 3.11 or newer, $(PYTHON) is %d.%d: try make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable .
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/installed $(VENV)/installed-test
