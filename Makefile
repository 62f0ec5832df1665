# Nothing but Python >= 3.11 and make is needed: every target makes its own .venv first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test check bench chaos generate lock clean help

help:
	@echo "make demo | test | check | bench | chaos | generate | lock"

$(VENV)/.ready: requirements.lock pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

demo: $(VENV)/.ready
	@$(BIN)/ampeco-receiver demo $(ARGS)

# Three at a time even on two cores: most tests wait for leases, restarts and conditions, not for a processor.
test: $(VENV)/.ready
	$(BIN)/python -m pytest --numprocesses 3 --dist loadfile $(ARGS)

check: $(VENV)/.ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python -m pytest tests/meta $(ARGS)

bench: $(VENV)/.ready
	@$(BIN)/python -m benchmarks $(ARGS)

# SECONDS=n, SEED=n: a whole deployment under random faults, then a judge over what was recorded.
chaos: $(VENV)/.ready
	@$(BIN)/python -m tests.chaos $(if $(SECONDS),--seconds $(SECONDS)) $(if $(SEED),--seed $(SEED)) $(ARGS)

# Rewrites what is made from the facts, and the tables between <!-- generated: ... --> marks in the documents;
# make check only compares them.
generate: $(VENV)/.ready
	$(BIN)/python -m ampeco.generator
	$(BIN)/python -m tests.meta.generated

# Needs uv (in the dev extra). Three locks: everything for developers; the run-time part and what builds the wheel for the image.
lock:
	$(BIN)/uv pip compile pyproject.toml --extra dev --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o requirements.lock
	$(BIN)/uv pip compile pyproject.toml --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o deploy/requirements.lock
	echo "setuptools>=77" | $(BIN)/uv pip compile - --generate-hashes --universal --python-version 3.11 --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" -o deploy/build-requirements.lock

clean:
	rm -rf $(VENV)
