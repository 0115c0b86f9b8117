# make run    from nothing to a server that answers on http://127.0.0.1:8000; with RECIPE, STEPS, GPUS, PORT: see scripts/
# make test   every test; make check: every test, the linter and the type checker

PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test lint check clean

run: .venv/users
	@PATH="$(CURDIR)/$(BIN):$$PATH" RECIPE="$(RECIPE)" STEPS="$(STEPS)" GPUS="$(GPUS)" PORT="$(PORT)" sh scripts/run.sh

test: .venv/developers
	$(BIN)/python -m pytest --numprocesses 3 --dist worksteal

lint: .venv/developers
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

check: lint test

clean:
	rm -rf .venv

# What is installed, marked by an empty file each, so that it is installed again when what it depends on changes.
.venv/users: .venv/pip pyproject.toml constraints.txt
	$(BIN)/pip install -c constraints.txt -e '.[train,serve,cuda]'
	@touch $@

.venv/developers: .venv/users
	$(BIN)/pip install -c constraints.txt -e '.[train,serve,cuda,otel,dev]'
	@touch $@

.venv/pip:
	@sh scripts/make_venv.sh $(PYTHON)
	@touch $@
