# Casebook: `make run` to use it, `make test` to check it. Both set up what they need, once.

VENV := .venv
BIN := $(VENV)/bin
CPU_INDEX := https://download.pytorch.org/whl/cpu
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps
LOCKED := $(PIP) --require-hashes --only-binary :all:

# The first Python here that is 3.11, 3.12 or 3.13; `make PYTHON=… run` chooses another.
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null \
	&& echo $$p && break; done)

.PHONY: run test setup eval eval-smoke peers sbom audit dist lock clean help

help:
	@echo "make run    set up, ingest corpus/, and serve the page on http://127.0.0.1:8000"
	@echo "make test   set up, and run every check"
	@echo "make eval   measure retrieval, answers and abstention on EVAL_DATA; reports go to build/"
	@echo "make eval-smoke  the same in small, in a few minutes, failing where a figure has dropped"
	@echo "make peers  put Casebook beside LlamaIndex, LangChain, Haystack and txtai: an hour"
	@echo "make sbom   write the bill of materials of what ships to build/"
	@echo "make audit  ask for known vulnerabilities of the locked dependencies, where the network allows"
	@echo "make dist   build the package, to the same bytes everywhere"
	@echo "make lock   resolve the dependencies anew"
	@echo "make clean  remove what set-up and use have made here"

run: setup
	@echo "==> Ingesting corpus/ and docs/runbooks/ (only what changed is read)"
	@$(BIN)/casebook ingest
	@echo "==> Starting the service; Ctrl-C stops it"
	@exec $(BIN)/casebook serve

test: $(VENV)/tested-with
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/python -m pytest

setup: $(VENV)/runs-with

$(VENV)/runs-with: requirements/runtime.lock requirements/torch-cpu.lock \
		requirements/torch-pypi.lock pyproject.toml
	@test -n "$(PYTHON)" || { echo "Casebook needs Python 3.11, 3.12 or 3.13 with its venv \
	module (Debian, Ubuntu: apt install python3-venv): install one, or name it with make PYTHON=/path/to/python"; exit 1; }
	@echo "==> Setting up $(VENV) with $$($(PYTHON) --version) (once; a minute or two)"
	@$(PYTHON) -m venv --clear $(VENV)
	@echo "==> Installing torch"
	@$(LOCKED) --retries 1 --extra-index-url $(CPU_INDEX) -r requirements/torch-cpu.lock || true
	@$(BIN)/python -m pip show -qq torch || { echo "==> No CPU build of torch to be had for this \
	Python: installing PyPI's build, on Linux with some 3 GB of CUDA libraries"; \
	$(LOCKED) -r requirements/torch-pypi.lock; }
	@echo "==> Installing the other dependencies"
	@$(LOCKED) -r requirements/runtime.lock
	@$(PIP) --no-build-isolation --editable .
	@touch $@

$(VENV)/tested-with: $(VENV)/runs-with requirements/dev.lock
	@echo "==> Installing the tools that the tests need"
	@$(LOCKED) -r requirements/dev.lock
	@sh .ci/tools $(BIN)
	@touch $@

EVAL_DATA ?= ../shared/eval
PAGES ?= 700

eval: setup
	@mkdir -p build
	@$(BIN)/casebook eval $(EVAL_DATA)/infra-faq --report build/eval-infra-faq.html \
		--corpus-ids $(EVAL_DATA)/infra-faq/corpus_small_ids.txt
	@$(BIN)/casebook eval $(EVAL_DATA)/squad2 --report build/eval-squad2.html
	@$(BIN)/casebook eval $(EVAL_DATA)/scifact --report build/eval-scifact.html

eval-smoke: $(VENV)/tested-with
	@$(BIN)/python -m pytest -q -rP tests/test_quality.py

peers: $(VENV)/tested-with
	@$(BIN)/python -m benchmarks.peers --pages $(PAGES)

sbom: $(VENV)/tested-with
	@mkdir -p build
	@$(BIN)/python -m deploy.sbom -o build/casebook.cdx.json

audit: $(VENV)/tested-with
	@$(BIN)/python -m deploy.audit

dist: $(VENV)/tested-with
	@$(BIN)/python -m deploy.release build/dist

lock: setup
	@$(PIP) uv==0.13.9
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python requirements/lock.py

clean:
	rm -rf $(VENV) .casebook build *.egg-info
