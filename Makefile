VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
export SEGPIPE_ROOT ?= $(CURDIR)/data

.DEFAULT_GOAL := help
.PHONY: help setup run ui test lint types bench clean

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	@touch $@

setup: $(VENV)/.installed ## Make .venv and install

run: setup ## Put two sample deals of real photos through every asset
	$(BIN)/segpipe samples
	$(BIN)/segpipe run

ui: setup ## Open the Dagster webserver and daemon on the same deals
	DAGSTER_HOME=$(CURDIR) $(BIN)/dagster dev --workspace workspace.yaml

lint: setup
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup
	$(BIN)/mypy

test: lint types ## Lint, types and tests
	$(BIN)/pytest -n 2
