# Each target does all its own set-up from a fresh clone; a second call repeats none of it.
PYTHON ?= python3
VERB ?= edit
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/installed
KNOWN := (3, 11) <= sys.version_info[:2] <= (3, 13)
HINT := upright needs Python 3.11, 3.12 or 3.13; name one: make PYTHON=python3.12 $(MAKECMDGOALS)

.PHONY: install demo test check bench docs clean
.SILENT:

install: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; $(KNOWN) or sys.exit("$(HINT)")'
	test -x $(BIN)/pip || $(PYTHON) -m venv --clear $(VENV)
	echo "installing into $(VENV), which takes some minutes the first time"
	$(BIN)/pip install -q --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: install
	$(BIN)/upright tour --out runs/tour --overwrite

test: check
	OMP_NUM_THREADS=1 $(BIN)/pytest -q -n 2 --dist worksteal

check: install
	$(BIN)/ruff format -q --check
	$(BIN)/ruff check -q
	$(BIN)/mypy --no-error-summary
	$(BIN)/pytest -q tests/contract/test_imports.py
	$(BIN)/python docs/build.py --check

bench: install
	$(BIN)/python -m benchmarks $(VERB)

docs: install
	$(BIN)/python docs/build.py

clean:
	rm -rf $(VENV) build dist .hypothesis .mypy_cache .pytest_cache .ruff_cache
	find src tests docs -name __pycache__ -prune -exec rm -rf {} +
