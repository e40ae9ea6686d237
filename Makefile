# `make help` lists the targets. Everything runs from .venv, which any target makes if it is missing.
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11 python3.10; do \
	$$p -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 15))' 2>/dev/null && echo $$p && break; done)
UV_VERSION := 0.13.8# installs 140 wheels in seconds and compiles them, which halves every start; after a change run `make lock`
BIN := .venv/bin
COMPILE := --quiet --universal --python-version 3.10 --generate-hashes --no-header
UV := VIRTUAL_ENV=$(CURDIR)/.venv UV_COMPILE_BYTECODE=1 $(BIN)/uv pip
SITE := NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --quiet --strict
READY := .venv/.ready
READY_DEV := .venv/.ready-dev

.DEFAULT_GOAL := help
.PHONY: help setup demo up down test test-fast nightly test-servers mutants soak chaos bench lint docs sbom format lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## install everything into .venv (once; offline afterwards)

$(READY): pyproject.toml requirements.lock requirements-uv.lock setup.py
	@test -n "$(PYTHON)" || { echo "kpi_assets needs Python 3.10 to 3.14 and found none: install one, or run make PYTHON=/path/to/python3"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv || { rm -rf .venv; echo "$(PYTHON) cannot make a virtual environment: install its venv module (on Debian: the package python3-venv)"; exit 1; }
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
	@echo "Installing the pinned packages into .venv ..."
	@$(UV) install --quiet --require-hashes -r requirements.lock
	@$(UV) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(READY_DEV): $(READY) requirements-dev.lock
	@echo "Installing what tests and linters need ..."
	@$(UV) install --quiet --require-hashes -r requirements-dev.lock
	@touch $@

demo: $(READY) ## build two synthetic Instacart days end to end: one is published and restated, one is held by its gates
	@$(BIN)/kpi demo

up: $(READY) ## run the embedded stack, the Dagster web UI, the daemon and the KPI pages until Ctrl-C: make up [PORT=3000]
	@exec $(BIN)/kpi up $(if $(PORT),--port $(PORT))

down: $(READY) ## stop what `make up` left running
	@$(BIN)/kpi down

# Tests start hundreds of processes, which share the bytecode that one of them compiles.
test test-fast nightly: export PYTHONDONTWRITEBYTECODE :=
# One more than there are cores: tests wait for servers, runs and pages.
WORKERS ?= $(or $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1 2>/dev/null),3)
test: lint ## run all linters, and all tests except the nightly ones: make test [WORKERS=3]
	@$(BIN)/pytest -n $(WORKERS) -m "not nightly"

test-fast: $(READY_DEV) ## run the tests that need no server and no other process
	@$(BIN)/pytest -n $(WORKERS) -m fast

nightly: lint ## run all linters, all tests with all their examples, the soak test and some chaos: make nightly [WORKERS=3]
	@KPI_TEST_EXAMPLES=all $(BIN)/pytest -n $(WORKERS)
	@$(BIN)/python -m kpi_assets_tests.e2e.soak
	@$(BIN)/python -m kpi_assets_tests.e2e.chaos --minutes 5

# The embedded server is of the newest version; a managed server may be older.
SERVERS ?= $(wildcard /usr/lib/postgresql/*/bin)
test-servers: $(READY_DEV) ## run the core's tests on other PostgreSQL servers: make test-servers [SERVERS="/usr/lib/postgresql/15/bin"]
	@test -n "$(SERVERS)" || { echo "There is no PostgreSQL server below /usr/lib/postgresql: install one (on Debian: the package postgresql-15), or name the folders of its programs: make test-servers SERVERS=\"/path/to/bin\""; exit 1; }
	@for bin in $(SERVERS); do echo "The core's tests on $$($$bin/postgres --version), $$bin"; \
		KPI_TEST_POSTGRES_BIN=$$bin $(BIN)/pytest $(addprefix kpi_assets_tests/,materialize warehouse ledger) || exit 1; done

mutants: $(READY_DEV) ## break the code and list the breaks that no test notices: make mutants MODULES="warehouse/audit materialize" [SAMPLE=5 | TOGETHER=60] [SEED=1] [AGAIN=report]
	@test -n "$(MODULES)" || { echo "Name the modules: make mutants MODULES=\"warehouse/audit materialize\""; exit 1; }
	@$(BIN)/python -m kpi_assets_tests.mutants $(MODULES) $(if $(TOGETHER),--together $(TOGETHER),--sample $(or $(SAMPLE),0)) --seed $(or $(SEED),1) $(if $(AGAIN),--again $(AGAIN))

soak: $(READY_DEV) ## kill runs, services and servers of three pipelines at random, and check what is published: make soak [MINUTES=20] [SEED=1]
	@$(BIN)/python -m kpi_assets_tests.e2e.soak --acts 3 --minutes $(or $(MINUTES),20) --seed $(or $(SEED),1)

chaos: $(READY_DEV) ## kill all that takes part in a stream at random, and account for each event: make chaos [MINUTES=20] [SEED=1] [RATE=833]
	@$(BIN)/python -m kpi_assets_tests.e2e.chaos --minutes $(or $(MINUTES),20) --seed $(or $(SEED),1) --rate $(or $(RATE),833)

bench: $(READY_DEV) ## compare the speed with other tools: make bench [ORDERS=3421083] [REPEAT=3]
	@$(BIN)/python -m bench --orders $(or $(ORDERS),3421083) --repeat $(or $(REPEAT),3) --json .bench/figures.json

lint: $(READY_DEV) ## check with ruff, import contracts, mypy and sqlfluff, the docs, and known vulnerabilities of the pinned packages
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/lint-imports --no-cache --no-logo
	@$(BIN)/mypy
	@$(BIN)/sqlfluff lint --disable-progress-bar sql kpi_assets/ledger/migrations kpi_assets/templates kpi_assets_tests/e2e/sql
	@$(BIN)/python -m kpi_assets.docs --check
	@$(SITE)
	@$(BIN)/python -m supply_chain.audit requirements.lock

docs: $(READY_DEV) ## write the reference pages from the code, and build the site into .site
	@$(BIN)/python -m kpi_assets.docs
	@$(SITE)
	@echo "Open .site/index.html."

sbom: $(READY_DEV) ## write the software bill of materials, as CycloneDX: make sbom [SBOM=sbom.cdx.json]
	@$(BIN)/python -m supply_chain.sbom requirements.lock $(or $(SBOM),sbom.cdx.json)

format: $(READY_DEV) ## format Python and SQL
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format --quiet .
	@$(BIN)/sqlfluff fix --quiet sql kpi_assets_tests/e2e/sql

OF_SPARK := kpi_assets_tests/model/portable
lock: $(READY) ## resolve pyproject.toml and uv into the lock files
	@echo "uv==$(UV_VERSION)" | $(BIN)/uv pip compile $(COMPILE) - -o requirements-uv.lock
	@$(BIN)/uv pip compile $(COMPILE) --extra local pyproject.toml -o requirements.lock
	@$(BIN)/uv pip compile $(COMPILE) --extra local --extra parquet --extra zstd --extra spark --extra dev -c requirements.lock pyproject.toml -o requirements-dev.lock
	@$(BIN)/uv pip compile $(COMPILE) -c requirements-dev.lock $(OF_SPARK)/spark.in -o $(OF_SPARK)/spark.lock

clean: ## remove the virtual environment and the embedded stack's state
	@test ! -x $(BIN)/kpi || $(BIN)/kpi down
	rm -rf .venv .kpi
