# `make` lists the targets. Every one of them works on a clean checkout: it first installs what it needs.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

PYTHON ?= python3
TEST_PROCESSES ?= 3
BIN := .venv/bin
STACK := .stack
LOCK := uv pip compile --quiet --universal --generate-hashes --python-version 3.11 --no-config \
        --no-emit-index-url --no-emit-find-links --no-header --no-annotate
UV_VERSION := 0.13.9

.PHONY: kubernetes otelcol help install install-python install-stack install-go install-examples protos monitoring up down status demo test drill soak lint bench bench-audit bench-collector bench-ledger bench-query audit lock clean screenshots

help: ## List the targets and the variables
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)
	@echo
	@echo "Variables (all optional):"
	@echo "  PYTHON                            Python 3.11 or later for the environment (python3); a distribution's is about an eighth faster than pyenv's"
	@echo "  TEST_PROCESSES                    how many processes share the tests, each with servers of its own (3); 0: none"
	@echo "  KAFKA_BOOTSTRAP_SERVERS           use this Kafka and start none"
	@echo "  MONGODB_URI                       use this MongoDB and start none"
	@echo "  GOODSTRACE_KAFKA_PORT             port of the Kafka that is started (9092)"
	@echo "  GOODSTRACE_KAFKA_CONTROLLER_PORT  its second port (the one after)"
	@echo "  GOODSTRACE_MONGO_PORT             port of the store that is started (27017)"
	@echo "  GOODSTRACE_COLLECTOR_PORT         port of the capture API (8080)"
	@echo "  GOODSTRACE_COLLECTOR_GRPC_PORT    port of CaptureService (50053)"
	@echo "  GOODSTRACE_QUERY_GRPC_PORT        port of TraceService (50051)"
	@echo "  GOODSTRACE_QUERY_HTTP_PORT        port of the public logs (8081)"
	@echo "  GOODSTRACE_AUDIT_GRPC_PORT        port of AuditService (50052)"
	@echo "  GOODSTRACE_<SERVICE>_METRICS_PORT /metrics of collector, ledger, query, audit, watch (9101 to 9105)"
	@echo "  BENCH_LEDGER                      arguments for bench-ledger (see --help), such as '--repeats 1 --entries 100000'"
	@echo "  BENCH_COLLECTOR                   arguments for bench-collector, such as '--only stages --events 20000' or '--only whole --keeper-apart'"
	@echo "  BENCH_AUDIT                       arguments for bench-audit, such as '--looks 5000 --seconds 5'"
	@echo "  BENCH_QUERY                       arguments for bench-query, such as '--events 10000 --only one-event'"
	@echo "  GOODSTRACE_LOCAL_WITNESSES        witnesses of our own to start and to be cosigned by (0)"
	@echo "  GOODSTRACE_TLS                    off: everything in clear text (on: certificates in GOODSTRACE_RUN_DIR/tls)"
	@echo "  GOODSTRACE_RUN_DIR                data, logs, keys and pid files (run/)"

install: install-python protos install-stack ## Install everything into .venv and .stack

install-python: .venv/.installed

.venv/.installed: requirements-dev.lock pyproject.toml setup.py
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or later is needed: set PYTHON")'
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

protos: install-python ## Generate the code of proto/ (nothing when it is up to date)
	@$(BIN)/python tools/generate_protos.py

monitoring: install-python protos ## Write rules, their tests, dashboards and docs/metrics.md from tools/monitoring
	@$(BIN)/python -m tools.monitoring

install-stack: $(STACK)/kafka/.installed $(STACK)/secantus/.installed ## Download and check Kafka and the document store

$(STACK)/kafka/.installed: deploy/kafka/pom.xml deploy/kafka/jars.sha256
	rm -rf $(STACK)/kafka
	mvn -q -B -f deploy/kafka/pom.xml dependency:copy-dependencies \
	    -DincludeScope=runtime -DoutputDirectory="$(CURDIR)/$(STACK)/kafka"
	@cd $(STACK)/kafka && LC_ALL=C sha256sum *.jar | diff ../../deploy/kafka/jars.sha256 - \
	    || { echo "Kafka's jars are not those of deploy/kafka/jars.sha256" >&2; exit 1; }
	@touch $@

# An environment of its own: SecantusDB is GPL-2.0 and is run, never imported.
$(STACK)/secantus/.installed: deploy/secantus/requirements.lock
	rm -rf $(STACK)/secantus
	$(PYTHON) -m venv $(STACK)/secantus
	$(STACK)/secantus/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
	    -r deploy/secantus/requirements.lock
	@touch $@

# For the tests and `make bench-ledger`: programs of other people, built in .stack/go-programs. Nothing else needs Go.
install-go: $(STACK)/go/.installed ## Download and check the Go toolchain

$(STACK)/go/.installed: deploy/go/requirements.lock | .venv/.installed
	rm -rf $(STACK)/go
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --require-hashes \
	    --target $(STACK)/go -r deploy/go/requirements.lock
	@touch $@

# The clients of other languages, built in .stack/examples: for the tests. What lacks its tools is passed over.
install-examples: install-python install-go ## Build the clients of examples/ (Go; Java and TypeScript where their tools are there)
	@$(BIN)/python -m tests.example_clients

up: install ## Start Kafka, the document store and the services; return when all are ready
	@$(BIN)/python -m deploy.stack up

down: install-python ## Stop the services, then Kafka and the document store
	@$(BIN)/python -m deploy.stack down

status: install-python ## Say what runs
	@$(BIN)/python -m deploy.stack status

demo: up ## Capture sample documents, wait until they are sealed, trace an item and verify it
	@$(BIN)/python -m deploy.demo

# Compiled modules are kept, whatever the machine says: each of some thousand processes would compile ours anew.
# What has to be installed is fetched side by side: a download keeps no core busy.
test: export PYTHONDONTWRITEBYTECODE :=
test: ## Run all tests, on a stack of their own
	@$(MAKE) --jobs=3 install install-go install-examples
	@$(BIN)/python -m tests.go_programs
	@$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile --no-loadscope-reorder

lint: install ## Check style, types, imports between parts, protos and docker-compose.yml
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict goodstrace services deploy tools bench
	$(BIN)/lint-imports
	$(BIN)/buf lint
	@base=$$(git rev-parse -q --verify origin/main || git rev-parse -q --verify main || true); \
	if [[ -n $$base ]] && git cat-file -e "$$base:buf.yaml" 2>/dev/null; then \
	    echo "$(BIN)/buf breaking --against main"; \
	    $(BIN)/buf breaking --against ".git#ref=$$base"; \
	else echo "buf breaking: main has no protos yet, nothing to compare with"; fi
	@if docker compose version >/dev/null 2>&1; then \
	    echo "docker compose config"; docker compose config -q; \
	else echo "docker compose: not installed, docker-compose.yml is checked by the tests only"; fi

screenshots: install ## Take the pictures of the web pages in docs/pictures (wants chromium and a Chinese font)
	@$(BIN)/python -m tests.screenshots

otelcol: install-python install-go ## Build the OpenTelemetry Collector, some minutes: the tests of traces are run where it is there
	@$(BIN)/python -m tests.go_programs otelcol

drill: install ## Kill each part in turn under load: the right alert must come and clear (some minutes; wants Debian's prometheus)
	@$(BIN)/python -m tests.drill

kubernetes: install-python protos ## Write deploy/kubernetes, deploy/kafka/acls.json and deploy/mongodb from tools/kubernetes
	@$(BIN)/python -m tools.kubernetes

soak: install install-go otelcol ## Run the long campaigns: large replays, kills at every point
	@$(BIN)/python -m pytest tests/soak -s --timeout 5400
	@$(BIN)/python -m pytest -n 0 tests/system/test_tracing.py tests/interop/test_otelcol.py
	@GOODSTRACE_SOAK_CHAINS=20000 GOODSTRACE_SOAK_TRADES=10000 $(BIN)/python -m pytest -n 0 tests/unit/test_tracing_oracle.py -s --timeout 3600
	@GOODSTRACE_SOAK_RESTARTS=1 $(BIN)/python -m pytest -n 0 tests/system/test_rolling_restart.py
	@GOODSTRACE_SOAK_AWAY_S=60 $(BIN)/python -m pytest tests/integration/test_ledger_accidents.py -k gone -s

bench: install ## Measure, as a table and as JSON
	@$(BIN)/python -m bench

bench-ledger: install install-go ## Measure our ledger beside Tessera and immudb, in turns
	@$(BIN)/python -m bench.ledger_peers $(BENCH_LEDGER)

bench-query: install install-go ## Measure traces asked by ghz, beside immudb's verified reads
	@$(BIN)/python -m bench.query $(BENCH_QUERY)

bench-audit: install ## Measure whether recorder and watch keep up with the query service
	@$(BIN)/python -m bench.audit $(BENCH_AUDIT)

bench-collector: install ## Measure capture and the five stages beside a bare copy through Kafka
	@$(BIN)/python -m bench.collector $(BENCH_COLLECTOR)

audit: install-python $(STACK)/audit/.installed ## Ask for known vulnerabilities of the packages in the lock files
	@$(BIN)/python -m tools.dependency_audit $(STACK)/audit/bin/pip-audit

$(STACK)/audit/.installed: deploy/audit/requirements.lock
	$(PYTHON) -m venv --clear $(STACK)/audit
	$(STACK)/audit/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $<
	touch $@

lock: $(STACK)/lock/bin/uv ## Renew the lock files from pyproject.toml and deploy/*/requirements.in
	$(STACK)/lock/bin/$(LOCK) --upgrade --extra server --extra watch -o requirements.lock pyproject.toml
	$(STACK)/lock/bin/$(LOCK) --upgrade --extra server --extra watch --extra dev -c requirements.lock \
	    -o requirements-dev.lock pyproject.toml
	$(STACK)/lock/bin/$(LOCK) --upgrade -o deploy/secantus/requirements.lock deploy/secantus/requirements.in
	$(STACK)/lock/bin/$(LOCK) --upgrade -o deploy/go/requirements.lock deploy/go/requirements.in
	$(STACK)/lock/bin/$(LOCK) --upgrade -o deploy/audit/requirements.lock deploy/audit/requirements.in

$(STACK)/lock/bin/uv:
	$(PYTHON) -m venv $(STACK)/lock
	$(STACK)/lock/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)

clean: ## Stop everything and remove what was installed, generated and stored, data included
	@if [[ -e .venv/.installed ]]; then $(BIN)/python -m deploy.stack down; fi
	rm -rf .venv $(STACK) run build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	rm -rf goodstrace/{audit,collector,log,query,record} goodstrace/.protos.sha256
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
