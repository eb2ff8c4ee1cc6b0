# Everything happens in .venv, which is brought up to date when pyproject.toml or constraints.txt change.
# Any Python from 3.11 on:  make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --quiet --constraint constraints.txt --editable

WORKERS ?= 2

.PHONY: help demo test test-slow lint types format clean

help:
	@echo "make demo        installs, trains a small model on built-in pictures, says where the samples are"
	@echo "make test        the tests that take seconds"
	@echo "make test-slow   the tests that take minutes"
	@echo "make lint        ruff: rules and format"
	@echo "make types       pyright, strict"
	@echo "make format      lets ruff repair and format"
	@echo "make clean       deletes .venv and caches; runs/ stays"

demo: .venv/.stamp
	$(BIN)/carrara demo

# One thread each: sums are added in the same order everywhere, and two workers do not fight for two cores.
test test-slow: export CARRARA_TEST_THREADS ?= 1
test test-slow: export OMP_NUM_THREADS ?= 1

test: .venv/.stamp-dev
	$(BIN)/python -m pytest --numprocesses $(WORKERS)

test-slow: .venv/.stamp-dev
	$(BIN)/python -m pytest -m slow --numprocesses $(WORKERS)

lint: .venv/.stamp-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: .venv/.stamp-dev
	$(BIN)/pyright

format: .venv/.stamp-dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:
	rm -rf .venv .pytest_cache .ruff_cache

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "Carrara needs Python 3.11 or later: make PYTHON=python3.12, for example" >&2; exit 1; }
	$(PYTHON) -m venv .venv || { rm -rf .venv; exit 1; }

.venv/.stamp: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Carrara into .venv; the first time this takes a few minutes"
	$(INSTALL) '.[openmoji,text,metrics]'
	@touch $@

.venv/.stamp-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing Carrara and its tools into .venv; the first time this takes a few minutes"
	$(INSTALL) '.[dev]'
	@touch $@ .venv/.stamp
