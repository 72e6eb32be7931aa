# The commands of this repository; `make help` lists them. Only git, Python (3.10 to 3.13) with venv
# and pip are needed: everything else is installed into .venv on the first call.
#   make demo PYTHON=python3.12     chooses the interpreter that .venv is made with
#   make test ARGS='-k afformer'    hands options to pytest; JOBS=4 runs it in four processes

PYTHON ?= python3
JOBS ?= 2
RUN := .venv/bin/python
CONFIG := configs/afformer/afformer_tiny_digits.py
WORK := work_dirs/demo
HSI_CONFIG := configs/lsga/lsga_synthetic.py
HSI_WORK := work_dirs/demo-hyperspectral

.DEFAULT_GOAL := help
.PHONY: help setup demo demo-hyperspectral test test-fast lint clean

help: ## list the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 20

setup: ## make or update .venv (done by the others when needed)
	@$(PYTHON) tools/setup_env.py

demo: setup ## train AFFormer-tiny on scenes of handwritten digits, evaluate it, draw what it sees
	$(RUN) tools/dataset_converters/digits.py --out data/digits
	@rm -f $(WORK)/*.pth $(WORK)/last_checkpoint
	$(RUN) tools/train.py $(CONFIG) --work-dir $(WORK) --no-validate
	$(RUN) tools/test.py $(CONFIG) "$$(cat $(WORK)/last_checkpoint)" --work-dir $(WORK)/test
	$(RUN) tools/infer.py $(CONFIG) "$$(cat $(WORK)/last_checkpoint)" data/digits/images/validation \
	    --truth data/digits/annotations/validation --opacity 0.9 --out $(WORK)/pictures --overwrite
	@echo "Pictures of input, truth and prediction: $(WORK)/pictures; the numbers are above."

demo-hyperspectral: setup ## train LSGA-ViT on a generated scene, map it, compare it with two baselines
	@rm -f $(HSI_WORK)/*.pth $(HSI_WORK)/last_checkpoint
	$(RUN) tools/train.py $(HSI_CONFIG) --work-dir $(HSI_WORK)
	$(RUN) tools/test.py $(HSI_CONFIG) $(HSI_WORK)/best_*.pth --work-dir $(HSI_WORK)/test --overwrite
	$(RUN) tools/map_scene.py $(HSI_CONFIG) $(HSI_WORK)/best_*.pth synthetic --out $(HSI_WORK)/map.png \
	    --overwrite
	$(RUN) tools/hsi_baselines.py $(HSI_CONFIG) --seeds 0 --work-dir $(HSI_WORK)/baselines --overwrite
	@echo "The map beside the truth: $(HSI_WORK)/map.png; scores and confusion matrix: $(HSI_WORK)/test."

test: setup ## all tests, in two processes (JOBS) of one thread each: 12 minutes on two cores
	$(RUN) -m pytest -n $(JOBS) --dist worksteal $(ARGS)

test-fast: setup ## the tests that take less than a second, of every part: two minutes, between edits
	$(RUN) -m pytest -n $(JOBS) --dist worksteal -m 'not slow' $(ARGS)

lint: setup ## style checks: ruff, rules and format, and types by mypy
	$(RUN) -m ruff check .
	$(RUN) -m ruff format --check .
	$(RUN) -m mypy

clean: ## remove what these commands made: .venv, the digit scenes, the trained models
	@test ! -e .venv/setup.key || rm -rf .venv
	rm -rf build dist *.egg-info mmvit_plugins/.mim .pytest_cache .ruff_cache data/digits $(WORK) $(HSI_WORK)
