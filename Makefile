# Needs make and Python 3.11 to 3.13. Everything else is installed into .venv from requirements/, each file with its hash.
PYTHON ?= python3
UV ?= uv
ARGS ?=
KILLS ?= 100
TESTERS ?= 2

VENV := .venv
ifeq ($(OS),Windows_NT)
BIN := $(VENV)/Scripts
else
BIN := $(VENV)/bin
endif
WHEEL := build/wheel
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes
LOCK := $(UV) pip compile --quiet --universal --generate-hashes --python-version 3.11 \
	--no-emit-index-url --no-header --no-annotate --no-strip-extras

MADE := $(VENV)/.made
RUNTIME := $(VENV)/.runtime
DEV := $(VENV)/.dev
PACKAGE := $(VENV)/.package
# Folders are listed too: their time changes when a file goes.
SOURCES := pyproject.toml README.md LICENSE $(shell find mcp_server prompts -not -name '*.pyc' -not -name '__pycache__')

# The tests see the installed package: they run where no source tree is beside them.
# Much of their time is waiting for processes: two at a time, each file's tests in one of them. In the order of their
# folders: by their number of tests, the few that kill servers for minutes would come last and one process be idle.
PYTEST := cd tests && env -u PYTHONPATH TEST_INSTALLED=1 ../$(BIN)/python -m pytest -c ../pyproject.toml --rootdir .. \
	-n $(TESTERS) --dist loadfile --no-loadscope-reorder
ifdef COVERAGE
COVER := --cov --cov-config=../pyproject.toml --cov-report=term:skip-covered
endif

.DEFAULT_GOAL := help
.PHONY: help demo test lint types contracts docs docs-check security conformance faults bench build lock audit clean

help: ## say what there is
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' Makefile

demo: $(PACKAGE) ## the whole path on simulated games, through a real server
	$(BIN)/courtside demo $(ARGS)

test: $(DEV) $(PACKAGE) ## every test and doctest on the built package; COVERAGE=1 adds branch coverage
	$(PYTEST) $(COVER) . --pyargs mcp_server $(ARGS)

lint: $(DEV) ## format and style
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(DEV) ## mypy, strict
	$(BIN)/mypy

contracts: $(DEV) ## who may import whom
	$(BIN)/lint-imports

docs: $(DEV) $(PACKAGE) ## write the generated pages again
	$(BIN)/python docs/generate.py

docs-check: $(DEV) $(PACKAGE) ## fail where a generated page lags behind
	$(BIN)/python docs/generate.py --check

security: $(DEV) ## bandit over the code, zizmor over the workflows
	$(BIN)/bandit --quiet --recursive --severity-level medium --configfile pyproject.toml mcp_server
	$(BIN)/zizmor --offline --no-progress .github

conformance: $(DEV) $(PACKAGE) ## the official suite; needs npm
	cd tests && env -u PYTHONPATH ../$(BIN)/python conformance/suite.py

faults: $(DEV) $(PACKAGE) ## kill processes KILLS times in each fault test
	KILLS=$(KILLS) $(MAKE) test ARGS='-m fault -s'

bench: $(DEV) $(PACKAGE) ## print figures; asserts no times
	cd tests && for part in echo predict start; do ../$(BIN)/python performance/latency.py $$part || exit 1; done
	cd tests && ../$(BIN)/python performance/import_rates.py
	cd tests && ../$(BIN)/python -m performance.source_rates
	cd tests && ../$(BIN)/python -m performance.screening_rates
	cd tests && ../$(BIN)/python -m performance.learning_curves
	cd tests && for part in '' --outliers --false-alarms; do ../$(BIN)/python -m performance.poisoning_rates $$part || exit 1; done

build: $(RUNTIME) ## wheel and source distribution in dist/
	$(BIN)/python -m hatchling build -d dist

lock: ## resolve the requirements again; needs uv
	$(LOCK) pyproject.toml --group dev -o requirements/dev.txt
	$(LOCK) pyproject.toml -c requirements/dev.txt -o requirements/runtime.txt
	$(LOCK) --group build -c requirements/dev.txt -o requirements/build.txt
	$(LOCK) --group audit -c requirements/dev.txt -o requirements/audit.txt

audit: $(RUNTIME) ## known vulnerabilities; needs a feed on the network
	$(INSTALL) -r requirements/audit.txt
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r requirements/runtime.txt -r requirements/dev.txt

clean: ## remove what make made
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .hypothesis tests/conformance/node_modules

$(MADE):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo 'Courtside needs Python 3.11 or newer; name one, as in: make test PYTHON=python3.12' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' || { \
		echo 'This Python cannot make virtual environments; on Debian and Ubuntu install python3-venv.' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(RUNTIME): requirements/runtime.txt requirements/build.txt $(MADE)
	$(INSTALL) -r requirements/runtime.txt -r requirements/build.txt
	@touch $@

$(DEV): requirements/dev.txt $(RUNTIME)
	$(INSTALL) -r requirements/dev.txt
	@touch $@

$(PACKAGE): $(SOURCES) $(RUNTIME)
	rm -rf $(WHEEL)
	$(BIN)/python -m hatchling build -t wheel -d $(WHEEL)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-index --no-deps --force-reinstall $(WHEEL)/*.whl
	@touch $@
