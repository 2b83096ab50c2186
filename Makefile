.DEFAULT_GOAL := help
.PHONY: help install proto check format test nightly demo demo-fleet bench docs clean

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.8
STAMP := $(VENV)/.installed
export PATH := $(CURDIR)/$(BIN):$(PATH)

help: ## Say what there is
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sort | sed 's/:.*## /\t/' | expand -t 16

install: $(STAMP) ## Install everything into .venv

$(STAMP): pyproject.toml constraints.txt
	@test -x .tools/bin/uv || $(PYTHON) -m pip install -q --disable-pip-version-check --root-user-action=ignore --target .tools uv==$(UV_VERSION)
	@test -x $(BIN)/python || .tools/bin/uv venv -q --python $(PYTHON) $(VENV)
	.tools/bin/uv pip install -q --python $(VENV) -c constraints.txt -b constraints.txt -e '.[cloud,stripe]' --group dev
	@touch $@

constraints.txt: pyproject.toml
	@test -x .tools/bin/uv || $(PYTHON) -m pip install -q --disable-pip-version-check --root-user-action=ignore --target .tools uv==$(UV_VERSION)
	.tools/bin/uv pip compile -q pyproject.toml --extra cloud --extra stripe --group dev --generate-hashes --python-version 3.11 --no-header -o $@

PROTOC = python -m grpc_tools.protoc -I proto --python_out=$(1) --grpc_python_out=$(1) \
	--mypy_out=quiet:$(1) --mypy_grpc_out=only_async,quiet:$(1) proto/energyshare/v1/*.proto

proto: $(STAMP) ## Write the generated code from proto/
	@rm -f energyshare/v1/*_pb2*
	$(call PROTOC,.)

check: $(STAMP) ## Format, lint, types, import contracts, generated code and docs up to date
	ruff format --check -q .
	ruff check -q .
	buf lint
	lint-imports --no-cache
	mypy
	@rm -rf build/proto && mkdir -p build/proto
	@$(call PROTOC,build/proto)
	@diff -r -x __init__.py -x __pycache__ build/proto/energyshare/v1 energyshare/v1 || (echo "generated code is stale: run make proto" && false)
	@python -m docs.order_states --check

format: $(STAMP) ## Format and fix what can be fixed
	ruff format -q .
	ruff check -q --fix .

docs: $(STAMP) ## Draw docs/order-states.md from the table
	python -m docs.order_states

test: $(STAMP) ## Run all tests
	pytest

nightly: $(STAMP) ## Try 100,000 spoilt bundles of evidence, and 100,000 sessions against the second pricer
	ENERGYSHARE_MUTATIONS=100000 pytest --timeout=3600 tests/cloud/test_evidence_mutations.py
	ENERGYSHARE_PRICINGS=100000 pytest --timeout=3600 --dist=load tests/test_tariff_agreement.py

demo: $(STAMP) ## Orders of all three kinds through real processes, one with the cloud killed between voucher and unlock
	@python -m tests.demo.main

demo-fleet: $(STAMP) ## A provider with many stations: make demo-fleet CSV=FILE
	@python -m tests.demo.fleet $(CSV)

bench: $(STAMP) ## Measure orders a second against a floor and a peer in the same run
	@python -m benchmarks orders

clean: ## Remove what was installed and built
	rm -rf .venv .tools build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis .demo
