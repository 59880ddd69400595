# `make help` lists what there is to make. Each target sets up .venv first, which needs nothing but
# Python 3.11 or later: PYTHON=python3.12 chooses one.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: help train serve benchmark test test-fast test-oldest lint types format build docs study study-quick clean

train: $(VENV)/.train  ## the main job: REBAR at length 3
	$(PY) -m regan_tf.main --estimator=rebar --temperature=0.1

help:  ## this list
	@awk -F ':.*  ## ' '/^[a-z-]+:.*  ## / { printf "%-14s%s\n", $$1, $$2 }' Makefile

serve: $(VENV)/.serve  ## serves the model exported last, or MODEL=export/<name>
	$(PY) -m regan_tf.serve --versions=3 $(if $(MODEL),--model_dir=$(MODEL))

benchmark: $(VENV)/.train  ## milliseconds and ratios of every step
	$(PY) -m regan_tf.benchmark

test: lint types  ## lint, types and all tests
	$(PY) -m pytest

test-fast: $(VENV)/.test  ## the tests that start no processes and do not take many seconds
	$(PY) -m pytest -m "not slow"

test-oldest: .venv-oldest/.test  ## these and the extras' with the oldest versions; Python 3.11
	.venv-oldest/bin/python -m pytest -m "not slow"
	.venv-oldest/bin/python -m pytest -m slow tests/serving tests/studies/sweep_test.py tests/quickstart_test.py

lint: $(VENV)/.test  ## ruff: rules and format
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/.test  ## mypy, over the public modules
	$(VENV)/bin/mypy

format: $(VENV)/.test  ## puts right what lint can
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

build: $(VENV)/.test  ## source distribution and wheel, into dist/
	$(PY) -m build

# What is finished is not run again. Hours on two cores: docs/results.md.
SWEEPS := figure_4 figure_5 figure_6 from_scratch pretraining batch_size length recipes recipes_long

study: $(VENV)/.train  ## the sweeps of the grammar in configs/, then a report of each
	-$(PY) -m regan_tf.sweep $(SWEEPS:%=--sweep=configs/%.toml) --output=runs/study
	for name in $(SWEEPS); do $(PY) -m regan_tf.report runs/study/$$name --output=report/$$name || exit 1; done

study-quick: $(VENV)/.train  ## figure 4 on two seeds, minutes
	$(PY) -m regan_tf.sweep --sweep=configs/figure_4.toml --seeds=2 --output=runs/quick
	$(PY) -m regan_tf.report runs/quick --output=report/quick

docs: $(VENV)/.docs  ## the pages of docs/ and the API reference, as HTML
	$(PY) -m sphinx -W --keep-going -q -b html docs docs/_build/html
	@echo "open docs/_build/html/index.html"

$(VENV)/.train: requirements.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.serve: requirements-serving.txt $(VENV)/.train
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-serving.txt
	touch $@

$(VENV)/.test: requirements-dev.txt $(VENV)/.serve
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

$(VENV)/.docs: requirements-docs.txt $(VENV)/.train
	$(VENV)/bin/pip install --quiet --disable-pip-version-check -r requirements-docs.txt
	touch $@

.venv-oldest/.test: constraints-oldest.txt pyproject.toml
	$(PYTHON) -m venv .venv-oldest
	.venv-oldest/bin/pip install --quiet --disable-pip-version-check -c constraints-oldest.txt -e '.[test]'
	touch $@

clean:  ## removes the environments, caches and what was built
	rm -rf $(VENV) .venv-oldest .pytest_cache .ruff_cache .mypy_cache .hypothesis build dist docs/_build *.egg-info
