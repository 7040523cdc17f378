# The one verb file. Every verb makes what it needs: `make test` on a fresh clone sets up, then tests.
# CI runs `make check` and nothing else.

VENV := .venv
BIN := $(VENV)/bin
PYTHON ?= python3
STAMP := $(VENV)/.installed
PROTO := nextchar/v1/generation.proto
export ORT_DISABLE_TELEMETRY := 1

.DEFAULT_GOAL := help
.PHONY: help install proto proto-check format lint types test demo train serve up bench bench-training check clean

help: ## List the verbs
	@grep -E '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 17

install: $(STAMP) ## Make .venv with everything, at the versions of constraints.txt

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "nextchar needs Python 3.11 or newer; name one with make PYTHON=...")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt torch numpy
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

proto: $(STAMP) ## Generate the code of the protocol
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=proto --pyi_out=proto --grpc_python_out=proto $(PROTO)

proto-check: $(STAMP) ## Lint the protocol; regenerate its code and want no difference
	$(BIN)/buf lint
	mkdir -p build/proto
	$(BIN)/python -m grpc_tools.protoc -I proto --python_out=build/proto --pyi_out=build/proto --grpc_python_out=build/proto $(PROTO)
	for file in build/proto/nextchar/v1/*; do diff -u proto/nextchar/v1/$$(basename $$file) $$file || exit 1; done

format: $(STAMP) ## Format the code
	$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

lint: $(STAMP) ## Lint the code and check its format
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP) ## Check the types, strictly
	$(BIN)/mypy

test: $(STAMP) ## Run all tests
	$(BIN)/python -m pytest

demo: $(STAMP) ## Train for a minute, export, serve, stream text, show the metrics
	deploy/demo.sh $(BIN)

train: $(STAMP) ## Train the packaged model again (10 minutes): CORPUS=tinyshakespeare OUT=runs/shakespeare
	$(BIN)/nextchar-train fit $(or $(CORPUS),tinyshakespeare) --out $(or $(OUT),runs/shakespeare) --minutes $(or $(MINUTES),10) --processes $(or $(PROCESSES),2) --threads 1 --averaging-period 16 --sequence-length 32 --dropout 0.5

serve: $(STAMP) ## Serve the packaged model, or MODEL=path
	$(BIN)/nextchar-server $(if $(MODEL),--model $(MODEL))

up: ## Build and start the containers: server and Prometheus
	docker-compose up --build --detach

bench: $(STAMP) ## Measure everything, or one part: ONLY=kernel, limits, served or scale; writes benchmarks/results.md
	$(BIN)/python -m benchmarks $(ONLY)

bench-training: $(STAMP) ## Measure training, alone on two cores: 70 minutes; writes benchmarks/results.md
	$(BIN)/python -m benchmarks training

check: lint types proto-check test ## All that CI runs

clean: ## Remove what was made
	rm -rf $(VENV) build dist runs .mypy_cache .pytest_cache .ruff_cache .hypothesis
