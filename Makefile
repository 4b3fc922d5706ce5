VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
PORT ?= 3000

.DEFAULT_GOAL := help
.PHONY: help setup run ui test browser lint types bench docs pictures

help: ## Show the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 10

$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[samples,studio]'
	@touch $@

# They ask for torchvision, an older numpy or a screen, which the tests that compare with them, or
# read exports with them, do not need.
$(VENV)/.tested: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	$(BIN)/python -m pip install --quiet --no-deps 'sam3==0.1.4' 'segment-anything-hq==0.3' \
		'labelme==6.3.1' 'ultralytics==8.4.190'
	@touch $@

setup: $(VENV)/.tested ## Make .venv and install everything, for the tests too

run ui: export DAGSTER_HOME = $(CURDIR)
run ui: export SEGPIPE_ROOT ?= $(CURDIR)/data

run: $(VENV)/.installed ## Put three sample deals through every asset, in both modes
	$(BIN)/segpipe samples
	$(BIN)/segpipe run
	$(BIN)/segpipe run --mode inside_box

ui: $(VENV)/.installed ## Open the studio, with Dagster in it, on the same deals; PORT=3000
	$(BIN)/segpipe studio --port $(PORT)

lint: setup ## Format and lint, checked
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: setup ## Types, strict
	$(BIN)/mypy

# The studio's tests drive a real one. Where none is installed, root on Debian gets Debian's.
BROWSERS := chromium chromium-browser google-chrome google-chrome-stable chrome
browser:
	@[ -z "$$SEGPIPE_TEST_BROWSER" ] || exit 0; \
	for name in $(BROWSERS); do command -v $$name > /dev/null && exit 0; done; \
	if [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null; then \
		apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
			apt-get install -y -qq --no-install-recommends chromium > /dev/null; \
	else \
		echo "The tests need a browser: install Chromium (Debian: apt-get install chromium)," \
			"or name its file in SEGPIPE_TEST_BROWSER." >&2; exit 1; \
	fi

test: browser lint types ## Lint, types and tests
	$(BIN)/pytest -n 2

# sahi asks for OpenCV's wheel with a screen, which would overwrite the one without.
bench: setup ## Every benchmark: tables of ratios
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	$(BIN)/python -m pip install --quiet --no-deps 'sahi==0.12.8'
	$(BIN)/python -m benchmarks

docs: export NO_MKDOCS_2_WARNING = 1
docs: $(VENV)/.installed ## The documentation as a site, into build/site
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	$(BIN)/python -m mkdocs build --strict --quiet
	@echo build/site/index.html

pictures: $(VENV)/.installed ## Draw the pictures of the documentation from the sample deals
	$(BIN)/python -m docs.pictures
	$(BIN)/python -m docs.cutout_pictures
	$(BIN)/python -m docs.studio_pictures
	$(BIN)/python -m docs.diagrams
