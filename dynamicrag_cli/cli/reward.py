"""`drag reward`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.models import engine_settings, open_engine, prompts_for
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.records import RewardedQuestion, SampledQuestion
from dynamicrag_cli.core.rewards import parse_weights
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.reward import ModelTerm
from dynamicrag_cli.stages.reward import reward as reward_stage

DEFAULT_WEIGHTS = "em=0.4 rouge=0.4 length=0.2"


def reward(
    ctx: typer.Context,
    source: opt.Source,
    output: opt.Output = "-",
    weights: Annotated[
        str,
        typer.Option(
            parser=opt.checked(parse_weights),
            metavar="TERMS",
            help="NAME=WEIGHT of em, rouge, bertscore, length, judge; only terms with a weight are computed. "
            "The paper: 0.2 each.",
        ),
    ] = DEFAULT_WEIGHTS,
    bertscore_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="bertscore: the encoder, a folder or hub id.")
    ] = None,
    judge: Annotated[str | None, typer.Option(metavar="MODEL", help="judge: the grading model.")] = None,
    engine: Annotated[
        str,
        typer.Option(
            "--engine", parser=opt.one_of("engine", registry.ENGINES), metavar="NAME", help="judge: the engine that runs it."
        ),
    ] = "hf",
    templates: opt.Templates = None,
    limit: opt.Limit = None,
    shard: opt.Shard = None,
    dtype: opt.Dtype = None,
    max_model_len: opt.MaxModelLen = None,
    base_url: opt.BaseUrl = None,
    device: opt.Device = None,
    batch_size: opt.BatchSize = 32,
    batch_tokens: opt.BatchTokens = 16384,
    chunk: opt.Chunk = 256,
    max_reject_rate: opt.MaxRejectRate = 0.01,
    cache: opt.Cache = None,
    fresh: opt.Fresh = False,
    reuse: opt.Reuse = None,
    as_json: opt.AsJson = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Reward rollouts: every term and the weighted total per rollout are added.

    A term that fails is null, never 0, and makes the total null.

    Example: drag reward sampled.jsonl -o rewarded.jsonl --weights "em=0.4 rouge=0.4 length=0.2"
    """
    parsed = parse_weights(weights)
    if parsed.get("bertscore") and not bertscore_model:
        raise UsageError("the term bertscore needs --bertscore-model, an encoder")
    if parsed.get("judge") and not judge:
        raise UsageError("the term judge needs --judge, the grading model")
    replies = Tally()

    def prepare() -> Callable[[list[Any]], Sequence[Outcome]]:
        terms: dict[str, ModelTerm] = {}
        if parsed.get("bertscore"):
            entry = registry.Entry("rewards.bertscore:BertScore", "local", "")
            terms["bertscore"] = registry.load("reward", "bertscore", {"bertscore": entry})(bertscore_model, device, batch_size)
        if parsed.get("judge"):
            from dynamicrag_cli.adapters.rewards.judge import Judge

            grader = open_engine(engine, str(judge), engine_settings(ctx), cache, replies)
            ctx.call_on_close(grader.close)
            terms["judge"] = Judge(grader, prompts_for(templates, grader.control_tokens))
        return lambda records: reward_stage(records, parsed, terms)

    shown = prompts_hash(prompts_for(templates, frozenset())) if parsed.get("judge") else None
    stage = Stage(SampledQuestion, {"": RewardedQuestion}, prepare, templates_hash=shown, replies=replies)
    run_stage(ctx, source, output, stage)
