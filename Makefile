# Everything a newcomer or a contributor needs. PYTHON picks the interpreter: make test PYTHON=python3.12

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
OUT ?= quickstart

.PHONY: help quickstart test coverage lint format docs bench clean hooks mutants attacks packages release

help:
	@echo "make quickstart   install into $(VENV) and go the whole way once, offline"
	@echo "make test         install the test extras and run the tests (ARGS='-k name' chooses)"
	@echo "make coverage     the tests, and which lines of the four rooms they do not run"
	@echo "make lint         ruff check, ruff format --check, basedpyright (strict; standard for the tests)"
	@echo "make format       ruff format and the fixes ruff is sure of"
	@echo "make docs         build the site into build/site; a warning, such as a broken link, is an error"
	@echo "make bench        run every benchmark in its quick mode and print its figures"
	@echo "make mutants      put small faults into the numeric code and see whether the tests notice (long)"
	@echo "make attacks      hostile files, requests, kills and interrupts: how many of each kind survive (five to ten minutes)"
	@echo "make hooks        let every commit pass the quick checks first (pre-commit)"
	@echo "make release      lint, test, build and check dist/ twice over; uploads nothing"
	@echo "make clean        remove $(VENV) and $(OUT)/"

quickstart: $(VENV)/installed
	$(BIN)/ulfine quickstart --out $(OUT)

test: $(VENV)/installed-test
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal $(ARGS)

# Fails where less than pyproject.toml's fail_under is run. What the tests start in processes of their own counts, too.
coverage: $(VENV)/installed-test
	$(BIN)/python -m pytest -n logical --maxprocesses 8 --dist worksteal --cov --cov-report= --cov-fail-under=0 $(ARGS)
	@for room in ulfine_cache ulfine_fast ulfine_exports ulfine_cli; do \
		echo "$$room: $$($(BIN)/coverage report --include="*/$$room/*" --format=total --fail-under=0) %"; \
	done
	$(BIN)/coverage report

lint: $(VENV)/installed-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/basedpyright --pythonpath $(BIN)/python
	$(BIN)/basedpyright --pythonpath $(BIN)/python -p tests

format: $(VENV)/installed-dev
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Offline, and without a warning.
docs: $(VENV)/installed-test
	$(BIN)/zensical build --strict

bench: $(VENV)/installed-test
	@for benchmark in benchmarks/*.py; do \
		echo "== $$benchmark"; $(BIN)/python $$benchmark --quick || echo "$$benchmark: a bar does not hold"; \
	done

# Small faults in the numeric code, one at a time: do the tests notice? Takes long; not part of the CI.
mutants: $(VENV)/installed-test
	$(BIN)/python -m tests.mutation $(ARGS)

# Fails where anything is lost: a traceback, another answer, lost work, or no end. Not part of the CI.
attacks: $(VENV)/installed-test
	$(BIN)/python -m tests.attacks $(ARGS)

hooks: $(VENV)/installed-dev
	$(BIN)/pre-commit install

# Wheels and sdist with the time of the last commit inside; the same commit gives the same bytes, which is tried.
packages: export SOURCE_DATE_EPOCH := $(shell git log -1 --format=%ct)
packages: $(VENV)/installed-dev
	rm -rf dist build/again
	for folder in dist build/again; do \
		$(BIN)/python -m build --outdir $$folder . && \
		$(BIN)/python -m build --wheel --outdir $$folder distributions/runtime || exit 1; \
	done
	cd dist && sha256sum * | tee SHA256SUMS
	cd build/again && sha256sum --check --quiet ../../dist/SHA256SUMS
	$(BIN)/twine check --strict dist/*.whl dist/*.tar.gz
	$(BIN)/check-wheel-contents dist/*.whl

release:
	@test -z "$$(git status --porcelain)" || { echo "error: there are changes that are not committed"; exit 1; }
	$(MAKE) lint test packages
	@echo "dist/ holds what can be released; nothing was uploaded"

clean:
	rm -rf $(VENV) $(OUT)

# One stamp for each set of extras; a changed pyproject.toml installs again.
$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("error: ulfine-fast needs Python 3.11 or newer, $(PYTHON) is %d.%d: try make $(MAKECMDGOALS) PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[report]'
	@touch $@

$(VENV)/installed-test: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[test]'
	@touch $@ $(VENV)/installed

$(VENV)/installed-dev: pyproject.toml | $(VENV)/bin/python
	$(PIP) install --editable '.[dev]'
	@touch $@ $(VENV)/installed $(VENV)/installed-test
