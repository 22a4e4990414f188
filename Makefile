# Two commands do everything: `make demo` shows the main job, `make test` runs every test. Both set up first.

SHELL := /bin/bash
VENV  := .venv
BIN   := $(VENV)/bin
READY := $(VENV)/.ready
NODE_READY := node_modules/.ready

.PHONY: demo up bench soak test lint unit setup schema rights clean

demo: setup            ## Play the main job against a local Azure. KEEP=1 leaves everything running
	@$(BIN)/python -m local.demo $(if $(KEEP),--keep)

up: setup              ## Start the local stack and leave it running, with no script
	@$(BIN)/python -m local.demo --no-script

bench: setup           ## Measure sweeps, latency and cold start; prints a table, writes .demo/bench.json. QUICK=1: small
	@$(BIN)/python -m local.bench $(if $(QUICK),--quick)

SEED    ?= 1
MINUTES ?= 30
HOSTS   ?= 1
soak: setup            ## Random drifts, faults and kills on 50 hubs; then everything is counted. SEED=1 MINUTES=30 HOSTS=1
	@$(BIN)/python -m local.soak --seed $(SEED) --minutes $(MINUTES) --hosts $(HOSTS)

# Most tests wait for other processes: three at a time suit even two cores. A file's tests share their servers.
test: setup lint       ## Every check and every test
	$(BIN)/pytest -n 3 --dist loadfile $(PYTEST_ARGS)

lint: setup            ## ruff, mypy --strict, import-linter; zizmor for the workflows
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-logo
	$(BIN)/zizmor --offline --quiet --persona auditor .github

unit: setup            ## The tests that need nothing but Python
	$(BIN)/pytest tests/unit $(PYTEST_ARGS)

schema: setup          ## Write the JSON Schema of the policy file, for editors
	$(BIN)/python -m hubwarden.schema > docs/policy.schema.json

rights: setup          ## Write what each rule needs of Azure, which Bicep makes roles of
	$(BIN)/python -m hubwarden.rights > infra/rights.json

setup: $(READY) $(NODE_READY)

# Python 3.13 or newer: from PATH, from pyenv, else fetched by uv.
$(READY): requirements.txt constraints.txt pyproject.toml local/venv.sh
	@bash local/venv.sh $(VENV)
	@touch $@

$(NODE_READY): package.json package-lock.json
	@command -v npm >/dev/null || { echo "npm is missing: install Node.js 20 or newer" >&2; exit 1; }
	npm ci --no-audit --no-fund --loglevel=error
	@touch $@

clean:                 ## Remove what setup and the demo made
	rm -rf $(VENV) node_modules .demo
