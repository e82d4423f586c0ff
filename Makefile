# Every target stands on `make install`, which makes .venv and nothing else.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo up test lint bench lock clean
.DEFAULT_GOAL := help

help:  ## Show this help
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

install: .venv/installed  ## Make .venv with Reelin and everything that it needs

.venv/installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Reelin needs Python 3.11 or newer; run: make install PYTHON=python3.11"; exit 1; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: install  ## Download real media end to end, in a temporary folder, and check every file
	$(BIN)/reelin demo

up: install  ## Start Reelin on http://127.0.0.1:8484 (Ctrl-C stops it)
	$(BIN)/reelin up

test: install  ## Run the whole test suite
	$(BIN)/python -m pytest -n 3 --dist loadfile

lint: install  ## Check style, types and the import contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: install  ## Print the benchmark tables (starts a service of its own)
	$(BIN)/python bench/submit.py
	$(BIN)/python bench/progress.py
	$(BIN)/python bench/guard.py
	$(BIN)/python bench/engine.py
	$(BIN)/python bench/steps.py
	$(BIN)/python bench/polite.py
	$(BIN)/python bench/leases.py
	$(BIN)/python bench/line.py
	$(BIN)/python bench/batch.py
	$(BIN)/python bench/lists.py
	$(BIN)/python bench/temporal.py

lock:  ## Renew requirements.lock (needs uv)
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-emit-find-links --no-header --no-annotate -o requirements.lock

clean:  ## Remove .venv and what tools left behind
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache build dist
