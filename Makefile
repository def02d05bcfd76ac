# The two commands of the README are `make demo` and `make test`.
PYTHON ?= python3
METHOD ?= fabric
BIN := .venv/bin

.PHONY: demo test lint bench clean
.DELETE_ON_ERROR:

demo: .venv/ready
	$(BIN)/python tools/demo.py $(METHOD)

test: lint
	$(BIN)/python -m pytest

lint: .venv/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy scaffold tests tools benchmarks
	for example in digits text; do \
	  MYPYPATH=template/examples/$$example:template/tests \
	  $(BIN)/mypy template/*.py template/tests template/examples/$$example || exit; done
	for tracker in none tensorboard wandb mlflow; do \
	  $(BIN)/mypy template/trackers/$$tracker || exit; done

bench: .venv/ready
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/run.py

# installs once, and again when what is wanted changes
.venv/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $@

clean:
	rm -rf .venv build
