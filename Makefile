# Two commands for people: `make serve` and `make test`. `make check` is what CI runs.
SHELL := /bin/bash
PYTHON ?= python3
export COE_CACHE ?= $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/coe
# One environment per checkout, outside the tree.
VENV ?= $(COE_CACHE)/venv-$(shell pwd | cksum | cut -d' ' -f1)
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# Tests of one file stay together: they share what is made for them.
IN_PARALLEL := --numprocesses 2 --dist loadfile

.PHONY: serve test check prove clients format lint types gpu-check setup clean demo

serve: setup demo
	$(BIN)/coe serve --config examples/demo/coe.toml

test: setup demo
	$(BIN)/python -m pytest $(IN_PARALLEL)

check: setup demo
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(IN_PARALLEL)

# Every proof in full, hours in all; `make check` runs a sample of each. PROOFS="soak http_fuzz" chooses some.
prove: setup
	$(BIN)/python tests/support/proofs.py $(PROOFS)

# Other people's clients against a live server, by default the demo's: make clients URL=http://127.0.0.1:8000
URL ?= http://127.0.0.1:8000
clients:
	test -x $(VENV)-clients/bin/python || $(PYTHON) -m venv $(VENV)-clients
	$(VENV)-clients/bin/python -m pip install --quiet --requirement examples/clients/requirements.txt
	$(PYTHON) examples/clients/check_clients.py --url $(URL) --python $(VENV)-clients/bin/python

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Runs with whatever torch and transformers the machine has: nothing is installed, nothing is fetched.
gpu-check:
	$(PYTHON) -m pytest -m gpu

demo: setup
	$(BIN)/python examples/demo/build.py

setup: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "coe needs Python 3.11 or newer, this is " + sys.version.split()[0] + "; run: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

clean:
	rm -rf $(VENV)
