# Every target makes what it needs: the first one that runs creates .venv and installs into it.
# A Python other than python3: make PYTHON=python3.12 demo

PYTHON ?= python3
WORKERS ?= 2
VENV := .venv
EXTRAS := cuda,docs,lava,lint,nir,test
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --retries 10 -c constraints.txt

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# What these name belongs to the caller's Python, not to the one in .venv.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help install demo test bench verify-hardware docs lint lava-pythons clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Create .venv with neurosim and everything its tests need

demo: $(INSTALLED) ## Train on real digits, draw, report, compare with Lava: see runs/demo/
	@$(BIN)/neurosim demo

test: $(INSTALLED) ## Run all tests and doctests, with coverage
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov

bench: $(INSTALLED) ## Time training steps against other libraries and what the machine allows
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m benchmarks

verify-hardware: $(INSTALLED) ## Hold the integer Loihi model and exports against lava-nc at length
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.hardware.loihi.verify
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.hardware.lava.verify

docs: $(INSTALLED) ## Build the HTML documentation into docs/_build/
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d docs/_build/.doctrees docs docs/_build
	@echo "Built docs/_build/index.html"

lint: $(INSTALLED) ## Check style (ruff) and types (mypy)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

lava-pythons: $(INSTALLED) ## Make the environments that test the Lava part on every Python found
	@$(BIN)/python tests/hardware/lava/make_environments.py

clean: ## Remove all that make has made, .venv included; keep runs/
	@rm -rf $(VENV) build dist ./*.egg-info docs/_build .coverage .coverage.* .hypothesis \
	    .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# lava-nc declares pins that no current Python or numpy meets; norse and spikingjelly ask for torchvision, which they
# import in example tasks only; sinabs asks for an older nir and for the software of its chips, and imports pbr: what
# these do need, the extras `lava` and `nir` bring, and loguru and pbr.
$(INSTALLED): setup.cfg setup.py pyproject.toml constraints.txt
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "There is no '$(PYTHON)' here. neurosim needs Python 3.10 to 3.13: make PYTHON=/path/to/python3 ..." >&2; \
	    exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; (3, 10) <= v < (3, 14) or sys.exit( \
	    f"$(PYTHON) is Python {v[0]}.{v[1]}. neurosim needs 3.10 to 3.13: make PYTHON=/path/to/python3 ...")'
	@test -x $(BIN)/python || { echo "Creating $(VENV) with $$("$(PYTHON)" --version)"; "$(PYTHON)" -m venv $(VENV); }
	@echo "Installing neurosim and what it needs into $(VENV); the first time, PyTorch alone is hundreds of megabytes"
	@$(PIP_INSTALL) --quiet pip setuptools
	@PYTHONWARNINGS='ignore:Editable installation' $(PIP_INSTALL) --no-build-isolation -e '.[$(EXTRAS)]' \
	    | awk '$$1 == "Downloading" { print "  " $$0; fflush() }'
	@$(PIP_INSTALL) --quiet --no-deps --ignore-requires-python \
	    lava-nc norse sinabs snntorch spikingjelly loguru pbr
	@touch $@
	@echo "Installed."
