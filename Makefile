# Everything happens in .venv; a fresh machine needs Python 3.11 or newer, pip and make.

PYTHON ?= python3
ARGS ?=
PYTEST_ARGS ?=
# Most tests wait most of the time: more processes than cores.
WORKERS ?= 6

BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test unit lint coverage faults budgets mpy fuzz bench clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo "Tests that need Mosquitto, Docker or root are skipped without; the end of a run"
	@echo "says which, and the command that installs what they need. faults and bench need"
	@echo "Mosquitto, faults root too."

demo: .venv/demo.stamp ## broker, manager, gateway, three devices, 30 s; ARGS=--keep
	@$(BIN)/python -m gateway.demo $(ARGS)

test: lint ## linter, types and all tests, 5 min; PYTEST_ARGS="-k codec" chooses
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal -p tests.support.alone $(PYTEST_ARGS)

unit: .venv/test.stamp ## the tests that need no broker and no network, 1 min
	$(BIN)/python -m pytest tests/unit $(PYTEST_ARGS)

lint: .venv/test.stamp ## linter, formatter, imports and types alone
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy

coverage: .venv/test.stamp ## every branch of what decides has a test, 10 s
	$(BIN)/coverage run -m pytest -q tests/unit/core tests/unit/protocol tests/unit/cloud/test_availability.py tests/unit/manager/history
	$(BIN)/coverage report

faults: .venv/test.stamp ## fault scenarios in full size, 1 h; ARGS="-k outage" chooses
	FAULTS=full $(BIN)/python -m pytest -o faulthandler_timeout=5400 tests/faults $(ARGS)

bench: .venv/test.stamp ## gateway beside a paho+boto3 loop, in one run; then the manager
	$(BIN)/python tests/benchmarks/bench_gateway.py $(ARGS)
	$(BIN)/python tests/benchmarks/bench_latency.py
	$(BIN)/python tests/benchmarks/bench_plans.py
	$(BIN)/python tests/benchmarks/bench_memory.py
	$(BIN)/python tests/benchmarks/bench_files.py
	$(BIN)/python tests/benchmarks/bench_acl.py
	$(BIN)/python tests/benchmarks/bench_manager.py

budgets: .venv/test.stamp ## what the SDK costs a board, beside its ceilings and goals
	$(BIN)/python -m tests.device.budgets.sdk_budgets

mpy: .venv/demo.stamp ## the SDK as .mpy for boards, with package.json, in build/mpy
	rm -rf build/mpy
	$(BIN)/python -m device_sdk.mpy build/mpy

fuzz: .venv/fuzz.stamp ## a million inputs for codec and core; ARGS=crash-… repeats one
	$(BIN)/python -m tests.fuzz $(ARGS)

clean: ## remove .venv and what the tools left
	rm -rf .venv build dist *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Installed again only when what is to be installed has changed. A broken .venv is made again.
.venv/%.stamp: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "$(PYTHON) is older than Python 3.11; try: make PYTHON=python3.12 $(MAKECMDGOALS)" >&2; exit 2; }
	@$(BIN)/python -c '' 2>/dev/null || $(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[$*]'
	@touch $@
