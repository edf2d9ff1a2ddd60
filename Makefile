# Every target installs what it needs: the first one that runs creates .venv.
# To use a Python other than python3: make PYTHON=python3.12 demo

PYTHON ?= python3
WORKERS ?= 2
# Of make fuzz: damaged files of each kind, and which.
NUMBER ?= 20000
SEED ?= 1
KINDS ?=
VENV := .venv
EXTRAS := clusters,cuda,data,docs,events,lava,lint,nir,onnx,pictures,search,spikes,sweeps,tables,test
BIN := $(VENV)/bin
DEV := $(VENV)/.dev
INSTALLED := $(VENV)/.installed
PIP_INSTALL := $(BIN)/python -m pip install --disable-pip-version-check --retries 10 -c constraints.txt

SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
MAKEFLAGS += --no-builtin-rules

# These variables configure the caller's Python, not the one in .venv.
unexport PYTHONPATH PYTHONHOME PIP_USER PIP_TARGET PIP_PREFIX

.PHONY: help dev install demo test coverage fuzz bench bench-peers cuda-table silicon-tools verify-hardware sanafe xylosim docs lint lava-pythons clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

dev: $(DEV) ## Create .venv with neurosim and pytest only: enough to edit, to test and to run examples

install: $(INSTALLED) ## Create .venv with neurosim and everything that tests, docs and benchmarks need

demo: $(INSTALLED) ## Train on real digits, plot, report, compare with Lava: see runs/demo/
	@$(BIN)/neurosim demo

test: $(INSTALLED) ## Run all tests and doctests
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup

coverage: $(INSTALLED) ## Run all tests and doctests, and list the lines that none of them reaches
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup --cov

fuzz: $(INSTALLED) ## Read damaged files of every kind: make fuzz NUMBER=100000 SEED=7 KINDS="nir tar"
	@$(BIN)/python -m tests.fuzz --number $(NUMBER) --seed $(SEED) $(KINDS)

bench: $(INSTALLED) ## Time training steps against other libraries and the machine's limits
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m benchmarks

bench-peers: $(INSTALLED) ## Create an environment for each simulator that neurosim is compared with
	@$(BIN)/python -m benchmarks.peers.environments

silicon-tools: ## Install the system packages that check C and Verilog exports (Debian, as root)
	@apt-get update --quiet=2 && DEBIAN_FRONTEND=noninteractive apt-get install --yes --quiet=2 \
	    --no-install-recommends gcc gcc-arm-none-eabi libnewlib-arm-none-eabi qemu-system-arm iverilog verilator yosys \
	    nextpnr-ice40 fpga-icestorm

cuda-table: $(INSTALLED) ## Compile every CUDA kernel for every chip; say which registers, spills, launches have grown
	@$(BIN)/python -m tests.cuda_table

verify-hardware: $(INSTALLED) ## Compare integer models and exports with lava-nc, xylosim, SANA-FE and compiled C
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.hardware.loihi.verify
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.hardware.lava.verify
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.hardware.c.verify
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.hardware.verilog.verify
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.hardware.xylo.verify
	@NEUROSIM_REQUIRE_KERNELS=1 $(BIN)/python -m tests.energy.verify

xylosim: $(INSTALLED) ## Build the maker's simulator of Xylo, which its tests compare with; needs a C++ compiler
	@$(PIP_INSTALL) --quiet xylosim

sanafe: $(INSTALLED) ## Create an environment for SANA-FE, which energies and times are compared with
	@$(BIN)/python -m benchmarks.peers.environments sanafe

docs: $(INSTALLED) ## Build the HTML documentation into docs/_build/
	@$(BIN)/python -m sphinx -q -W --keep-going -b html -d docs/_build/.doctrees docs docs/_build
	@echo "Built docs/_build/index.html"

lint: $(INSTALLED) ## Check style (ruff) and types (mypy)
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@$(BIN)/mypy

lava-pythons: $(INSTALLED) ## Create an environment per installed Python (3.10 to 3.13) to test the Lava export in
	@$(BIN)/python tests/hardware/lava/make_environments.py

clean: ## Remove everything that make created, .venv included; keep runs/
	@rm -rf $(VENV) .venv-peers build dist ./*.egg-info docs/_build .coverage .coverage.* .hypothesis \
	    .mypy_cache .pytest_cache .ruff_cache
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The environment itself, with the Python checked before anything is downloaded.
$(BIN)/python:
	@command -v "$(PYTHON)" > /dev/null || { \
	    echo "There is no '$(PYTHON)' here. neurosim needs Python 3.10 to 3.13: make PYTHON=/path/to/python3 ..." >&2; \
	    exit 1; }
	@"$(PYTHON)" -c 'import sys; v = sys.version_info; (3, 10) <= v < (3, 14) or sys.exit( \
	    f"$(PYTHON) is Python {v[0]}.{v[1]}. neurosim needs 3.10 to 3.13: make PYTHON=/path/to/python3 ...")'
	@echo "Creating $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV)

# Install this folder with the extras given and show what is downloaded. `set` repeats .SHELLFLAGS, which make 3.81
# (macOS) does not have.
define install_extras
@echo "Installing neurosim and its requirements into $(VENV); the first time, PyTorch alone is hundreds of megabytes"
@$(PIP_INSTALL) --quiet pip setuptools
@set -eu -o pipefail; PYTHONWARNINGS='ignore:Editable installation' $(PIP_INSTALL) --no-build-isolation -e '.[$(1)]' \
    | awk '$$1 == "Downloading" { print "  " $$0; fflush() }'
endef

$(DEV): setup.cfg setup.py pyproject.toml constraints.txt | $(BIN)/python
	$(call install_extras,test)
	@touch $@
	@echo "Installed. Run tests with: $(BIN)/python -m pytest tests/cores"

# lava-nc declares pins that no current Python or numpy meets; norse and spikingjelly require torchvision, which only
# their example tasks import; sinabs requires an older nir and the software of its chips, and imports pbr. So these are
# installed without their dependencies, as are neurobench, whose data sets need more than its counts, and torchmetrics (with
# lightning-utilities), which would bring another build of torch; the extras `lava` and
# `nir`, loguru, nirtorch and pbr provide what they import.
$(INSTALLED): setup.cfg setup.py pyproject.toml constraints.txt | $(BIN)/python
	$(call install_extras,$(EXTRAS))
	@$(PIP_INSTALL) --quiet --no-deps --ignore-requires-python \
	    lava-nc neurobench norse sinabs snntorch spikingjelly torchmetrics lightning-utilities loguru nirtorch pbr
	@touch $(DEV) $@
	@echo "Installed."
