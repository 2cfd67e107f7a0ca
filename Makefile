# Everything runs in .venv, which `make install` makes; any Python from 3.11 on will do: make PYTHON=python3.12
PYTHON := $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed

.PHONY: install search test soak check clean

install: $(STAMP)

$(STAMP): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install --disable-pip-version-check --editable '.[dev]'
	touch $@

# The main job; more options as in: make search ARGS="--data digits --trials 200"
search: install
	$(PY) -m nas.search --budget 4.5GFLOPs $(ARGS)

# Tests use one thread each; as many run side by side as there are cores, four at most: each process takes some 2 GB.
test: install
	$(PY) -m pytest -m "not soak" --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

# Tests that need minutes each.
soak: install
	$(PY) -m pytest -m soak $(ARGS)

check: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
