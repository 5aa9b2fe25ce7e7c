PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

# Installs a file's packages and this project, with a dot every three seconds, as pip is quiet for minutes.
define install
	@printf 'installing $(1) into $(VENV): $(2) ..'; (while sleep 3; do printf .; done) & dots=$$!; \
	$(BIN)/pip install --quiet --disable-pip-version-check --no-compile -r $(1) -e .; code=$$?; \
	kill $$dots; echo; exit $$code
endef

# Fails in one line where MovieLens 1M is neither there nor to be had.
DOWNLOAD := import sys; sys.excepthook = lambda kind, error, trace: print("error:", error, file=sys.stderr); \
  from recommender.movielens.releases import DEFAULT_DATA_DIR, ensure_downloaded; ensure_downloaded(DEFAULT_DATA_DIR)

.PHONY: demo test test-server test-server-faults test-server-rest test-movielens lint clean

demo: $(VENV)/installed  ## The three commands, on MovieLens 1M if it is there or can be downloaded.
	@if $(BIN)/python -c '$(DOWNLOAD)'; then data=data/ml-1m; workdir=; catalogue=movies_origin.txt; \
	else data=data/sample; workdir=' --workdir sample-demo'; catalogue=sample-demo/movies_origin.txt; \
	  printf '\n*** No MovieLens 1M: this demo runs on data/sample, whose ratings are INVENTED. ***\n\n'; fi; \
	set -ex; \
	$(BIN)/python train.py --data-dir $$data $$workdir; \
	$(BIN)/python get_movies_data.py -f $$catalogue $$workdir; \
	$(BIN)/python infer_milvus.py -a 0 -g 1 -j 10 -i $$workdir; \
	{ set +x; } 2>/dev/null; \
	printf '%s\n' '' 'Try next, after: . $(BIN)/activate' \
	  "  python infer_milvus.py$$workdir --like alien" \
	  "  python infer_milvus.py$$workdir --ratings data/sample/my_ratings.csv --why" \
	  "  python infer_milvus.py$$workdir --ratings data/sample/my_ratings.csv --among data/sample/watchlist.csv" \
	  "  python infer_milvus.py$$workdir -a 30 -g F --genre comedy --by picks" \
	  '  python infer_milvus.py --help'

test: $(VENV)/installed-dev lint  ## Everything that needs no download.
	$(BIN)/python -m pytest -n 2 --dist worksteal

test-movielens: $(VENV)/installed-dev  ## The tests on ml-1m, ml-100k and ml-latest-small: ML_DATA_DIR=folder
	ML_DATA_DIR=$(or $(ML_DATA_DIR),data) $(BIN)/python -m pytest -m movielens

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
	rm -rf $(VENV) build *.egg-info sample-demo

$(VENV)/pyvenv.cfg:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13) and "error: paddlepaddle needs Python 3.11, 3.12 or 3.13, on Linux x86-64, macOS ARM or Windows; name one: make PYTHON=python3.12")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/installed: requirements.txt | $(VENV)/pyvenv.cfg
	$(call install,requirements.txt,370 MB to download; a minute or two)
	@touch $@

$(VENV)/installed-dev: requirements-dev.txt requirements.txt | $(VENV)/pyvenv.cfg
	$(call install,requirements-dev.txt,470 MB to download; a minute or two)
	@touch $(VENV)/installed $@
