PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test test-server test-ml1m lint clean

demo: $(VENV)/installed  ## The three commands, on MovieLens 1M if it can be had.
	@if $(BIN)/python -m recommender.movielens; then data=data/ml-1m; else data=data/sample; \
	  printf '\n*** No MovieLens 1M: this demo runs on data/sample, whose ratings are INVENTED. ***\n\n'; fi; \
	set -ex; \
	$(BIN)/python train.py --data-dir $$data; \
	$(BIN)/python get_movies_data.py -f movies_origin.txt; \
	$(BIN)/python infer_milvus.py -a 0 -g 1 -j 10 -i

test: $(VENV)/installed-dev lint  ## Everything that needs no download.
	$(BIN)/python -m pytest -n 2

test-ml1m: $(VENV)/installed-dev  ## The tests on MovieLens 1M: make test-ml1m ML1M_DIR=folder
	ML1M_DIR=$(or $(ML1M_DIR),data/ml-1m) $(BIN)/python -m pytest -m ml1m

test-server: $(VENV)/installed-dev  ## On a Milvus server, which can be reached from nowhere else; needs Linux.
	unshare --map-root-user --net --mount sh -c 'ip link set lo up && exec $(BIN)/python -m pytest -m "server or fuzz" --hypothesis-profile=thorough'

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV)

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "error: Python 3.11 or newer is needed; say which: make PYTHON=python3.11")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@
