# `make demo` and `make test` are all a fresh machine needs: both create .venv and install into it first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUN ?= runs/quickstart
# SLOW=1 adds the tests that take more than about ten seconds (CI sets it).
MARKS := $(if $(SLOW),,-m "not slow")
# One thread per process: tests and labels run in as many processes as there are cores.
export OMP_NUM_THREADS ?= 1

.PHONY: demo test lint install clean

demo: install
	$(BIN)/phonograph run examples/quickstart.toml -o $(RUN)

test: install lint
	$(BIN)/python -m pytest $(MARKS) -n 2 --dist loadfile $(PYTEST)

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit("Phonograph needs Python 3.11 or newer, got " + sys.version.split()[0] + "; run: make PYTHON=python3.11 ...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[test]"
	touch $@

clean:
	rm -rf $(VENV) build src/*.egg-info .pytest_cache .mypy_cache .ruff_cache
