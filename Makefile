# make paper: build the environment and render everything from the embedded default.   make test: every check.
#   PYTHON=python3.12                    the interpreter to build with (3.11 or later; by default the first suitable one)
#   make table4 PROFILE=cityguessr68k SEEDS=0,1,2 PARAMS="-p name value"         one notebook, at another scale
# Figures and tables go to runs/figures/<profile>/; `make notebooks` alone writes into figures/, which is in git.
PYTHON ?=
PROFILE ?=
SEEDS ?=
PARAMS ?=
# Files of tests share nothing, and notebooks nothing but data/ and runs/, which are made before: they run side by side.
# Only the last notebook reads what the others write.
TESTS_AT_ONCE ?=
PYTEST_FLAGS ?= -x
LAB_FLAGS ?=
GPU_FLAGS ?=
BOOK_FLAGS ?=
# The checks run the notebooks with one seed; figures/ holds what five seeds gave.
TEST_FIGURES = runs/figures/test

# Many tests wait for a process that they started: one more of them than there are processors finds work meanwhile.
SIDE_BY_SIDE = --maxprocesses 4 --dist loadfile
TESTS = $(or $(TESTS_AT_ONCE),-n $$(($$(getconf _NPROCESSORS_ONLN) + 1)) $(SIDE_BY_SIDE))
PAGES = $(or $(TESTS_AT_ONCE),-n logical $(SIDE_BY_SIDE))
# Side by side, threads in excess of the processors wait for one another more than they work.
PYTEST = OMP_NUM_THREADS=1 .venv/bin/python -m pytest $(PYTEST_FLAGS)
NBVAL = CITYGUESSR_FIGURES=$(TEST_FIGURES) $(PYTEST) $(PAGES) --nbval-lax --nbval-current-env

RUN = .venv/bin/python -m cityguessr.notebooks
CHOICES = $(if $(PROFILE),--profile $(PROFILE)) $(if $(SEEDS),--seeds $(SEEDS)) $(PARAMS)

# A name that this file does not know would be ignored without a word.
KNOWN = PYTHON PROFILE SEEDS PARAMS TESTS_AT_ONCE PYTEST_FLAGS LAB_FLAGS GPU_FLAGS BOOK_FLAGS TORCH_INDEX
GIVEN = $(foreach name,$(.VARIABLES),$(if $(filter command line,$(origin $(name))),$(name)))
STRANGE = $(filter-out $(KNOWN) MAKEFLAGS MAKEOVERRIDES -*-command-variables-*-,$(GIVEN))
$(if $(strip $(STRANGE)),$(error $(firstword $(STRANGE)) is no setting of make. A parameter of a page is given as PARAMS="-p name value"; the settings are $(KNOWN)))

.PHONY: help paper test lab book slides notebooks figures ledger lock clean env gpu-check FORCE
.NOTPARALLEL:

help:
	@echo "make paper       render every notebook, table, figure and map, into runs/ (builds the environment first)"
	@echo "make test        ruff, pytest, and every notebook run again by nbval"
	@echo "make lab         JupyterLab, which opens 00_start_here"
	@echo "make table4      one table, printed here: table2 ... table6, table_s1 ... table_s3, ledger"
	@echo "make fig_s5      the page that draws a figure: fig1 ... fig5, fig_s1 ... fig_s10; make figures: all of them"
	@echo "make 21_train    one page, by its name or its number"
	@echo "                 with PROFILE=midi, SEEDS=0,1,2, PARAMS=\"-p mode none\" (paper, figures and each of these)"
	@echo "make notebooks   run all with five seeds and keep notebooks/ and figures/, to commit; PROFILE=midi: its tables"
	@echo "make book        the pages as a book to read in a browser: runs/book/, and a PDF where a browser is found to print it"
	@echo "make slides      slides for a lecture of 90 minutes: runs/slides/"
	@echo "make gpu-check   correctness and speed on a CUDA GPU, in eight minutes, to figures/gpu/; GPU_FLAGS=\"--only throughput\""
	@echo "make env         build or mend .venv, with PYTHON=python3.12; make lock: resolve its packages anew"
	@echo "make clean       remove .venv and caches; data/ and the trained runs stay"

env:
	@PYTHON="$(PYTHON)" sh env/bootstrap.sh

paper: env
	@$(RUN) paper $(CHOICES)

test: env
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/lint-imports --no-cache
	@$(RUN) train
	$(PYTEST) $(TESTS) tests
	@$(NBVAL) notebooks/[0-8]*.ipynb notebooks/solutions/[0-8]*.ipynb
	@$(NBVAL) notebooks/9*.ipynb notebooks/solutions/9*.ipynb

# From the root, so that pages can link to figures/ and logs in runs/ can be opened.
lab: env
	@echo "Pages save when you save them (Ctrl-S), not by themselves. git restore notebooks brings the kept ones back, without your changes."
	@.venv/bin/jupyter trust notebooks/*.ipynb notebooks/solutions/*.ipynb > /dev/null  # their kept maps and sliders show
	@.venv/bin/python -m jupyterlab --KernelManager.transport_encryption=auto \
		--LabApp.app_settings_dir=env/lab --LabApp.default_url=/lab/tree/notebooks/00_start_here.ipynb $(LAB_FLAGS)

# From the outputs kept in notebooks/: nothing is run. Both end with a check of every page that was built.
book slides: env
	@.venv/bin/python -m cityguessr.book $@ $(BOOK_FLAGS)

notebooks: env
	@$(RUN) refresh $(CHOICES)

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
