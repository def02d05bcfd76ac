# The commands of the README are `make demo`, `make test` and `make test-all`.
PYTHON ?= python3
METHOD ?= fabric
BIN := .venv/bin
DEMO := build/env-$(METHOD)

.PHONY: demo test test-all quick all test-gpu lint soak audit bench bench-gpu clean
.DELETE_ON_ERROR:

demo: $(DEMO)/ready
	$(DEMO)/bin/python tools/demo.py $(METHOD)

# the tool alone; demo.py adds what the project says that it needs
$(DEMO)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(DEMO)
	$(DEMO)/bin/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable .
	touch $@

# One worker more than cores, for tests often wait; each takes what another has not begun. What has the
# mark `full` is another case of a claim that a test without it holds.
WORKERS = $(shell $(PYTHON) -c 'import os; print((os.cpu_count() or 1) + 1)')
PYTEST = $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

# the linters beside the tests, for they use one core alone
MAKEFLAGS += --jobs=2
test: lint quick
test-all: lint all

quick: .venv/ready
	$(PYTEST) -m "not full"

all: .venv/ready
	$(PYTEST)

# what can be seen on a GPU alone
test-gpu: .venv/ready
	$(BIN)/python -m pytest -n 4 --dist loadgroup tests/test_gpu.py

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	PYTHONPATH=template $(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy scaffold tests tools benchmarks
	for example in digits text; do \
	  MYPYPATH=template/examples/$$example:template/tests \
	  $(BIN)/mypy template/*.py template/engine template/tests template/examples/$$example || exit; done
	for tracker in none tensorboard wandb mlflow; do \
	  $(BIN)/mypy template/trackers/$$tracker || exit; done

# the tests that try more moments, names and damages than fit into `make test`
soak: .venv/ready
	SOAK=1 $(BIN)/python -m pytest tests/ops/test_create.py tests/ops/test_switch.py \
	  tests/merge/test_relocate.py tests/test_names.py tests/template/test_answers.py \
	  tests/engine/test_failures.py tests/engine/test_kills.py tests/engine/test_damage.py \
	  tests/project/test_traps.py

# needs nothing of .venv
audit:
	$(PYTHON) tools/audit.py

bench: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/run.py

bench-gpu: .venv/ready
	$(BIN)/python benchmarks/gpu.py

# installs once, and again when what is wanted changes
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build
