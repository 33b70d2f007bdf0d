# Each target sets up what it needs in .venv; nothing is installed again until pyproject.toml changes.
#   make demo [STUDIES=path] [ARGS="--allow-not-assessed"]
#   make test [ARGS="tests/reporting -k presentation"]
#   make serve [ARGS="--config site.toml"]
#   make lint
#   make conformance [ARGS="--phantoms"]
#   make rehearsal [ARGS="--studies 200"], [ARGS="--ill-pacs-s 600"]

SHELL := /bin/bash
.DEFAULT_GOAL := demo
.DELETE_ON_ERROR:
.PHONY: demo test serve lint conformance rehearsal fuzz clean

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
STUDIES ?=
ARGS ?=

# The embedded broker has no wheel for Python 3.13 and newer, so 3.11 or 3.12 is looked for under its own name too.
# PYTHON=python3.13 is taken as it is; such a site needs [broker] url.
PYTHON ?= $(shell for p in python3 python3.12 python3.11; do \
	"$$p" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null \
	&& { echo "$$p"; break; }; done)

demo: $(VENV)/.cpu
	@$(BIN)/python -m service.cli.demo --out demo-output $(if $(STUDIES),--studies "$(STUDIES)") $(ARGS)

serve: $(VENV)/.cpu
	@$(BIN)/raddraft serve $(ARGS)

# Whole files go to a process in the order of tests/conftest.py, longest first; xdist's own order has those of one test last.
test: $(VENV)/.dev
# What they leave is removed at the end; to look at a failed test's files, run pytest alone.
# Short names: the path of a socket in a test's folder has at most 107 bytes.
	@scratch=$$(mktemp -d -p "$$($(BIN)/python -m tests.scratch)" rd-XXXXXX) && trap "rm -rf $$scratch" EXIT && \
	chmod 711 $$scratch && TMPDIR=$$scratch $(BIN)/python -m pytest -n auto --dist loadfile --no-loadscope-reorder \
		--basetemp=$$scratch/t -o tmp_path_retention_policy=failed $(ARGS)

# Every reader of another maker over every kind of result; writes docs/conformance-evidence.md.
conformance: $(VENV)/.dev
	@$(BIN)/python -m tests.conformance $(ARGS)

# A hospital plays its day around a whole service while things go wrong.
rehearsal: $(VENV)/.dev
	@$(BIN)/python -m tests.promises.rehearsal $(ARGS)

# Looks for bytes a parser of the receive path stumbles over, guided by the code they reach; ARGS are libFuzzer's.
fuzz: $(VENV)/.dev
	@$(BIN)/python -m pip install -q --disable-pip-version-check "atheris>=3"
	@$(BIN)/python -m tests.promises.fuzz.guided build/fuzz -max_total_time=900 $(ARGS)

# The types of training are checked against torch and TRL themselves, so lint installs its extras as well.
lint: $(VENV)/.training
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

clean:
	rm -rf $(VENV) build dist demo-output *.egg-info .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis

$(VENV)/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo "Python 3.11 or 3.12 with the venv module is needed (Debian: apt-get install python3-venv)." >&2; \
		echo "A newer one works with a broker of your own: make PYTHON=python3.13, and [broker] url." >&2; exit 1; fi
	@echo "Creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.cpu: EXTRAS := cpu
$(VENV)/.dev: EXTRAS := cpu,dev,postgres
$(VENV)/.training: EXTRAS := cpu,dev,postgres,training,sft,grpo

$(VENV)/.cpu $(VENV)/.dev $(VENV)/.training: pyproject.toml | $(VENV)/bin/python
	@echo "Installing raddraft with $(EXTRAS) into $(VENV) (once; one to two minutes)"
	@$(PIP) install --quiet --editable '.[$(EXTRAS)]'
	@touch $@
