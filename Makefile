# Everything happens in .venv, which is brought up to date when pyproject.toml or constraints.txt change.
# Any Python from 3.11 on:  make test PYTHON=python3.12

PYTHON ?= python3
BIN := .venv/bin
INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --quiet --quiet --constraint constraints.txt --editable

WORKERS ?= 2
# Two trainers that docs/migration.md is compared with. They ask for another torchvision, so they lie beside the environment.
PEERS := denoising-diffusion-pytorch==2.3.4 ema-pytorch==0.8.3 einops==0.8.2 k-diffusion==0.1.1.post1 torchdiffeq==0.2.5 \
	jsonmerge==1.9.2 jsonschema==4.26.0 jsonschema-specifications==2025.9.1 referencing==0.37.0 rpds-py==2026.9.1
# The version of onnxruntime-web that src/carrara/export/page.py knows.
ORT_WEB := 1.30.0

.PHONY: help demo test test-slow test-browser lint types format clean

help:
	@echo "make demo        installs, trains a small model on built-in pictures, says where the samples are"
	@echo "make test        the tests that take seconds"
	@echo "make test-slow   the tests that take minutes; with CARRARA_THOROUGH=1 all of their cases, and not a third"
	@echo "make test-browser   pages in chromium, which it installs where it may"
	@echo "make lint        ruff: rules and format"
	@echo "make types       pyright, strict"
	@echo "make format      lets ruff repair and format"
	@echo "make clean       deletes .venv and caches; runs/ stays"

demo: .venv/.stamp
	$(BIN)/carrara demo

# One thread each: sums are added in the same order everywhere, and two workers do not fight for two cores.
test test-slow test-browser: export CARRARA_TEST_THREADS ?= 1
test test-slow test-browser: export OMP_NUM_THREADS ?= 1
# Compiled once, and not again by each of the hundreds of processes that tests begin, whatever the environment says.
test test-slow test-browser: export PYTHONDONTWRITEBYTECODE :=

test: .venv/.stamp-dev
	$(BIN)/python -m pytest --numprocesses $(WORKERS)

test-slow: .venv/.stamp-dev
	$(BIN)/python -m pytest -m slow --numprocesses $(WORKERS)

test-browser: .venv/.stamp-browser
	$(BIN)/python -m pytest -m browser --numprocesses $(WORKERS) --dist loadfile

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
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --quiet --no-deps --upgrade --target .venv/peers $(PEERS)
	@touch $@ .venv/.stamp

# Without the right to install Debian's packages, or without npm, the tests say what is missing, and are skipped.
.venv/.stamp-browser: .venv/.stamp-dev
	$(BIN)/python -m pip install --disable-pip-version-check --quiet --quiet --constraint constraints.txt playwright axe-playwright-python
	npm install --prefix .venv/web --silent --ignore-scripts --no-audit --no-fund onnxruntime-web@$(ORT_WEB) || true
	command -v chromium >/dev/null || timeout 600 apt-get install --yes --quiet chromium >/dev/null || true
	@touch $@
