# `make demo` and `make test` work on a fresh machine with Python 3.10 or later.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo fuzz test test-fast test-addons test-lowest lint reference weights-check clean

# Rebuilt when the requirements change.
.venv/installed: setup.py
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --upgrade pip
	$(BIN)/pip install --quiet --editable .
	touch $@

.venv/tested: .venv/installed
	$(BIN)/pip install --quiet --editable ".[test]"
	touch $@

# TensorFlow Addons needs TensorFlow 2.15 and Keras 2.15, so Python 3.11 at most.
.venv-addons/installed: setup.py
	$(PYTHON) -m venv .venv-addons
	.venv-addons/bin/pip install --quiet --upgrade pip
	.venv-addons/bin/pip install --quiet --editable ".[addons]"
	touch $@

demo: .venv/installed
	$(BIN)/keras-hourglass demo --out demo_out --overwrite

# Files go to the processors whole, since tests of a file share what they set up; the order is that
# of tests/conftest.py.
SHARED_OUT := -q -n auto --dist loadfile --no-loadscope-reorder

test: .venv/tested lint
	$(BIN)/python -m pytest $(SHARED_OUT)

test-fast: .venv/tested
	$(BIN)/python -m pytest $(SHARED_OUT) -m "not slow and not full"

test-addons: .venv/tested .venv-addons/installed
	KERAS_HOURGLASS_ADDONS_PYTHON=$(CURDIR)/.venv-addons/bin/python \
		$(BIN)/python -m pytest -q tests/test_addons.py

.venv-lowest/installed: setup.py tests/constraints-lowest.txt
	$(PYTHON) -m venv .venv-lowest
	.venv-lowest/bin/pip install --quiet --upgrade pip
	.venv-lowest/bin/pip install --quiet --constraint tests/constraints-lowest.txt \
		--editable ".[serve,heif,parquet]" pytest pytest-xdist hypothesis
	touch $@

test-lowest: .venv-lowest/installed
	# All but what editors say and the page of licences, which are about the newest releases.
	.venv-lowest/bin/python -m pytest $(SHARED_OUT) -m "not full" tests \
		--ignore tests/package/test_editors.py --ignore tests/package/test_licences.py

# An hour of mutated files for every reader; a minute of it is in `make test`.
SECONDS ?= 3600
fuzz: .venv/tested
	$(BIN)/python tests/helpers/fuzz_readers.py --seconds $(SECONDS) --table benchmarks/fuzz.md

lint: .venv/tested
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The API reference as web pages: reference/index.html.
reference: .venv/tested
	$(BIN)/python tests/package/reference.py reference

# Measures every published network again and compares cards and tables; DATA holds lsp_train/ and
# coco_people/. About ten minutes on two cores.
DATA ?= ../shared/data
weights-check: .venv/tested
	$(BIN)/python benchmarks/cards.py --check --data-root $(DATA)

clean:
	rm -rf build dist *.egg-info demo_out reference
