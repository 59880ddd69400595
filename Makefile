# make train: the main job. make test: lint, types and tests. make serve: serves the model exported last, or MODEL=export/<name>.
# make test-fast: the tests that start no processes and do not take many seconds. make docs: the pages of docs/, as HTML.
# Each sets up .venv first, which needs nothing but Python 3.11.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: train test test-fast serve benchmark study study-quick docs clean

train: $(VENV)/.train
	$(PY) -m regan_tf.main --estimator=rebar --temperature=0.1

test: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(PY) -m pytest

test-fast: $(VENV)/.test
	$(PY) -m pytest -m "not slow"

serve: $(VENV)/.serve
	$(PY) -m regan_tf.serve $(if $(MODEL),--model_dir=$(MODEL))

benchmark: $(VENV)/.train
	$(PY) -m regan_tf.benchmark

# The study: every sweep in configs/, then a report of each. What is finished is not run again. Hours on two cores: docs/results.md.
# study-quick: figure 4 on two seeds, minutes.
SWEEPS := figure_4 figure_5 figure_6 from_scratch pretraining batch_size length recipes recipes_long

study: $(VENV)/.train
	-$(PY) -m regan_tf.sweep $(SWEEPS:%=--sweep=configs/%.toml) --output=runs/study
	for name in $(SWEEPS); do $(PY) -m regan_tf.report runs/study/$$name --output=report/$$name || exit 1; done
	$(PY) -m regan_tf.report runs/study/from_scratch --generator=best --output=report/from_scratch_best

study-quick: $(VENV)/.train
	$(PY) -m regan_tf.sweep --sweep=configs/figure_4.toml --seeds=2 --output=runs/quick
	$(PY) -m regan_tf.report runs/quick --output=report/quick

docs: $(VENV)/.docs
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

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache docs/_build
