# `make demo` and `make test` do all the set-up themselves.
PYTHON ?= python3
VENV := .venv
RUN := $(VENV)/bin/python
# One thread each: side by side, more would slow each other down. One process more than cores: many tests wait for a browser or a job.
# Bytecode on disk, whatever the environment says: without it every process of a test compiles everything again.
PYTEST := PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(RUN) -m pytest -n $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1) --maxprocesses 4 --dist worksteal
export TOKENIZERS_PARALLELISM := false

.DEFAULT_GOAL := help

$(VENV)/.run: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Winnow needs Python 3.11 or newer; $(PYTHON) is older. Try: make PYTHON=python3.11 ..."; exit 1; }
	@test -x $(RUN) || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned packages into $(VENV) (a few minutes the first time) ..."
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.run
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

.PHONY: demo demo-llm app check test test-slow wheel-test chaos lint screenshots clean help

demo: $(VENV)/.run  ## score the sample, measure the frontier, export and verify a subset
	@$(RUN) -m pruning demo

demo-llm: $(VENV)/.run  ## the same for prompts and answers, with a small language model (135M, LoRA)
	@$(VENV)/bin/pip install --quiet --disable-pip-version-check $$(grep '^gguf==' requirements-dev.txt)
	@$(RUN) -m pruning demo-llm

app: $(VENV)/.run  ## open the dashboard on the experiments in ./experiments
	@$(RUN) -m pruning app

check: $(VENV)/.dev  ## the tests for every commit, within a minute: no browser, no processes, no kills
	@$(PYTEST) -m "not slow and not gpu and not browser and not process"

test: $(VENV)/.dev  ## all tests but the slow ones
	@$(RUN) tests/support/browser_setup.py
	@$(PYTEST) -m "not slow and not gpu"

test-slow: $(VENV)/.dev  ## the slow tests too
	@$(RUN) tests/support/browser_setup.py
	@$(PYTEST) -m "not gpu"

wheel-test: $(VENV)/.dev  ## build the wheel, install it into an empty environment and use it from another folder
	@$(RUN) tests/support/browser_setup.py
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -m slow tests/test_wheel.py

chaos: $(VENV)/.dev  ## kill the worker 50 times and the dashboard 10 times, and compare with undisturbed work (some 10 minutes)
	@$(RUN) tests/support/browser_setup.py
	@OMP_NUM_THREADS=1 $(RUN) -m pytest -m slow tests/jobs/test_chaos.py

lint: $(VENV)/.dev  ## ruff and mypy
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy

screenshots: $(VENV)/.dev  ## pictures of every page, from the running app on ./experiments/demo
	@$(RUN) assets/screenshots.py

clean:  ## delete the virtual environment and caches; experiments stay
	@rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis

help:  ## this list
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):[^#]*## /\1\t/' | column -t -s "$$(printf '\t')"
