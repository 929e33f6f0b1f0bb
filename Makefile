# The two commands of the README, and what they need: a virtual environment in .venv, pinned by constraints.txt.
PYTHON ?= python3
BIN := .venv/bin
PLUGINS := $(wildcard plugins/*/pyproject.toml)
STAMP := .venv/.installed

.PHONY: run test test-distributed lint deck bench gpu gpu-rehearsal gpu-needs clean
.DELETE_ON_ERROR:

run: $(STAMP)
	$(BIN)/giseg run recipes/unet_effb1.toml --demo

# Bytecode is written even where the environment forbids it: else every process compiles every module anew.
test: $(STAMP)
	$(BIN)/ruff check .
	PYTHONDONTWRITEBYTECODE= OMP_NUM_THREADS=1 $(BIN)/pytest --numprocesses 2 --dist worksteal --durations 50

# Runs of several processes, and plans on Slurm and Ray themselves. Of Slurm it needs Debian's slurm-wlm and munge, else it says so and takes submitit's local executor.
test-distributed: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt ray
	OMP_NUM_THREADS=1 $(BIN)/pytest -m distributed --durations 10

deck: $(STAMP)
	$(BIN)/python benchmarks/deck.py

bench: $(STAMP)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python benchmarks/all.py

# On a machine with an NVIDIA GPU; needs no .venv: python3 and what it can import (PYTHONPATH). See docs/benchmarks.md.
GPU := $(PYTHON) benchmarks/gpu.py $(foreach part,$(PART),--part $(part)) $(if $(MINUTES),--minutes $(MINUTES))
NEW_ENOUGH := $(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "gisegkit needs Python 3.11 or newer; set PYTHON=python3.12, say")'

gpu:
	@$(NEW_ENOUGH)
	@$(GPU) $(if $(GPU_REHEARSE),--rehearse)

gpu-rehearsal:
	@$(NEW_ENOUGH)
	@$(GPU) --rehearse

gpu-needs:
	@$(NEW_ENOUGH)
	@$(PYTHON) benchmarks/gpu.py --needs $(if $(HAVE),--have $(HAVE))

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/mypy

$(STAMP): pyproject.toml constraints.txt Makefile $(PLUGINS)
	$(NEW_ENOUGH)
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]' $(foreach file,$(PLUGINS),--editable ./$(dir $(file)))
	touch $@

clean:
	rm -rf .venv build dist *.egg-info plugins/*/*.egg-info .pytest_cache .mypy_cache .ruff_cache
