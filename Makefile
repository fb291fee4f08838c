# `make demo` sets everything up and serves a made-up district; `make test` sets everything up and runs what CI runs;
# `make install` sets up the command line and the site alone, `make mlflow` adds MLflow's own pages to them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
MOCKS := tests/mock_servers/node_modules/.package-lock.json

# Where the environment forbids keeping compiled code, each command of a test would compile all its libraries anew.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: demo install mlflow test ready pytest check docs lock system clean

$(VENV)/.runtime: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned libraries (about 1 GB on disk; a few minutes on a slow line) ..."
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@

# The full MLflow over the client that the command line has: same versions, and its pages (`mlflow ui`) beside them.
$(VENV)/.mlflow: requirements-mlflow.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "Installing the pinned libraries (about 1 GB on disk; a few minutes on a slow line) ..."
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements-mlflow.lock
	$(BIN)/python -m pip install --quiet --no-deps --editable .
	touch $@ $(VENV)/.runtime

# The last install is code to compare ours with: the tests load only its estimators, which need none of the libraries
# (torch, seaborn) and old versions that it asks for. Libraries are compiled when they are first imported: most never are.
$(VENV)/.dev: requirements-dev.lock tests/obp.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --no-compile --require-hashes -r requirements-dev.lock
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --editable .
	$(BIN)/python -m pip install --quiet --no-compile --no-deps --require-hashes -r tests/obp.lock
	touch $@ $(VENV)/.runtime $(VENV)/.mlflow

demo: mlflow
	$(BIN)/handrail demo

install: $(VENV)/.runtime

mlflow: $(VENV)/.mlflow

# Debian's packages and Python's arrive side by side, and the checks run beside the first tests.
test:
	@$(MAKE) --no-print-directory --jobs 2 ready
	@$(MAKE) --no-print-directory --jobs 2 check docs pytest

ready: $(VENV)/.dev $(MOCKS)

pytest: $(VENV)/.dev
	$(BIN)/python -m pytest -n 2 --dist loadfile --no-loadscope-reorder

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# The documents as a site, with warnings as errors; a page that would load anything from another host is an error too.
docs: $(VENV)/.dev
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet
	@! grep -rnoE '<(script|link|img|iframe)[^>]*(src|href)="(https?:)?//[^"]*' build/site --include='*.html'

# The servers that official API documents are turned into, pinned by their own lock.
$(MOCKS): tests/mock_servers/package-lock.json | system
	cd tests/mock_servers && npm ci --silent --no-audit --no-fund --ignore-scripts
	touch $@

# Chromium, PostgreSQL and npm for the tests, from Debian, when they are not there yet.
system:
	@sh tests/install_system_packages.sh

lock:
	uv pip compile pyproject.toml --extra postgres --extra docs --extra mlflow --extra dev --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -q -o requirements-dev.lock
	uv pip compile pyproject.toml --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements.lock
	uv pip compile pyproject.toml --extra mlflow --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements-mlflow.lock
	uv pip compile pyproject.toml --extra bench --extra dev --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-header -q -c requirements-dev.lock -o requirements-bench.lock

clean:
	rm -rf $(VENV) var build *.egg-info
