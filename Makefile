# Every verb sets up what it needs: `make test` on a fresh clone installs, then tests. CI runs
# `make check`, `make audit` and `make sbom`.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed
PROTO := nextchar/v1/generation.proto
PROSE := README.md CHANGELOG.md CONTRIBUTING.md SECURITY.md RELEASING.md docs
# Percent of lines and branches that the tests must reach.
COVERAGE := 93
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help install proto proto-check proto-release format lint types test test-fast demo docs train serve up sbom audit bench faults bench-versions bench-training bench-map check clean

help: ## List the verbs
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

install: $(STAMP) ## Create .venv with all extras, at the versions in constraints.txt

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nextchar needs Python 3.11 or newer; name one with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

proto: $(STAMP) ## Generate the protocol's code
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTO)

proto-check: $(STAMP) ## Lint the protocol, compare it with the last release, and check that its generated code is current
	$(BIN)/buf lint
	$(BIN)/buf breaking --against proto/released.binpb
	mkdir -p build/proto
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=build/proto --pyi_out=build/proto --grpc_python_out=build/proto $(PROTO)
	for file in build/proto/nextchar/v1/*; do diff -u proto/nextchar/v1/$$(basename $$file) $$file || exit 1; done

proto-release: $(STAMP) ## Make this protocol the one that later changes are compared with; part of a release
	$(BIN)/buf build --exclude-source-info --output proto/released.binpb

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: $(STAMP) ## Lint the code, its format, its imports and the prose
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports --no-cache
	$(BIN)/proselint check $(PROSE)
	$(BIN)/python -m pytest -q tests/docs/test_prose.py

types: $(STAMP) ## Check the types, strictly
	$(BIN)/mypy

test: $(STAMP) ## Run all tests with coverage (about 15 minutes on two idle cores)
	$(BIN)/python -m pytest -n 2 --dist loadfile --cov --cov-report=term:skip-covered --cov-fail-under=$(COVERAGE)

test-fast: $(STAMP) ## Run the fast tests of the packages (under a minute)
	$(BIN)/python -m pytest -m "not slow" tests/cli tests/client tests/model tests/server tests/training

demo: $(STAMP) ## Train for a minute, export, serve, stream, show the metrics (3 minutes on a fresh machine)
	deploy/demo.sh $(BIN)

docs: $(STAMP) ## Generate docs/cli.md and docs/protocol.md, and build the site to build/site
	$(BIN)/python -m docs.generate_cli
	$(BIN)/python -m docs.generate_protocol
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

train: $(STAMP) ## Train the packaged model again (70 minutes), or continue: four teachers, then their student; CORPUS, OUT, BUDGET, JOBS override
	PATH="$(CURDIR)/$(BIN):$$PATH" $(if $(BUDGET),BUDGET="$(BUDGET)") $(if $(JOBS),JOBS=$(JOBS)) examples/teachers.sh $(or $(CORPUS),tinyshakespeare) $(or $(OUT),runs/taught)

serve: $(STAMP) ## Serve the packaged model, or MODEL=path
	$(BIN)/nextchar-server $(if $(MODEL),--model $(MODEL))

up: ## Build and start the containers: server and Prometheus
	docker-compose up --build --detach

sbom: ## Build the server's image and write what is in it to build/sbom.cdx.json (CycloneDX)
	mkdir -p build
	docker build --network host --file deploy/Dockerfile --target server --tag nextchar-server .
	deploy/sbom.sh nextchar-server >build/sbom.cdx.json.part
	mv build/sbom.cdx.json.part build/sbom.cdx.json

# Strict, because versions that the database doesn't have would pass else.
audit: build/tools/.installed ## Look up the pinned versions in the database of known vulnerabilities (needs the internet)
	build/tools/bin/pip-audit --strict --requirement constraints.txt --no-deps --disable-pip

build/tools/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv build/tools
	build/tools/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt pip-audit
	touch build/tools/.installed

bench: $(STAMP) ## Run the benchmarks, or one part (ONLY=kernel, limits, served, scale or prefixes)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[baselines]'
	$(BIN)/python -m benchmarks $(ONLY)

faults: $(STAMP) ## Attack, kill, stop and fuzz servers, and measure what callers keep (25 minutes)
	$(BIN)/python -m benchmarks faults callers_limits failover fuzzing tokens prefixes

bench-versions: $(STAMP) ## Compare what a character costs with another checkout, BEFORE (6 minutes)
	BEFORE=$(BEFORE) $(BIN)/python -m benchmarks versions

bench-training: $(STAMP) ## Run the training benchmark (70 minutes on two idle cores)
	$(BIN)/python -m benchmarks training

bench-map: $(STAMP) ## Train the models of the map that aren't there (hours), then measure and draw all; RUNS, EPOCHS, MODELS override
	RUNS=$(or $(RUNS),runs/map) $(BIN)/python -m benchmarks.map train --epochs $(or $(EPOCHS),14) $(MODELS)
	RUNS=$(or $(RUNS),runs/map) $(BIN)/python -m benchmarks map

check: lint types proto-check test ## Run all checks and tests, as CI does

clean: ## Remove the virtual environment, builds, runs and caches
	rm -rf $(VENV) build dist runs .mypy_cache .pytest_cache .ruff_cache .hypothesis
