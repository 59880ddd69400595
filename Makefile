# make train: the main job. make test: lint and tests. make serve: serves the model exported last, or MODEL=export/<name>.
# Each sets up .venv first, which needs nothing but Python 3.11.
PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python

.PHONY: train test serve benchmark paper clean

train: $(VENV)/.train
	$(PY) -m regan_tf.main --estimator=rebar --temperature=0.1

test: $(VENV)/.test
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(PY) -m pytest

serve: $(VENV)/.serve
	$(PY) -m regan_tf.serve $(if $(MODEL),--model_dir=$(MODEL))

benchmark: $(VENV)/.train
	$(PY) -m regan_tf.benchmark

# The paper's figures 4 and 5, three seeds each; -j2 runs two at a time. What is finished is not run again.
PAPER := $(foreach t,3 15,$(foreach e,reinforce rebar relax,$(foreach s,0 1 2,runs/paper/$(t)_$(e)_$(s))))

paper: $(PAPER:%=%/summary.json)
	$(PY) -m regan_tf.report --runs='runs/paper/*'

runs/paper/%/summary.json: | $(VENV)/.train
	name=$*; $(PY) -m regan_tf.main --flagfile=configs/paper_$${name%_*}.flags --seed=$${name##*_} --workdir=$(@D)

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

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache
