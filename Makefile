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
# Two environments, because some ask for older versions of what others need, and npm's where there is a npm.
CLIENTS := examples/clients
clients:
	test -x $(VENV)-clients/bin/python || $(PYTHON) -m venv $(VENV)-clients
	test -x $(VENV)-clients-more/bin/python || $(PYTHON) -m venv $(VENV)-clients-more
	$(VENV)-clients/bin/python -m pip install --quiet --requirement $(CLIENTS)/requirements.txt
	$(VENV)-clients-more/bin/python -m pip install --quiet --requirement $(CLIENTS)/requirements-more.txt
	mkdir -p $(VENV)-clients/npm && cp $(CLIENTS)/package.json $(VENV)-clients/npm/
	if command -v npm; then npm install --silent --prefix $(VENV)-clients/npm; fi
	$(PYTHON) $(CLIENTS)/check_clients.py --url $(URL) --node $(VENV)-clients/npm \
		--python $(VENV)-clients/bin/python --python $(VENV)-clients-more/bin/python

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
