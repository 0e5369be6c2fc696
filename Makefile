# Every command of the project; `make` alone lists them.
.DEFAULT_GOAL := help
SHELL := bash
MAKEFLAGS += --no-print-directory

# The Python 3.11 that the environment is made from. It is asked for its own path because the
# python3.11 of a version manager may exist and yet refuse to run.
PYTHON ?= $(shell python3.11 -c 'import sys; print(sys.executable)' 2>/dev/null || command -v python3)
VENV := $(or $(PHI3_VENV),.venv)
ARGS ?=

INSTALL = $(PYTHON) scripts/install.py
RUN = $(VENV)/bin/python -m
# `make serve PORT=80` gives the service PHI3_PORT=80. Only what stands on the command line counts:
# many shells export a HOST that names the machine.
given = $(if $(findstring command,$(origin $(1))),PHI3_$(1)='$($(1))')

.PHONY: help
help: ## This list
	@echo "make TARGET"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

.PHONY: install
install: ## Install the service into .venv (or $PHI3_VENV); done by every target that needs it
	@$(INSTALL)

.PHONY: install-semantic
install-semantic: ## Install it with what the semantic cache needs
	@$(INSTALL) --semantic

.PHONY: install-fleet
install-fleet: ## Install it with the router of a fleet
	@$(INSTALL) --fleet

.PHONY: install-dev
install-dev: ## Install it with everything that tests and checks need
	@$(INSTALL) --dev

.PHONY: serve
serve: install ## Serve on port 11403, Ctrl-C to stop: PORT= HOST= MODEL=
	@trap : INT; \
	env $(call given,PORT) $(call given,HOST) $(call given,MODEL) $(VENV)/bin/phi3-bento serve $(ARGS) \
	    || { code=$$?; [ $$code = 130 ] || exit $$code; }

.PHONY: fleet
fleet: install-fleet ## Serve with REPLICAS=2 behind a router, on one machine: PORT= MODEL= ARGS="--policy …"
	@trap : INT; \
	env $(call given,PORT) $(call given,MODEL) \
	    $(VENV)/bin/phi3-bento fleet up --replicas $(or $(REPLICAS),2) $(ARGS) \
	    || { code=$$?; [ $$code = 130 ] || exit $$code; }

.PHONY: test
test: install-dev ## Run all tests: ARGS= goes to pytest
	$(RUN) pytest $(ARGS)

.PHONY: test-fast
test-fast: install-dev ## Run the tests that need no engine
	$(RUN) pytest -m "not engine" $(ARGS)

.PHONY: faults
faults: install-dev ## Break the running service on purpose, in the long forms; writes docs/reports/faults.md
	FAULTS=long $(RUN) pytest tests/faults $(ARGS)

.PHONY: fuzz
fuzz: install-dev ## Send the service 100,000 hostile inputs and more; about half an hour
	FUZZ_FACTOR=10 $(RUN) pytest tests/api/test_fuzz.py tests/engine/test_fuzz.py --timeout=0 $(ARGS)

.PHONY: check
check: install-dev ## Check style, types, import directions and generated pages
	$(RUN) ruff check .
	$(RUN) ruff format --check .
	$(RUN) mypy
	$(VENV)/bin/lint-imports
	$(VENV)/bin/phi3-bento docs --check

.PHONY: format
format: install-dev ## Format the code and mend what can be mended
	$(RUN) ruff check --fix-only --quiet .
	$(RUN) ruff format .

.PHONY: docs
docs: install-dev ## Write the generated pages again, then build the site into build/site; a broken link fails
	$(VENV)/bin/phi3-bento docs
	NO_MKDOCS_2_WARNING=1 $(RUN) mkdocs build --strict --quiet

.PHONY: screenshots
screenshots: install-dev ## Take the pictures of the page again, into docs/images; needs Chromium
	$(RUN) tests.screenshots

.PHONY: demo-model
demo-model: install ## Train the bundled demo model again
	$(RUN) phi3_bento.models.demo.train $(ARGS)

.PHONY: load
load: install-dev ## Load test with report: SCENARIO=decision|normal|chat|burst|soak|limits, ARGS="--model …"
	$(RUN) loadtests.run $(SCENARIO) $(ARGS)

.PHONY: load-memory
load-memory: install-dev ## Ten minutes of mixed load on the full size in 8 GiB; needs root and cgroups v1
	$(RUN) loadtests.memory $(ARGS)

.PHONY: load-admission
load-admission: install-dev ## CPU that keys, limits and ledger cost a request, beside the bare route
	$(RUN) loadtests.admission $(ARGS)

.PHONY: load-overload
load-overload: install-dev ## Ten times the load that the service can carry: ARGS="--model … --tokens 8"
	$(RUN) loadtests.overload $(ARGS)

.PHONY: load-hits
load-hits: install-dev ## Cache hits beside a trivial route in an untuned BentoML service; needs wrk
	$(RUN) loadtests.hits $(ARGS)

.PHONY: load-observability
load-observability: install-dev ## What metrics, log and traces cost a cache hit; needs wrk
	$(RUN) loadtests.observability $(ARGS)

.PHONY: load-pair
load-pair: install-dev ## Two configurations side by side: ARGS="--b PHI3_KV_DTYPE=fp8"
	$(RUN) loadtests.pair $(ARGS)

.PHONY: load-compare
load-compare: install-dev ## This service beside others: ARGS="vllm", ARGS="llama --python PYTHON FILE.gguf"
	$(RUN) loadtests.compare $(ARGS)

.PHONY: load-policies
load-policies: install-dev ## The router's policies on three workloads, and what the router costs
	$(RUN) loadtests.policies $(ARGS)

.PHONY: load-capacity
load-capacity: install-dev ## What `plan --rps` says beside what one and two replicas do
	$(RUN) loadtests.capacity $(ARGS)

.PHONY: load-semantic
load-semantic: install-dev ## True and false semantic hits on the pairs of tests/pairs, into docs/reports
	$(RUN) loadtests.semantic_pairs

.PHONY: bento
bento: install ## Build the Bento
	$(RUN) bentoml build $(ARGS)

# From /, since BentoML 1.4.36 refuses a template that lies outside of the working directory, and
# its own copy of ours lies in a temporary one.
.PHONY: container
container: install ## Build the newest Bento's image phi3-bento:latest with Docker: ARGS="--backend podman"
	cd / && $(abspath $(VENV))/bin/python -m bentoml containerize phi3-bento:latest \
	    --image-tag phi3-bento:latest $(ARGS)

.PHONY: container-proof
container-proof: install-dev ## Build the image and run it in 8 GiB and two CPUs, without Docker; needs root and podman
	$(RUN) pytest tests/container $(ARGS)

.PHONY: sbom
sbom: install-dev ## Write the bill of materials of the locks into build/sbom.json (CycloneDX)
	$(VENV)/bin/python scripts/supply.py sbom

.PHONY: audit
audit: install-dev ## Look the locked packages up among known vulnerabilities
	$(VENV)/bin/python scripts/supply.py audit

.PHONY: lock
lock: install-dev ## Compile pyproject.toml's pins into requirements/: ARGS=--upgrade
	UV='$(VENV)/bin/uv' scripts/lock.sh $(ARGS)

.PHONY: clean
clean: ## Remove caches and build outputs; .venv stays
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . \( -path ./.venv -o -path ./.git \) -prune -o -name __pycache__ -type d -exec rm -rf {} +
