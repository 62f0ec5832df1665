# Nothing but Python >= 3.11 and make is needed: every target makes its own virtual environment first.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
# In "compat" mode the packages are links that editors and type checkers follow; the default is an import hook.
EDITABLE := --no-deps --no-build-isolation --config-settings editable_mode=compat -e .

.PHONY: demo test check bench chaos fuzz generate lock clean help

help:
	@echo "make demo | test | check | bench | chaos | fuzz | generate | lock"

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements.lock
	$(PIP) $(EDITABLE)
	@touch $@ $(VENV)/.demo

# The demo needs about a third of what the tests need.
$(VENV)/.demo: requirements-demo.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(PIP) --require-hashes -r requirements-demo.lock
	$(PIP) $(EDITABLE)
	@touch $@

demo: $(VENV)/.demo
	@$(BIN)/ampeco-receiver demo $(ARGS)
# Three at a time even on two cores: most tests wait for leases, restarts and conditions, not for a processor.
test: $(VENV)/.ready
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder tests/plugins tests/typing tests/meta $(ARGS)

bench: $(VENV)/.ready
	@$(BIN)/python -m benchmarks $(ARGS)

# SECONDS=n, SEED=n: a whole deployment under random faults, then a judge over what was recorded.
chaos: $(VENV)/.ready
	@$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

# SECONDS=n, SEED=n: odd requests and odd payloads; see tests/fuzz/README.md.
fuzz: $(VENV)/.ready
	@$(BIN)/python -m tests.fuzz $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

# Rewrites what is made from the facts, and the tables between <!-- generated: ... --> marks in the documents;
# make check only compares them.
generate: $(VENV)/.ready
	$(BIN)/python -m ampeco.generator
	$(BIN)/python -m tests.meta.generated

# Needs uv (in the dev extra). Four locks: for developers, for the demo, for the image, and for what builds the wheel.
COMPILE := $(BIN)/uv pip compile --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock"
lock:
	$(COMPILE) pyproject.toml --extra dev -o requirements.lock
	echo "setuptools>=77" | $(COMPILE) pyproject.toml - --extra demo -o requirements-demo.lock
	$(COMPILE) pyproject.toml --extra otel -o deploy/requirements.lock
	echo "setuptools>=77" | $(COMPILE) - -o deploy/build-requirements.lock
	$(BIN)/python -m deploy.release sbom

clean:
	rm -rf .venv .venv-*
