"""`drag sample`."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Annotated, Any

import msgspec
import typer

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.choices import check_choice, check_malformed, choice_rules
from dynamicrag_cli.cli.models import Closing, engine_settings, open_pair, prompts_for
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.engine import SamplingOptions
from dynamicrag_cli.core.records import RetrievedQuestion, SampledQuestion
from dynamicrag_cli.stages import rollouts as stage_rollouts
from dynamicrag_cli.stages.outcome import Outcome


def sample(
    ctx: typer.Context,
    source: opt.Source,
    model: opt.Model,
    output: opt.Output = "-",
    engine: opt.EngineName = "hf",
    reader: opt.Reader = None,
    rollouts: Annotated[int, typer.Option(min=1, help="Selections per question.")] = 8,
    temperature: opt.Temperature = 1.0,
    top_p: opt.TopP = 0.9,
    max_selection_tokens: opt.MaxSelectionTokens = 100,
    constrained: opt.Constrained = None,
    min_k: opt.MinK = 0,
    max_k: opt.MaxK = None,
    invalid: opt.Invalid = "drop",
    max_context_tokens: opt.MaxContextTokens = None,
    templates: opt.Templates = None,
    limit: opt.Limit = None,
    shard: opt.Shard = None,
    seed: opt.Seed = 0,
    dtype: opt.Dtype = None,
    max_model_len: opt.MaxModelLen = None,
    base_url: opt.BaseUrl = None,
    revision: opt.Revision = None,
    trust_remote_code: opt.TrustRemoteCode = False,
    device: opt.Device = None,
    batch_tokens: opt.BatchTokens = 16384,
    concurrency: opt.Concurrency = 16,
    timeout_s: opt.TimeoutS = 120.0,
    gpus: opt.Gpus = 1,
    chunk: opt.Chunk = 256,
    max_reject_rate: opt.MaxRejectRate = 0.01,
    cache: opt.Cache = None,
    max_malformed_rate: opt.MaxMalformedRate = 1.0,
    runner: opt.RunnerName = "local",
    workers: opt.Workers = 2,
    worker_gpus: opt.WorkerGpus = 0,
    ray_address: opt.RayAddress = None,
    fresh: opt.Fresh = False,
    reuse: opt.Reuse = None,
    as_json: opt.AsJson = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Draw rollouts: candidates in, selections with the reader's answers out.

    The n samples of a prompt share one prefill, and equal selections of a question are answered once.

    Example: drag sample bc/dpo_pool.jsonl -o sampled.jsonl --engine hf --model sft --rollouts 8
    """
    check_choice(ctx, output)
    settings = engine_settings(ctx)  # a wrong pair of --revision and --trust-remote-code is told before any work
    options, tally, closing = ctx.params, Tally(), Closing(ctx.call_on_close)
    free = SamplingOptions(rollouts, temperature, top_p, max_selection_tokens, seed)

    def prepare() -> Callable[[list[Any]], Sequence[Outcome]]:
        policy, answerer = open_pair(settings, closing, engine, model, reader, cache, tally)
        assert policy is not None
        drawing = replace(free, choice=choice_rules(options, policy))
        own, others = (prompts_for(templates, e.control_tokens) for e in (policy, answerer))
        return lambda records: stage_rollouts.sample(records, policy, answerer, own, others, drawing)

    stage = Stage(
        RetrievedQuestion,
        {"": SampledQuestion},
        prepare,
        note=_statuses,
        templates_hash=prompts_hash(prompts_for(templates, frozenset())),
        tally=tally,
    )
    run_stage(ctx, source, output, stage)
    check_malformed(ctx, output)


_decoder = msgspec.json.Decoder(SampledQuestion)


def _statuses(line: bytes) -> Iterable[str]:
    return (f"rollouts: {rollout.status}" for rollout in _decoder.decode(line).rollouts)
