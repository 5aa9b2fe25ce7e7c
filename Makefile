PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Shows that something moves while pip, which is quiet for minutes, works.
define install
	@printf 'installing $(1) into $(VENV) ..'; (while sleep 3; do printf .; done) & dots=$$!; \
	$(BIN)/pip install --quiet --disable-pip-version-check -r $(1); code=$$?; kill $$dots; echo; exit $$code
endef

.PHONY: demo test test-server test-server-faults test-server-rest test-ml1m lint clean

demo: $(VENV)/installed  ## The three commands, on MovieLens 1M if it is there or can be downloaded.
	@if $(BIN)/python -m recommender.movielens.releases; then data=data/ml-1m; else data=data/sample; \
	  printf '\n*** No MovieLens 1M: this demo runs on data/sample, whose ratings are INVENTED. ***\n\n'; fi; \
	set -ex; \
	$(BIN)/python train.py --data-dir $$data; \
	$(BIN)/python get_movies_data.py -f movies_origin.txt; \
	$(BIN)/python infer_milvus.py -a 0 -g 1 -j 10 -i
	@printf '%s\n' '' 'Try next, after: . $(BIN)/activate' \
	  '  python infer_milvus.py --like alien --like "blade runner" --why' \
	  '  python infer_milvus.py --ratings data/sample/my_ratings.csv -k 10' \
	  '  python infer_milvus.py --ratings data/sample/my_ratings.csv --among data/sample/watchlist.csv' \
	  '  python infer_milvus.py -a 30 -g F --genre comedy --by picks' \
	  '  python infer_milvus.py --help'

test: $(VENV)/installed-dev lint  ## Everything that needs no download.
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-ml1m: $(VENV)/installed-dev  ## The tests on MovieLens 1M: make test-ml1m ML1M_DIR=folder
	ML1M_DIR=$(or $(ML1M_DIR),data/ml-1m) $(BIN)/python -m pytest -m ml1m

# Each in a network of its own, which has nothing but loopback, and with disks that nobody else sees.
ALONE := unshare --map-root-user --net --mount sh -c 'ip link set lo up && exec "$$@"' sh

test-server: $(VENV)/installed-dev  ## On Milvus servers, which can be reached from nowhere else; needs Linux.
	$(MAKE) --jobs 2 --output-sync=target test-server-faults test-server-rest

test-server-faults:
	$(ALONE) $(BIN)/python -m pytest --durations 5 -m server tests/test_server.py

test-server-rest:
	$(ALONE) $(BIN)/python -m pytest --durations 5 -m "server or fuzz" --hypothesis-profile thorough \
	  --ignore tests/test_server.py

lint: $(VENV)/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy

clean:
	rm -rf $(VENV)

$(VENV)/installed: requirements.txt
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "error: paddlepaddle needs Python 3.11, 3.12 or 3.13, on Linux x86-64, macOS ARM or Windows; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)
	$(call install,requirements.txt)
	touch $@

$(VENV)/installed-dev: requirements-dev.txt $(VENV)/installed
	$(call install,requirements-dev.txt)
	touch $@
