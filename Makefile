# Aliases for contributors; `python3 manage.py` is the real entry and makes .venv by itself.
PYTHON := .venv/bin/python
.DEFAULT_GOAL := help

$(PYTHON):
	python3 manage.py check

.PHONY: help
help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: demo
demo: ## the whole job on made-up volumes, then the site
	python3 manage.py demo

.PHONY: up
up: ## start site, queue and workers
	python3 manage.py up

.PHONY: test
test: ## every test
	python3 manage.py test

FUZZ_SECONDS ?= 300
.PHONY: fuzz
fuzz: $(PYTHON) ## broken submissions by the thousand, for FUZZ_SECONDS (300)
	FUZZ_SECONDS=$(FUZZ_SECONDS) $(PYTHON) -m pytest -q -s tests/evaluator/fuzz

FUZZ_API_EXAMPLES ?= 25
.PHONY: fuzz-api
fuzz-api: $(PYTHON) ## requests made up from the API's description, by the ten thousand, as everybody
	FUZZ_API_EXAMPLES=$(FUZZ_API_EXAMPLES) $(PYTHON) -m pytest -q -s tests/server/test_fuzz_api.py

.PHONY: chaos
chaos: $(PYTHON) ## 200 submissions of 20 teams on each database while everything is killed
	CHAOS_TEAMS=20 CHAOS_FILES=40 CHAOS_GOOD=8 CHAOS_STRIKES=40 $(PYTHON) -m pytest -q -s tests/story/test_chaos.py

.PHONY: check
check: $(PYTHON) ## format, lint, types, contracts, migrations
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m ruff check .
	$(PYTHON) -m mypy
	.venv/bin/lint-imports
	$(PYTHON) manage.py makemigrations --check --dry-run

.PHONY: format
format: $(PYTHON) ## rewrite files in the house format
	$(PYTHON) -m ruff format .
	$(PYTHON) -m ruff check --fix .

.PHONY: bench-baselines
bench-baselines: $(PYTHON) ## our networks on real microscopy, beside a random forest, MONAI's and others
	$(PYTHON) -m benchmarks.baselines

.PHONY: golden
golden: $(PYTHON) ## the official protocol against the challenge's own recorded results
	$(PYTHON) -m benchmarks.golden

.PHONY: bench-evaluator
bench-evaluator: $(PYTHON) ## time and memory of scoring beside the cost of reading, and the challenge's code
	$(PYTHON) -m benchmarks.evaluator

.PHONY: bench-stages
bench-stages: $(PYTHON) ## what it costs to score in processes of their own
	$(PYTHON) -m benchmarks.stages

.PHONY: red-team
red-team: $(PYTHON) ## what spoilt predictions score, under every protocol
	$(PYTHON) -m benchmarks.red_team

.PHONY: same-digest
same-digest: $(PYTHON) ## the same bytes from environments with other versions of numpy
	$(PYTHON) -m benchmarks.same_digest

.PHONY: openapi
openapi: $(PYTHON) ## write docs/openapi.yaml, the description of the API
	$(PYTHON) manage.py spectacular --validate --fail-on-warn --file docs/openapi.yaml

.PHONY: bench-prediction
bench-prediction: $(PYTHON) ## speed and memory of prediction beside MONAI's sliding window
	$(PYTHON) -m benchmarks.prediction

BARS ?= SEG-1,INS-1,INS-2,SPD-3,SPD-5,SPD-6,SPD-7,SIZE-1
.PHONY: bench-bars
bench-bars: $(PYTHON) ## the bars of quality, speed and size that are no tests; BARS=SPD-5,SPD-7
	$(PYTHON) -m benchmarks.bars --only $(BARS)

.PHONY: bench-ensembles
bench-ensembles: $(PYTHON) ## five folds beside one, where uncertainty points, which images are told to be unlike
	$(PYTHON) -m benchmarks.ensembles

GPU_OPTIONS ?=
.PHONY: bench-gpu
bench-gpu: $(PYTHON) ## training and prediction on the GPU at hand; GPU_OPTIONS="--json FILE"
	$(PYTHON) -m benchmarks.gpu $(GPU_OPTIONS)

.PHONY: bench-upload
bench-upload: $(PYTHON) ## 4 GiB through the real server with kills of both sides, beside cp + sha256sum
	$(PYTHON) -m benchmarks.upload

.PHONY: lock
lock: ## compile requirements/*.in to pinned .txt
	requirements/compile
