# One command per habit. `make` or `make help` lists them.

PYTHON ?= python3
PORT ?= 4566
ARCHITECTURE ?= arm64
STACK ?= overdraft
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# A file of tests has an engine of its own, and each process a stack of its own: files run beside each
# other.
PARALLEL := --numprocesses auto --dist loadfile

PIP := pip install --quiet --disable-pip-version-check --require-hashes --requirement
comma := ,
# uv is ten times as fast; pip knows every mirror and proxy that a machine is set up for.
install = $(1)/bin/$(PIP) requirements-uv.txt && \
	{ $(1)/bin/uv pip install --quiet --python $(1)/bin/python --require-hashes --requirement $(2) \
	|| $(1)/bin/$(PIP) $(2); }

.DEFAULT_GOAL := help
.PHONY: help run demo console seed test soak million mutants check unit models faults volume integration concurrency conformance contract browser office chromium bench bench-report bench-portal bench-console bench-pool bench-client bench-peers screenshots scale lint format openapi docs lock build clients deploy redrive adopt smoke bootstrap-key clean

help: ## List the commands
	@grep -E '^[a-z -]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' \
		| awk -F'\t' '{ printf((length($$1) > 15 ? "%s\n%16s%s\n" : "%-16s%s%s\n"), $$1, "", $$2) }'

run: $(READY) ## Start the whole stack on this machine (PORT=4566) with a demo customer; SSO=1: with people who sign in
	@$(BIN)/python -m local run --port="$(PORT)" $(if $(SSO),--sso)

demo: $(READY) ## A working day on 100 purchased seats, in about a minute
	@PYTHONPATH=clients/python/src $(BIN)/python -m local demo

console: $(READY) ## Print a link that signs in to the vendor's console of the stack of make run
	@$(BIN)/python -m local console

seed: $(READY) ## Add N=10000 made-up entitlements to the stack of make run
	@$(BIN)/python -m local seed --count=$(or $(N),10000)

test: $(READY) $(VENV)-sam/.ready $(VENV)-checkov/.ready lint office chromium ## Everything: style, types, all tests
	@$(BIN)/python -m local.dynamodb
	@rm -rf .local/rights
	@$(BIN)/pytest $(PARALLEL) tests/faults tests/models tests/concurrency tests/conformance tests/contract tests/volume tests/unit
	@$(BIN)/pytest $(PARALLEL) --numprocesses 3 tests/browser tests/integration
	@$(BIN)/pytest tests/rights

soak: $(READY) office chromium ## The sweeping tests, whole, for MINUTES=60
	@$(BIN)/python -m local.dynamodb
	@$(BIN)/python -m tools.soak --minutes $(or $(MINUTES),60) --first $(or $(FIRST),0)

STORIES := PYTHONPATH=clients/python/src PYTHONHASHSEED=0 $(BIN)/python -m tests.soak

million: $(READY) ## A million operations amid faults, as stories in a table in memory (FIRST=0: the first seed)
	@$(STORIES) --operations 1000000 --first $(or $(FIRST),0)

mutants: $(READY) ## Plant slips in the product: the stories must find each
	@$(STORIES).mutants

check: $(READY) lint ## What to run after every edit: style, types, unit tests
	@$(BIN)/python -m local.dynamodb >/dev/null
	@$(BIN)/pytest $(PARALLEL) tests/unit

contract: $(VENV)-sam/.ready $(VENV)-checkov/.ready

unit conformance contract models faults volume concurrency: $(READY) ## One folder of tests
	@$(BIN)/python -m local.dynamodb
	@$(BIN)/pytest $(PARALLEL) tests/$@

integration browser: $(READY) ## The same, against the deployed stack
	@$(BIN)/pytest tests/$@

integration: office

browser: chromium

# How a program of Debian comes here: what finds it, its name, its packages, what to do where apt cannot.
debian = { $(1); } >/dev/null 2>&1 || { echo "installing $(2) (once) ..." && apt-get update -qq \
	&& DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $(3) >/dev/null 2>&1; } \
	|| { echo $(4); exit 1; }

office: ## LibreOffice, in which a test opens the report's workbook
	@$(call debian,command -v soffice,LibreOffice Calc,libreoffice-calc-nogui,"The tests open a workbook in LibreOffice: install it$(comma) so that 'soffice' is found.")

chromium: ## The browser in which tests open the portal
	@$(call debian,command -v chromium,Chromium,chromium fonts-dejavu-core,"The tests open the portal in Chromium: install it$(comma) so that 'chromium' is found.")

bench: $(READY) ## Measure: round trips, write units, CPU, start-up; writes .local/bench.json
	@$(BIN)/python -m benchmarks.run

bench-peers: $(READY) ## Measure the seat storm against what people would otherwise write, Redis and PostgreSQL
	@$(call debian,command -v redis-server && ls /usr/lib/postgresql/*/bin/initdb,Redis and PostgreSQL,redis-server postgresql,"The benchmark needs redis-server and postgresql: install them.")
	@$(BIN)/python -m benchmarks.peers

bench-report: $(READY) ## Measure the report for 10,000 entitlements (about a quarter of an hour)
	@$(BIN)/python -m benchmarks.report

bench-client: $(READY) ## Measure the Python client: a call, kept seats, its import
	@PYTHONPATH=clients/python/src $(BIN)/python -m benchmarks.client

screenshots: $(READY) chromium ## Take the README's pictures of the portal and the console
	@$(BIN)/python -m local screenshots

bench-portal: $(READY) chromium ## Measure the portal's page on the local stack: bytes, first picture, reads
	@POWERTOOLS_LOG_LEVEL=CRITICAL $(BIN)/python -m benchmarks.portal

bench-console: $(READY) chromium ## Measure the console with 10,000 entitlements, on a slow phone
	@POWERTOOLS_LOG_LEVEL=CRITICAL $(BIN)/python -m benchmarks.console

bench-growth: $(READY) ## Measure what calls read with 1,000 to 100,000 entitlements (about a quarter of an hour)
	@$(BIN)/python -m benchmarks.growth

bench-pool: $(READY) ## Measure how fresh the sum of a large pool is, on the local stack
	@$(BIN)/python -m benchmarks.freshness

scale: $(READY) ## Pools under load on a simulated DynamoDB: the table and the pictures of docs/scale.md
	@$(BIN)/python -m benchmarks.scale.run
	@$(BIN)/python -m benchmarks.scale.counting

lint: $(READY) ## Style and types
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check . || { echo "some files are not formatted: make format"; exit 1; }
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/mypy --no-error-summary --python-version 3.10 clients/python/src
	@$(BIN)/python -m tools.build --page --typescript
	@cd functions/portal/web && npm run --silent check
	@cd clients/typescript && npm run --silent check

format: $(READY) ## Format the code, mend what can be mended
	@$(BIN)/ruff format --quiet .
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/python -m tools.build --page --typescript
	@cd functions/portal/web && npm run --silent format
	@cd clients/typescript && npm run --silent format

openapi: $(READY) ## Make openapi.json from the code, and the typed calls of the Python client
	@$(BIN)/python -m tools.openapi
	@$(BIN)/python -m tools.vendor_client

docs: $(VENV)-docs/.ready ## Build the documentation site into .build/docs; every link is checked
	@$(VENV)-docs/bin/python -m sphinx --quiet --fail-on-warning --keep-going --fresh-env docs .build/docs
	@echo "open .build/docs/index.html"

lock: $(READY) ## Compile requirements.txt and requirements-dev.txt
	@$(BIN)/python -m tools.lock

build: $(READY) ## Package the functions for AWS (ARCHITECTURE=arm64)
	@$(BIN)/python -m tools.build --architecture $(ARCHITECTURE)

# Handed over by the environment: no shell reads what is in them.
export CONFIG PARAMETERS

clients: $(READY) ## Build the client libraries and a Postman collection into .build/clients
	@cd clients/python && "$(CURDIR)/$(BIN)/python" -m hatchling build -d "$(CURDIR)/.build/clients"
	@$(BIN)/python -m tools.build --typescript
	@cd clients/typescript && npm pack --silent --pack-destination "$(CURDIR)/.build/clients" >/dev/null
	@$(BIN)/python -m tools.postman .build/clients/overdraft.postman_collection.json
	@ls .build/clients

deploy: build $(VENV)-sam/.ready ## Deploy to AWS with the SAM CLI (CONFIG=parameters.yaml); see docs/deploy.md
	@$(BIN)/python -m tools.deploy --stack $(STACK) --architecture $(ARCHITECTURE) \
		$(if $(BUCKET),--bucket $(BUCKET)) $(ARGS)

redrive: $(READY) ## What was given up; REPLAY=1 replays it, LOCAL=1 is the stack of make run
	@$(BIN)/python -m tools.redrive --stack $(STACK) $(if $(REPLAY),--replay) $(if $(LOCAL),--local)

adopt: $(READY) ## Prepare a restored table (TABLE=name) for the stack to take over
	@$(BIN)/python -m tools.adopt --table "$(TABLE)" $(if $(LOCAL),--local)

smoke: $(READY) ## Prove a deployed stack (STACK=, API_KEY=, WEBHOOK=); LOCAL=1 is the stack of make run
	@$(BIN)/python -m tools.smoke --stack $(STACK) $(if $(URL),--url $(URL)) \
		$(if $(WEBHOOK),--webhook $(WEBHOOK)) $(if $(LOCAL),--local)

bootstrap-key: $(READY) ## Make a bootstrap key and its hash for the deployment
	@$(BIN)/python -m tools.bootstrap_key

clean: ## Remove everything that was made here
	@rm -rf $(VENV) $(VENV)-sam $(VENV)-checkov $(VENV)-docs .build .local .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis

$(READY): requirements-dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
		|| { echo "Overdraft needs Python 3.11 or newer: set PYTHON=/path/to/python3.11"; exit 1; }
	@echo "setting up $(VENV) (once, about a minute) ..."
	@$(PYTHON) -m venv --clear $(VENV)
	@$(call install,$(VENV),requirements-dev.txt)
	@touch $@

$(VENV)-sam/.ready: requirements-deploy.txt
	@echo "setting up the SAM CLI (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)-sam
	@$(call install,$(VENV)-sam,requirements-deploy.txt)
	@touch $@

$(VENV)-docs/.ready: requirements-docs.txt
	@echo "setting up Sphinx (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)-docs
	@$(call install,$(VENV)-docs,requirements-docs.txt)
	@touch $@

$(VENV)-checkov/.ready: requirements-checkov.txt
	@echo "setting up checkov (once) ..."
	@$(PYTHON) -m venv --clear $(VENV)-checkov
	@$(call install,$(VENV)-checkov,requirements-checkov.txt)
	@touch $@
