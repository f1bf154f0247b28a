# SEP. `make help` lists the targets. Prerequisites: Python 3.11+, a C++20 compiler, make.

PYTHON   ?= python3
PORT     ?= 8000
BROKER   ?= paper
SEP_CUDA ?= AUTO
SCALE    ?= 1
SCHEDULES ?= 10000
KILLS ?= 20
FUZZ_SECONDS ?= 120

VENV   := .venv
BIN    := $(VENV)/bin
CLIENT := webapp/dashboard/client
PAGE   := webapp/dashboard/static/dashboard/.vite/manifest.json

ENGINE_SOURCES := CMakeLists.txt pyproject.toml \
    $(shell find cpp -type f -not -path 'cpp/tests/*' -not -path 'cpp/fuzz/*' 2>/dev/null)
CLIENT_SOURCES := $(shell find $(CLIENT) -type f -not -path '*/node_modules/*' \
    -not -path '*/dist/*' -not -path '*/tests/*' 2>/dev/null)

export PATH := $(CURDIR)/$(BIN):$(PATH)
export VIRTUAL_ENV := $(CURDIR)/$(VENV)
unexport PYTHONHOME
# Set in many containers; every process of SEP would then compile every module that it imports, and
# a start would take twice its time.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

.PHONY: help
help: ## List the targets
	@sed -n 's/^\([a-z-]*\):.*## /  make \1	/p' Makefile | expand -t 18

.PHONY: run
run: $(VENV)/.run ## Build what is missing, then start SEP on http://127.0.0.1:8000 (PORT=, BROKER=paper|oanda-local|oanda-practice|oanda-live)
	@$(MAKE) --silent --no-print-directory -j2 engine client
	@exec $(BIN)/python -m webapp.launcher --port $(PORT) --broker $(BROKER)

.PHONY: engine client
engine: $(VENV)/.engine-$(SEP_CUDA) ## Build and install sep_engine (SEP_CUDA=AUTO|ON|OFF)
client: $(PAGE) ## Build the dashboard

.PHONY: test
test: $(VENV)/.dev ## Run every test: lint, C++, Python, web, client, whole system
	@$(MAKE) --silent --no-print-directory -j2 engine client
	@$(BIN)/python scripts/run_tests.py

.PHONY: lint
lint: $(VENV)/.dev ## Format, types, import directions, conventions
	@$(MAKE) --silent --no-print-directory -j2 engine client
	@$(BIN)/python scripts/run_tests.py lint

.PHONY: bench
bench: $(VENV)/.bench ## Measure the engine beside its peers on this machine (SHORT=1, BARS=file.csv)
	@$(MAKE) --silent --no-print-directory engine
	@$(BIN)/python -m python.benchmarks $(if $(SHORT),--short) $(if $(BARS),--bars "$(BARS)")

.PHONY: measure
measure: $(VENV)/.run ## Measure make run on a fresh clone: cold, warm, stop, memory
	@$(BIN)/python scripts/measure.py $(PYTHON)

.PHONY: chaos
chaos: $(VENV)/.dev ## Run fault schedules (SCHEDULES=), then kill the trader everywhere (KILLS=, 0 for none)
	@$(MAKE) --silent --no-print-directory engine
	@$(BIN)/python -m tests.chaos --schedules $(SCHEDULES)
	@if [ "$(KILLS)" -gt 0 ]; then $(BIN)/python -m tests.kills --kills $(KILLS); fi
	@if [ "$(KILLS)" -gt 0 ]; then $(BIN)/python -m tests.restores; fi

.PHONY: fuzz
fuzz: $(VENV)/.dev ## Fuzz the engine with clang, each target for FUZZ_SECONDS
	@$(BIN)/python scripts/fuzz.py $(FUZZ_SECONDS)

.PHONY: mutation
mutation: $(VENV)/.dev ## Change gate, order core and OANDA parser in every single way and see that tests notice (MODULES=)
	@$(MAKE) --silent --no-print-directory engine
	@$(BIN)/python -m tests.mutation $(MODULES)

.PHONY: side-by-side
side-by-side: $(VENV)/.dev ## Lose answers and kill the trader, 30 times each, and count orders (minutes)
	@$(MAKE) --silent --no-print-directory engine
	@$(BIN)/python -m tests.side_by_side

.PHONY: timing
timing: $(VENV)/.dev ## Measure the gate, the kill switch, losses, lost answers, restarts (minutes)
	@$(MAKE) --silent --no-print-directory engine client
	@$(BIN)/python -m tests.timing
	@$(BIN)/python -m tests.restarts

.PHONY: calibrate
calibrate: $(VENV)/.dev ## Calibrate the evidence lab on worlds in which the truth is known (16 min of processor time; SCALE=, DOCS=1 fills docs)
	@$(MAKE) --silent --no-print-directory engine
	@mkdir -p build
	@$(BIN)/python python/benchmarks/calibrate.py --scale $(SCALE) --write build/calibration.md \
	    $(if $(DOCS),--docs)

.PHONY: screenshot
screenshot: $(VENV)/.run ## Photograph the running page into docs/images (needs Chromium)
	@$(MAKE) --silent --no-print-directory -j2 engine client
	@$(BIN)/python -m scripts.screenshot

.PHONY: wheel
wheel: $(VENV)/.dev ## Build sdist and wheel from it into dist/, try the wheel in an empty environment
	@rm -rf dist
	@sh scripts/step.sh "Building the source distribution" sdist $(BIN)/uv build --sdist --out-dir dist
	@sh scripts/step.sh "Building the wheel from it" wheel $(BIN)/uv build --wheel --out-dir dist \
	    --config-setting cmake.define.SEP_CUDA=$(SEP_CUDA) dist/sep_engine-*.tar.gz
	@sh scripts/step.sh "Making an empty environment" wheel-environment sh -c '\
	    $(BIN)/uv venv --clear --python $(BIN)/python build/wheel-environment && \
	    $(BIN)/uv pip install --python build/wheel-environment/bin/python \
	        --constraint requirements/run.txt dist/sep_engine-*.whl'
	@cd build && unset PYTHONPATH && wheel-environment/bin/python ../scripts/smoke_wheel.py scalar simd

.PHONY: lock
lock: $(VENV)/.uv ## Resolve the dependencies again (writes requirements/)
	@sh scripts/lock.sh

.PHONY: clean
clean: ## Remove what was built; .venv and the data in var/ stay
	rm -rf build dist webapp/dashboard/static/dashboard $(CLIENT)/node_modules $(CLIENT)/dist
	rm -f $(VENV)/.engine-*

# Each stamp lives inside the folder that it speaks for, so that deleting one deletes the other.

$(VENV)/.uv: requirements/uv.txt
	@sh scripts/prerequisites.sh $(PYTHON)
	@test -x $(BIN)/pip || sh scripts/step.sh "Creating the environment" environment \
	    $(PYTHON) -m venv $(VENV)
	@sh scripts/step.sh "Fetching the installer" installer \
	    $(BIN)/python -m pip install --disable-pip-version-check --require-hashes -r $<
	@touch $@

$(VENV)/.run: requirements/run.txt requirements/build.txt $(VENV)/.uv
	@sh scripts/step.sh "Installing the dependencies" dependencies \
	    $(BIN)/uv pip install --require-hashes -r requirements/run.txt -r requirements/build.txt
	@sh scripts/link_node.sh
	@touch $@

$(VENV)/.dev: requirements/dev.txt $(VENV)/.run
	@sh scripts/step.sh "Installing the tools for tests" tools \
	    $(BIN)/uv pip install --require-hashes -r $<
	@touch $@

$(VENV)/.bench: requirements/bench.txt $(VENV)/.dev
	@sh scripts/step.sh "Installing the peers to measure against" peers \
	    $(BIN)/uv pip install --require-hashes -r $<
	@touch $@

$(VENV)/.engine-$(SEP_CUDA): $(ENGINE_SOURCES) $(VENV)/.run
	@sh scripts/step.sh "Building the engine" engine \
	    $(BIN)/uv pip install --no-build-isolation --no-deps \
	    --config-setting cmake.define.SEP_CUDA=$(SEP_CUDA) --editable .
	@rm -f $(VENV)/.engine-*
	@touch $@

$(CLIENT)/node_modules/.package-lock.json: $(CLIENT)/package-lock.json $(CLIENT)/package.json $(VENV)/.run
	@sh scripts/step.sh "Fetching the dashboard's packages" packages \
	    npm --prefix $(CLIENT) ci --no-audit --no-fund
	@touch $@

$(PAGE): $(CLIENT_SOURCES) $(CLIENT)/node_modules/.package-lock.json
	@sh scripts/step.sh "Building the dashboard" dashboard npm --prefix $(CLIENT) run build
	@touch $@
