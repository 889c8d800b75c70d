# make paper: build the environment and render everything from the embedded default.   make test: every check.
#   PYTHON=python3.12                    the interpreter to build with (3.11 or later; by default the first suitable one)
#   make table4 PROFILE=cityguessr68k SEEDS=0,1,2 PARAMS="-p name value"         one notebook, at another scale
PYTHON ?=
PROFILE ?=
SEEDS ?=
PARAMS ?=
# Files of tests share nothing, and notebooks nothing but data/ and runs/, which are made before: they run side by side.
# Only the last notebook reads what the others write.
TESTS_AT_ONCE ?= -n logical --maxprocesses 4 --dist loadfile
PYTEST_FLAGS ?= -x
LAB_FLAGS ?=
GPU_FLAGS ?=
BOOK_FLAGS ?=
# The checks run the notebooks with one seed; figures/ holds what five seeds gave.
TEST_FIGURES = runs/figures/test

# Side by side, threads in excess of the processors wait for one another more than they work.
NBVAL = OMP_NUM_THREADS=1 .venv/bin/python -m pytest --nbval-lax --nbval-current-env

RUN = .venv/bin/python -m cityguessr.notebooks
CHOICES = $(if $(PROFILE),--profile $(PROFILE)) $(if $(SEEDS),--seeds $(SEEDS)) $(PARAMS)

.PHONY: help paper test lab book slides notebooks figures ledger lock clean env gpu-check FORCE
.NOTPARALLEL:

help:
	@echo "make paper       render every notebook, table, figure and map (builds the environment first)"
	@echo "make test        ruff, pytest, and every notebook run again by nbval"
	@echo "make lab         JupyterLab on notebooks/"
	@echo "make book        the pages as a book to read in a browser: runs/book/, and a PDF where a browser is found to print it"
	@echo "make slides      slides for a lecture of 90 minutes: runs/slides/"
	@echo "make table4      one table or figure: table4, table_s3, ledger, 40_world_maps, ... with PROFILE=, SEEDS=, PARAMS=\"-p name value\""
	@echo "make figures     every figure of the paper and the world maps, from the trained runs"
	@echo "make notebooks   run all notebooks with five seeds and keep their outputs in notebooks/, to commit"
	@echo "make gpu-check   correctness and speed on a CUDA GPU, in eight minutes, to figures/gpu/; GPU_FLAGS=\"--only throughput\""
	@echo "make env | lock | clean"

env:
	@PYTHON="$(PYTHON)" sh env/bootstrap.sh

paper: env
	@$(RUN) paper $(CHOICES)

test: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache
	@$(RUN) train
	.venv/bin/python -m pytest $(TESTS_AT_ONCE) $(PYTEST_FLAGS) tests
	@CITYGUESSR_FIGURES=$(TEST_FIGURES) $(NBVAL) $(TESTS_AT_ONCE) $(PYTEST_FLAGS) notebooks/[0-8]*.ipynb
	@CITYGUESSR_FIGURES=$(TEST_FIGURES) $(NBVAL) $(PYTEST_FLAGS) notebooks/9*.ipynb

lab: env
	@.venv/bin/python -m jupyterlab --KernelManager.transport_encryption=auto $(LAB_FLAGS) notebooks

# From the outputs kept in notebooks/: nothing is run. Both end with a check of every page that was built.
book slides: env
	@.venv/bin/python -m cityguessr.book $@ $(BOOK_FLAGS)

notebooks: env
	@$(RUN) refresh $(if $(SEEDS),--seeds $(SEEDS)) $(PARAMS)

figures ledger: env
	@$(RUN) run $@ $(CHOICES)

# With the torch that the machine has: no environment, no network.
gpu-check:
	@PYTHONPATH=. PYTHONUNBUFFERED=1 $(or $(PYTHON),python3) -m cityguessr.speed.check $(GPU_FLAGS)

# make table4, make table_s3, make fig_s5, make 21_train: the runner finds the notebook by that name.
table% fig% 0% 1% 2% 3% 4% 5% 6% 9%: env FORCE
	@$(RUN) run $@ $(CHOICES)

# Resolve pyproject.toml anew. Pins stay where they still fit; delete env/lock.txt first to take the newest of all.
lock: env
	.venv/bin/uv pip compile --quiet --universal --python-version 3.11 --extra dev --extra book \
		--custom-compile-command "make lock" pyproject.toml --output-file env/lock.txt

clean:
	@rm -rf .venv runs/notebooks .pytest_cache .ruff_cache
	@find cityguessr tests notebooks -name __pycache__ -o -name .ipynb_checkpoints | xargs rm -rf
	@echo "kept: data/ and the trained runs in runs/ (remove them by hand if you no longer need them)"
