# make demo    train a small model and build it, with the light install that a user gets
# make test    the whole test suite               PYTEST_ARGS="-m long" for the long tests
# make bench   graphc and its peers, side by side
# make gpu     on a machine with an NVIDIA GPU: the tests that need one, and a short benchmark
# make lint    ruff and mypy
# make clean   remove build results and caches    make distclean: the virtual environments as well
#
# The first use makes a virtual environment and installs into it; later ones do so only when pyproject.toml changed.
# PYTHON=python3.12 make test uses another interpreter, in an environment of its own.

PYTHON ?= python3
ifeq ($(origin PYTHON),file)
VENV ?= .venv
else
VENV ?= .venv-$(notdir $(PYTHON))
endif

PY  := $(VENV)/bin/python
PIP := $(PY) -m pip install -qq
export PIP_DISABLE_PIP_VERSION_CHECK := 1

# The release of torch that pyproject.toml names. On Linux, what that number alone selects is the CUDA build.
TORCH ?= $(shell sed -n 's/.*"\(torch==[0-9.]*\)".*/\1/p' pyproject.toml)$(if $(filter Linux,$(shell uname -s)),+cpu)

.PHONY: help demo test bench gpu lint clean distclean
.DELETE_ON_ERROR:

help:
	@sed -n 's/^# \{0,1\}//p;/^$$/q' Makefile

demo: $(VENV)/.core
	@$(PY) examples/digits.py

test: $(VENV)/.test
	@$(PY) -m pytest $(PYTEST_ARGS)

bench: $(VENV)/.bench
	@$(PY) -m benchmarks $(BENCH_ARGS)

# Without a network, and where the packages are there already: python -m benchmarks.gpu
gpu: $(VENV)/.test
	@$(PY) -m benchmarks.gpu $(GPU_ARGS)

# The second line looks through the symlinks: pyproject.toml says why.
lint: $(VENV)/.test
	@$(PY) -m ruff check --quiet --output-format concise
	@$(PY) -m ruff check --quiet --output-format concise --select TID251 graphc/frontend graphc/passes graphc/backends
	@$(PY) -m mypy --no-error-summary
	@echo "lint: clean"

$(VENV)/.made:
	@command -v "$(PYTHON)" >/dev/null || { echo "error: '$(PYTHON)' not found; name an interpreter: PYTHON=python3.12 make ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 15))' \
	  || { echo "error: graphc needs Python 3.11 to 3.14; '$(PYTHON)' is $$("$(PYTHON)" --version 2>&1); name another: PYTHON=python3.12 make ..." >&2; exit 1; }
	@"$(PYTHON)" -c 'import venv, ensurepip' 2>/dev/null \
	  || { echo "error: '$(PYTHON)' has no venv module; on Debian and Ubuntu it is in the package python3-venv" >&2; exit 1; }
	@"$(PYTHON)" -m venv $(VENV)
	@touch $@

$(VENV)/.core: pyproject.toml $(VENV)/.made
	@echo "installing graphc into $(VENV)"
	@$(PIP) -e .
	@touch $@

$(VENV)/.test: pyproject.toml $(VENV)/.made
	@echo "installing graphc with its development tools into $(VENV)"
	@$(PIP) -e '.[gpu,dev]'
	@touch $@ $(VENV)/.core

# torch goes first: asked for by number alone, it would bring CUDA along.
$(VENV)/.bench: pyproject.toml $(VENV)/.made
	@echo "installing graphc and the frameworks it is compared with into $(VENV)"
	@$(PIP) '$(TORCH)' || { echo "error: no $(TORCH) here: point PIP_EXTRA_INDEX_URL at PyTorch's index of CPU wheels, or choose the build with TORCH=... make bench" >&2; exit 1; }
	@$(PIP) -e '.[bench]'
	@touch $@ $(VENV)/.core

clean:
	@rm -rf build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	@find graphc frontend passes backends tests examples benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	@rm -rf .venv .venv-*
