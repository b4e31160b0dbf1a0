# Everything a newcomer needs: `make run` and `make test`. Only Python 3.11+ and make must be there.
.DEFAULT_GOAL := help
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.PHONY: help install run demo test check lint types imports docs js bench clean lock

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-10s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Set up .venv with the pinned requirements

$(STAMP): requirements.lock pyproject.toml gateway/console/package-lock.json
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11") if sys.version_info < (3, 11) else None'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned requirements into $(VENV) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --only-binary :all: --no-binary http-ece -r requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m gateway.console_setup
	@touch $@

run: install ## Run the demo: private Redis, provider sandbox, 200 simulated phones
	@$(BIN)/gateway demo

demo: run ## The same as run

test: install ## Run the whole test suite
	@$(BIN)/python -m pytest -q

check: install lint types imports docs ## Lint, types, import contract, docs
	@$(BIN)/gateway demo --check

lint: install
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .

types: install
	@$(BIN)/mypy
	@$(BIN)/pyright

imports: install
	@$(BIN)/lint-imports

docs: install
	@$(BIN)/gateway docs --check

js: install ## Type-check the console
	@$(BIN)/python -m gateway.console_setup --check-types

bench: install ## Measure every budget on this machine
	@$(BIN)/gateway bench

lock: install ## Pin requirements.lock anew from pyproject.toml
	@$(BIN)/python -m pip install --quiet uv
	@$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header --group dev --extra mqtt pyproject.toml -o requirements.lock

clean: ## Remove the environment, caches and demo data
	rm -rf $(VENV) .data .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
