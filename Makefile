# make run   everything on this machine, from nothing      make test   the whole check, as in .ci/run
# The rest is for people who change the code; each target says what it does.

VENV := .venv/bin
SAM := .tools/sam/bin/sam
UV := .tools/uv-found
ARCH ?= arm64
ONCE ?=
CRM ?=
BOOKS ?=
DEALS ?=
FAULTS ?=
SEEDS ?= 1000
FIRST ?= 0
JOBS ?= 1
SUMMARY ?=
SEED ?= 0
OF ?= mapping

export SAM_CLI_TELEMETRY := 0
export PYTHON
# The last part is for `sam validate`, which wants a region although it asks nothing of it.
SAM_ENV := PATH="$(CURDIR)/.tools/sam/bin:$$PATH" AWS_DEFAULT_REGION=$${AWS_DEFAULT_REGION:-eu-west-1}
EXPORT := $(UV) export --quiet --locked --package tieout --no-emit-workspace --no-dev --no-annotate --no-header
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.13 --no-emit-index-url --generate-hashes --no-annotate --no-header
CODE := layers/tieout/tieout functions sandbox tests $(if $(wildcard bench/*.py),bench)
MUTATION_ENV = UV_PROJECT_ENVIRONMENT=.tools/mutation $(UV) sync --quiet --locked --group mutation \
  --python "$$($(VENV)/python -c 'import sys; print(sys._base_executable)')"
# Output of parallel stages stays together where make can do that (4.0 and later).
TOGETHER := $(if $(filter output-sync,$(.FEATURES)),--output-sync=target)

.PHONY: setup run test check unit simulate coverage mutate bench rivals tryton pairs faults office chaos template build lock clean
.PHONY: stage-format stage-lint stage-types stage-imports stage-lock stage-validate stage-cfn-lint stage-checkov stage-suites stage-e2e

STATIC := stage-format stage-lint stage-types stage-imports stage-lock stage-validate stage-cfn-lint stage-checkov

setup: ## everything that the other targets need, inside this folder
	@.ci/setup

run: setup ## the stack in a local AWS, against simulators; CRM=provider BOOKS=provider DEALS=number|all; ONCE=1 ends after the table, FAULTS=file makes it rough
	@$(if $(wildcard sandbox/requirements/$(BOOKS).txt),.ci/setup $(BOOKS))
	@$(VENV)/tieout sandbox tour $(if $(CRM),--crm $(CRM)) $(if $(BOOKS),--books $(BOOKS)) $(if $(DEALS),--deals $(DEALS)) \
	  $(if $(ONCE),--once) $(if $(FAULTS),--faults $(FAULTS))

test: setup ## everything; stages run two at a time, all of them even if one fails
	@$(MAKE) --no-print-directory --keep-going -j2 $(TOGETHER) stage-e2e stage-suites $(STATIC) \
	  || { echo "FAILED: the stages named in 'make: *** [...]' above" >&2; exit 1; }
	@echo "All stages passed."

check: setup ## what needs no test to run
	@$(MAKE) --no-print-directory --keep-going -j2 $(TOGETHER) $(STATIC)

unit: setup ## the fast tests
	@$(VENV)/pytest -q -n 2 --dist loadfile tests/unit

simulate: setup ## the engine in simulated worlds: SEEDS=1000 of them, from FIRST=0 on, JOBS=2 at a time, figures into SUMMARY=file; SEEDS=1 FIRST=s tells seed s again
	@$(VENV)/python -m tests.engine.simulation $(SEEDS) $(FIRST) --jobs $(JOBS) --summary "$(SUMMARY)"

coverage: setup ## lines and branches of engine/, mapping/ and matching/ that their tests miss (10 minutes); docs/reliability.md says why
	@$(MUTATION_ENV)
	@.tools/mutation/bin/coverage run -m pytest -q -p no:randomly --hypothesis-profile=ci tests/unit/mapping tests/unit/matching tests/engine
	@.tools/mutation/bin/coverage report

mutate: setup ## are the tests hurt by wrong code? OF=mapping, engine or matching; hours for all, goes on where it stopped
	@$(MUTATION_ENV)
	@.tools/mutation/bin/python -m tests.mutation $(OF)

bench: setup ## figures, not tests
	@$(VENV)/python -m bench

rivals: setup ## other people's clients and Tieout while answers are lost: duplicates, losses, calls (5 minutes)
	@$(VENV)/python -m bench.rivals

tryton: setup ## the Tryton connector against a real server, finer points included; `make test` has the rest (5 minutes)
	@$(VENV)/pytest -q tests/contract/test_tryton.py tests/contract/tryton_lane.py

pairs: setup ## every CRM with every books, from a won deal to its payment; `make test` has one for each provider (10 minutes)
	@$(VENV)/pytest -q tests/integration/test_any_pair.py

faults: setup ## the deployed stack while AWS, both providers and its workers fail; then both sides compared (SEED=0, 10 minutes)
	@$(VENV)/python -m tests.e2e.storm $(SEED)

office: setup ## systems in offices on the deployed stack, with agents in processes of their own, killed and cut off (5 minutes)
	@$(VENV)/pytest -q tests/e2e/test_in_an_office.py

chaos: setup ## an agent is killed 50 times while it writes 500 documents; then its books are compared with an undisturbed run (SEED=0, 10 minutes)
	@$(VENV)/python -m tests.e2e.bridge_chaos --jobs 500 --kills 50 --seed $(SEED)

template: setup ## what can be said of the template without deploying it
	@$(MAKE) --no-print-directory --keep-going -j2 $(TOGETHER) stage-validate stage-cfn-lint stage-checkov
	@$(VENV)/pytest -q tests/template

build: setup ## functions and layers for AWS, into .aws-sam; ARCH must equal the stack's Architecture
	@$(SAM_ENV) $(SAM) build --cached --parallel --parameter-overrides Architecture=$(ARCH)

lock: setup ## after changing a dependency: the lock, the layer's list, the tools' lists
	@$(UV) lock
	@$(EXPORT) > layers/dependencies/requirements.txt
	@cd sandbox/requirements && for tool in uv sam ministack microburst checkov awslambdaric tryton; do ../../$(COMPILE) $$tool.in -o $$tool.txt; done

clean: ## everything that these targets made
	@rm -rf .aws-sam .sandbox .tools .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis dist
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

stage-format:
	@$(VENV)/ruff format --quiet --check . && echo "ok  formatter"
stage-lint:
	@$(VENV)/ruff check --quiet . && echo "ok  linter"
stage-types:
	@$(VENV)/mypy $(CODE) && echo "ok  types"
stage-imports:
	@$(VENV)/lint-imports --no-cache >.sandbox/imports.log 2>&1 && echo "ok  import contracts" || { cat .sandbox/imports.log; exit 1; }
stage-lock:
	@$(UV) lock --quiet --check || { echo "uv.lock is not in step with pyproject.toml: run make lock"; exit 1; }
	@$(EXPORT) | diff -u layers/dependencies/requirements.txt - || { echo "The dependency layer is not in step with uv.lock: run make lock"; exit 1; }
	@echo "ok  lock and layer in step"
stage-validate:
	@$(SAM_ENV) $(SAM) validate --lint
stage-cfn-lint:
	@$(VENV)/cfn-lint template.yaml && echo "ok  cfn-lint"
stage-checkov:
	@.tools/checkov/bin/checkov --config-file .checkov.yaml --file template.yaml && echo "ok  checkov"
stage-suites:
	@nice -n 10 $(VENV)/pytest -q -n 2 --dist loadfile -m "not e2e and not every_pair" && echo "ok  unit, contract, engine, integration and template tests"
stage-e2e:
	@$(VENV)/pytest -q -m "e2e and not office" tests/e2e && echo "ok  end-to-end tests"
