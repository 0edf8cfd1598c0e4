# Everything runs in .venv, which the first target that needs it sets up from pinned requirements with hashes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help new test check lint format e2e e2e-without-qemu matrix bench bump lock clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /|/' | awk -F'|' '{ printf "make %-18s %s\n", $$1, $$2 }'

new: $(VENV)/new ## Generate a project; ARGS="project_name=… --output-dir …" are passed to cookiecutter
	@$(BIN)/python tools/new.py . $(ARGS)

test: $(VENV)/dev ## Run all tests that this machine can run, and say which it cannot
	@$(BIN)/pytest -m "not without_qemu" $(ARGS)

check: $(VENV)/dev ## Run the quick tests: no cargo, Docker or browser
	@$(BIN)/pytest -m "not cargo and not docker and not browser and not without_qemu" $(ARGS)

lint: $(VENV)/dev ## Lint the template's own files
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/yamllint --strict .
	@$(BIN)/shellcheck .ci/run
	@$(BIN)/zizmor --offline --quiet --persona auditor .github

format: $(VENV)/dev ## Format the Python files
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

e2e: $(VENV)/dev ## Build, push, pull and run real images; needs a Docker Engine and a registry on 127.0.0.1:5000
	@$(BIN)/pytest -m "docker and not without_qemu" $(ARGS)

e2e-without-qemu: $(VENV)/dev ## Build where nothing can emulate; needs an engine without binfmt handlers
	@$(BIN)/pytest -m without_qemu $(ARGS)

matrix: $(VENV)/dev ## Build and run every platform and runtime, and write README.md's matrix from that
	@$(BIN)/pytest tests/e2e/test_platforms.py -k "each_image or every_platform" $(ARGS)
	@$(BIN)/python tests/e2e/matrix.py

bench: $(VENV)/dev ## Time our build and its peers side by side; empties the builder's cache. ARGS="--more --rounds 1 --only floor,ours"
	@$(BIN)/python benchmarks/run.py $(ARGS)
	@$(BIN)/python benchmarks/report.py

bump: ## Write the actions' pins of pins.json into all workflows
	@$(PYTHON) tools/bump.py

lock: ## Pin the requirements anew; needs uv
	@for name in requirements requirements-dev; do \
	  uv pip compile --upgrade --universal --python-version 3.10 --generate-hashes \
	    --no-emit-index-url --no-annotate --no-header --quiet $$name.in -o $$name.txt; \
	done

clean: ## Remove what make made
	@rm -rf $(VENV) .cache .pytest_cache .ruff_cache .mypy_cache

$(VENV)/new: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed" if sys.version_info < (3, 10) else 0)'
	@$(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	@touch $@

$(VENV)/dev: requirements-dev.txt $(VENV)/new
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	@touch $@
