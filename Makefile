# One command on a fresh machine: `make book`. The others: test, lab, run, bench, clean.
#   make run CHAPTER=01_calibrated_decoders PROFILE=quick
#   make book PIP_ARGS="..."      what PIP_ARGS says is handed to pip (an index, a proxy)
PYTHON   ?= python3
VENV     ?= .venv
PIP_ARGS ?=
CHAPTER  ?= 01_calibrated_decoders
PROFILE  ?= quick

BIN       := $(VENV)/bin
INSTALLED := $(VENV)/.installed
LAB       := $(VENV)/.installed-lab
BUILT     := _build/.built
SOURCES   := _config.yml _toc.yml $(wildcard notebooks/*.ipynb vaenb/*.py vaenb/*/*.py vaenb/*/*.js \
             book/*.md book/*.bib book/_ext/*.py book/_static/* book/targets/* \
             book/records book/records/* book/records/*/*)

export PIP_DISABLE_PIP_VERSION_CHECK ?= 1
unexport MPLBACKEND # Agg would take all figures out of the notebooks, without a word

.PHONY: book test lab run bench clean
book: $(BUILT)
	@echo "The book: open file://$(CURDIR)/_build/html/index.html"

test: $(BUILT)
	$(BIN)/ruff check .
	VAENB_PROFILE=smoke OMP_NUM_THREADS=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile \
	  --nbval-lax --nbval-current-env --nbval-cell-timeout 300 tests notebooks

lab: $(LAB)
	$(BIN)/jupyter lab notebooks

run: $(INSTALLED)
	$(BIN)/vaenb run $(CHAPTER) --profile $(PROFILE)

bench: $(INSTALLED)
	$(BIN)/python tests/bench.py
	$(BIN)/python tests/bench_sweep.py
	$(BIN)/python tests/bench_grid.py
	$(BIN)/python tests/bench_text.py
	$(BIN)/python tests/bench_dueling.py

clean: # what make made; runs/ stays
	rm -rf _build $(VENV) *.egg-info

$(BUILT): $(SOURCES) | $(INSTALLED)
	rm -rf _build
	VAENB_PROFILE=recorded $(BIN)/jupyter-book build . -q -W -n --keep-going
	touch $@

$(INSTALLED): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --no-compile $(PIP_ARGS) -c constraints.txt -e ".[run,book,test]"
	touch $@

$(LAB): $(INSTALLED)
	$(BIN)/python -m pip install -q $(PIP_ARGS) -c constraints.txt -e ".[run,book,test,lab]"
	touch $@
