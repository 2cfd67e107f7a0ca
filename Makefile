# Everything runs in .venv, which `make install` makes; any Python from 3.11 on will do: make PYTHON=python3.12
PYTHON := $(shell command -v python3.11 || command -v python3)
VENV := .venv
PY := $(VENV)/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
STAMP := $(VENV)/.installed
LOCK := requirements.lock
LOCKER := build/locker

.PHONY: install install-newest lock search test tour soak check clean

install: $(STAMP)

# Exactly what the lock names. What builds packages comes first: without isolation its version is the lock's too.
$(STAMP): pyproject.toml $(LOCK)
	$(PYTHON) -m venv $(VENV)
	$(PIP) install "$$(grep '^setuptools==' $(LOCK))"
	$(PIP) install --no-build-isolation --use-pep517 --requirement $(LOCK)
	$(PIP) install --no-build-isolation --no-deps --editable .
	touch $@

# The newest versions that pyproject.toml admits instead, to see whether they work; `make clean install` goes back to the lock.
install-newest:
	$(PYTHON) -m venv $(VENV)
	$(PIP) install --upgrade --upgrade-strategy eager --editable '.[dev]'
	touch $(STAMP)
	$(PIP) freeze --exclude-editable

# Write the lock anew; it keeps its versions as far as pyproject.toml admits them. All the newest: make lock ARGS=--upgrade
lock:
	$(PYTHON) -m venv $(LOCKER)
	$(LOCKER)/bin/python -m pip --disable-pip-version-check install --quiet uv
	$(LOCKER)/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev --no-annotate \
		--custom-compile-command 'make lock' --output-file $(LOCK) $(ARGS) pyproject.toml

# The main job; more options as in: make search ARGS="--data digits --trials 200"
search: install
	$(PY) -m nas.search --budget 4.5GFLOPs $(ARGS)

# Tests use one thread each; as many run side by side as there are cores, four at most: each process takes some 2 GB.
test: install
	$(PY) -m pytest -m "not soak" --numprocesses auto --maxprocesses 4 --dist worksteal $(ARGS)

# The quick start: search, draw, retrain, export. Writes docs/quick-start.md with what the commands print, in about 20 minutes.
tour: install
	$(PY) docs/quick_start.py $(ARGS)

# Tests that need minutes each.
soak: install
	$(PY) -m pytest -m soak $(ARGS)

check: install
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy

clean:
	rm -rf $(VENV) build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
