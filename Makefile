# Two commands on a fresh machine with Python and make: `make demo` and `make test`.
PYTHON ?= python3
PIP_ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check install -q $(PIP_ARGS) -c constraints.txt
WORKERS ?= 2

.PHONY: demo test test-slow lint bench docs sbom lock clean

demo: $(VENV)/.demo
	$(BIN)/python examples/demo.py -o demo

test: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m "not slow"

test-slow: $(VENV)/.test
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(WORKERS) -m slow

lint: $(VENV)/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.bench
	$(BIN)/python benchmarks/quality.py

docs: $(VENV)/.docs
	$(BIN)/python -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo docs/_build/html/index.html

sbom: $(VENV)/.test
	$(BIN)/python release/sbom.py -o sbom.cdx.json

lock: $(VENV)/.test
	$(BIN)/python release/lock.py > requirements-ci.lock.new
	mv requirements-ci.lock.new requirements-ci.lock

# torch comes first and pinned: without that pip may fetch gigabytes of CUDA for an open range.
$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(PIP) torch

$(VENV)/.demo: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[demo]"
	@touch $@

$(VENV)/.test: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[test]"
	@touch $@

$(VENV)/.bench: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[benchmark]"
	@touch $@

$(VENV)/.docs: $(BIN)/python pyproject.toml constraints.txt
	$(PIP) -e ".[docs]"
	@touch $@

clean:
	rm -rf $(VENV) demo runs build dist docs/_build docs/reference docs/gallery
