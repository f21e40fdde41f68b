# Start with `make run` and `make test`. Both install what they need the first time.

.DEFAULT_GOAL := help
.PHONY: help setup run fleet test test-long test-oldest test-fast test-matrix test-bare test-clients test-ui coverage bench bench-smoke chaos chaos-smoke soak fuzz lint deb e2e clean

# `make setup` may have installed a redis-server into .venv/bin; the tests look for one in PATH.
# Most tests wait rather than compute: running four at once takes a third of the time.
PYTEST = PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python -m pytest -n 4 --dist worksteal
BENCH = PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python tests/bench
REPORT = .venv/bin/python -m coverage report
PROVEN = netify_agent/accounting/*,netify_agent/netifyd/*_framing.py,netify_agent/netifyd/framing.py,netify_agent/netifyd/gzip_layer.py,netify_agent/netifyd/flow_*.py

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' Makefile

setup: ## install what is missing: system packages if root or sudo, the rest into .venv
	@packaging/local/setup

run: setup ## run the agent with its own Redis, on netifyd or a simulated network
	@packaging/local/run

fleet: setup ## run two collectors on a Redis Cluster and three simulated gateways, to try a fleet
	@PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python packaging/local/fleet.py

test: setup ## run the tests
	$(PYTEST) -m 'not long'

test-long: setup ## run the tests that take minutes
	$(PYTEST) -m long

test-oldest: setup ## run the tests with the oldest libraries, those of Ubuntu 22.04
	@packaging/test-oldest

test-fast: setup ## run the tests of netifyd, store, API and daemon with the optional libraries hiredis and msgspec
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --target .venv/fast --upgrade hiredis msgspec
	PYTHONPATH="$(CURDIR)/.venv/fast" $(PYTEST) -m 'not long' tests/netifyd tests/store tests/api tests/daemon

test-matrix: test test-fast test-oldest ## run the tests with the newest libraries, with the optional ones, and with the oldest

test-bare: ## (as root) set up and run test-oldest as an ordinary user in a container, with Redis 6.0
	@tests/e2e/bare

test-clients: setup ## test the API with real clients: Prometheus, Zabbix, curl, Nagios plugins, LibreOffice, schemathesis
	@tests/clients/run

coverage: setup ## run the tests and report branch coverage, which must be complete for framing and accounting
	$(PYTEST) -m 'not long' --cov --cov-branch --cov-report=
	$(REPORT)
	$(REPORT) --show-missing --fail-under=100 --include='$(PROVEN)'

bench: setup ## measure speed, memory and interference (10 minutes); bench-smoke checks that it runs
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check --target .venv/bench --upgrade msgspec hiredis || \
		echo 'make bench: without msgspec and hiredis'
	$(BENCH)

bench-smoke: setup
	$(BENCH) --smoke

CHAOS = PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python tests/chaos

chaos: setup ## run the agent under faults chosen by seed (SEEDS=200, JOBS=1 at a time; SEED=n for one)
	$(CHAOS)/run.py --seeds $(or $(SEEDS),200) --jobs $(or $(JOBS),1) $(if $(SEED),--seed $(SEED))

chaos-smoke: setup
	$(CHAOS)/run.py --seed 0 3 7 10 12 17 22 24 35

soak: setup ## an hour of 2,000 records/s with requests (HOURS=1): checks memory, lag and exact totals
	$(CHAOS)/soak.py --hours $(or $(HOURS),1)

fuzz: setup ## fuzz stream, msgpack, gzip, config, accounting and API (FUZZ_S=1200 s each; installs atheris)
	@.venv/bin/python -m pip install --quiet --disable-pip-version-check atheris
	@for target in stream msgpack gzipped config accounting api; do \
		PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python tests/fuzz $$target $(or $(FUZZ_S),1200) || exit 1; done

deb: ## build the Debian package into dist/
	@packaging/build-deb

test-ui: setup ## test the dashboard in Debian's chromium (4 minutes), screenshots in dist/screenshots
	@tests/ui/run

e2e: setup deb ## (as root) test the package on booted Debian 12, 13, and with the versions of Ubuntu 22.04
	@tests/e2e/run

lint: setup ## check style and types
	.venv/bin/python -m ruff check .
	.venv/bin/python -m ruff format --check .
	.venv/bin/python -m mypy
	.venv/bin/lint-imports --no-cache

clean: ## remove .venv, caches, dist and the data of `make run`; refused while `make run` runs
	@if [ -e .run/lock ] && ! flock -n .run/lock true; then \
		echo 'make clean: `make run` is running in this checkout, stop it first' >&2; exit 1; fi
	rm -rf .venv .run dist .coverage htmlcov .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
