# Everything runs in .venv, which the first target that needs it creates (scripts/setup.sh).
PRESET ?= small
SEED ?= 1
COUNT ?= 1000
TEST ?=
WAVES ?= 0
ERRORS ?= 0
SEEDS ?= 3
SPEED ?= 6
UPDATE ?= 0

PY := .venv/bin/python
export PATH := $(CURDIR)/scripts/shims:$(CURDIR)/.venv/bin:$(PATH)

.DEFAULT_GOAL := help
.PHONY: help venv test test-all sim lint format verilog synth area pnr bench train accuracy step mutants fuzz docs functions paths \
    wheel-check clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 13
	@echo "variables: PRESET=tiny|small|medium|ecp5 SEED=n TEST=name WAVES=1"

venv: .venv/.ready ## create .venv with the pinned packages (the others do so by themselves)

.venv/.ready: scripts/requirements.txt scripts/setup.sh pyproject.toml
	@scripts/setup.sh

test: .venv/.ready ## unit tests but the slow ones; TEST=word runs those whose name has it
	@$(PY) -m pytest verif/unit -n auto --dist loadfile $(if $(TEST),-k '$(TEST)',-m 'not slow')

test-all: .venv/.ready ## all unit tests
	@$(PY) -m pytest verif/unit -n auto --dist loadfile

sim: .venv/.ready ## cocotb regression; PRESET, SEED, TEST, WAVES
	@$(PY) -m verif.benches.regress --preset $(PRESET) --seed $(SEED) \
	    $(if $(TEST),--test '$(TEST)') $(if $(filter 1,$(WAVES)),--waves)

lint: .venv/.ready ## ruff, formatting, types, and Verilator's lint of the tile; PRESET
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check --quiet .
	@.venv/bin/mypy
	@$(PY) -m scripts.verilog --preset $(PRESET) --lint

format: .venv/.ready ## format the Python sources
	@.venv/bin/ruff format .

verilog: .venv/.ready ## build/verilog/tegula_PRESET.v
	@$(PY) -m scripts.verilog --preset $(PRESET)

synth: .venv/.ready ## ECP5 and Xilinx 7 resources by block, and place and route of parts; PRESET
	@$(PY) -m scripts.synth --preset $(PRESET) --pnr

area: .venv/.ready ## ECP5 resources of parts against verif/budgets/area.json; UPDATE=1 writes it
	@$(PY) -m scripts.area $(if $(filter 1,$(UPDATE)),--update)

pnr: .venv/.ready ## the whole tile on ECP5-85K: fit, fmax, worst paths; PRESET, SEEDS (0: estimate), SPEED
	@$(PY) -m scripts.pnr --preset $(PRESET) --seeds $(SEEDS) --speed $(SPEED) --record

bench: .venv/.ready ## utilisation and speed of GEMMs on the RTL device; PRESET
	@$(PY) -m scripts.bench --preset $(PRESET) --readme

train: .venv/.ready ## train on the digits on RTL and golden, and compare the weights
	@$(PY) -m scripts.train

accuracy: .venv/.ready ## docs/accuracy.md: five seeds of each configuration (an hour)
	@$(PY) -m scripts.accuracy

step: .venv/.ready ## where the cycles of a training step go, for docs/training.md and the README
	@$(PY) -m scripts.step

mutants: .venv/.ready ## plant one bug at a time; the tests must find each
	@$(PY) -m scripts.mutants $(if $(TEST),--mutant '$(TEST)')

wheel-check: .venv/.ready ## build the wheel, install it by itself, and multiply on the RTL with it
	@$(PY) -m scripts.wheel_check

fuzz: .venv/.ready ## random programs on RTL and golden; COUNT, SEED, PRESET, ERRORS=1 on failing memory
	@$(PY) -m verif.benches.fuzz --preset $(PRESET) --seed $(SEED) --count $(COUNT) \
	    $(if $(filter 1,$(ERRORS)),--errors)

paths: .venv/.ready ## check that no path runs through a block, and regenerate the table of signals in docs/architecture.md
	@$(PY) -m scripts.paths --write

docs: .venv/.ready ## regenerate docs/isa.md
	@$(PY) -m scripts.isa_doc

functions: .venv/.ready ## measure the functions against MPFR and regenerate docs/functions.md (20 minutes)
	@$(PY) -m scripts.functions

clean: ## remove what was generated (not .venv)
	rm -rf build sim_build results.xml .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find hw model sw verif scripts -name __pycache__ -prune -exec rm -rf {} +
