# `make demo` and `make test` work on a fresh machine with Python 3.10 or later.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test test-fast lint clean

# Rebuilt when the requirements change.
.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

demo: .venv/installed
	$(BIN)/keras-hourglass demo --out demo_out --overwrite

test: .venv/tested lint
	$(BIN)/python -m pytest -q -n auto --dist loadfile

test-fast: .venv/tested
	$(BIN)/python -m pytest -q -n auto --dist loadfile -m "not full"

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf build dist *.egg-info demo_out
