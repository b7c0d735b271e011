"""`drag reward`."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.cli.models import Closing, engine_settings, open_engine, prompts_for
from dynamicrag_cli.cli.runner import Stage, chosen, run_stage
from dynamicrag_cli.core.engine import Engine
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.prompts import PromptSet
from dynamicrag_cli.core.records import Reject, RewardedQuestion, SampledQuestion
from dynamicrag_cli.core.rewards import MAX_JUDGEMENT_TOKENS, TERMS, parse_weights
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.reward import ModelTerm
from dynamicrag_cli.stages.reward import reward as reward_stage

_LETTERS_PER_TOKEN = 4
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
            help=f"NAME=WEIGHT of {', '.join(TERMS)}. bertscore and judge are computed only with a weight, the others always."
            " The paper: 0.2 each of em, rouge, bertscore, length, judge.",
        ),
    ] = DEFAULT_WEIGHTS,
    bertscore_model: opt.BertscoreModel = None,
    judge: opt.Judge = None,
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
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what the judge would be asked.", rich_help_panel=opt.RUNNING)
    ] = False,
    batch_size: opt.BatchSize = 32,
    batch_tokens: opt.BatchTokens = 16384,
    concurrency: opt.Concurrency = 16,
    timeout_s: opt.TimeoutS = 120.0,
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
    check_models(parsed, ctx.params)

    def estimate() -> None:
        if parsed.get("judge") and source != STREAM:
            _estimate(source, limit, shard, prompts_for(templates, frozenset()))

    if dry_run:
        estimate()
        return
    tally = Tally()

    def prepare() -> Callable[[list[Any]], Sequence[Outcome]]:
        estimate()
        grader = None
        if parsed.get("judge"):
            grader = open_engine(engine, str(judge), engine_settings(ctx), Closing(ctx.call_on_close), cache, tally)
        terms = model_terms(parsed, ctx.params, grader, batch_size)
        return lambda records: reward_stage(records, parsed, terms)

    shown = prompts_hash(prompts_for(templates, frozenset())) if parsed.get("judge") else None
    stage = Stage(SampledQuestion, {"": RewardedQuestion}, prepare, templates_hash=shown, tally=tally)
    run_stage(ctx, source, output, stage)


def check_models(weights: dict[str, float], params: dict[str, Any]) -> None:
    """Raise a `UsageError` if a term with a weight lacks its model."""
    if weights.get("bertscore") and not params["bertscore_model"]:
        raise UsageError("the term bertscore needs --bertscore-model, an encoder")
    if weights.get("judge") and not params["judge"]:
        raise UsageError("the term judge needs --judge, the grading model")


def model_terms(
    weights: dict[str, float], params: dict[str, Any], grader: Engine | None, batch_size: int
) -> dict[str, ModelTerm]:
    """The terms with a weight that need a model; `grader` is the judge's engine, `batch_size` of the bertscore encoder."""
    terms: dict[str, ModelTerm] = {}
    if weights.get("bertscore"):
        entry = registry.Entry("rewards.bertscore:BertScore", "local", "")
        loaded = registry.load("reward", "bertscore", {"bertscore": entry})
        terms["bertscore"] = loaded(params["bertscore_model"], params["device"], batch_size)
    if grader:
        from dynamicrag_cli.adapters.rewards.judge import Judge

        terms["judge"] = Judge(grader, prompts_for(params["templates"], grader.control_tokens))
    return terms


def _estimate(source: str, limit: int | None, shard: str | None, prompts: PromptSet) -> None:
    """Say what the judge will be asked before it costs anything; a guess, since the tokens are its own."""
    records = (item for _, item in chosen(Reader(source, SampledQuestion).numbered(), None, limit, shard))
    calls = letters = 0
    for record in records:
        if isinstance(record, Reject):
            continue
        for answer in {rollout.answer for rollout in record.rollouts if rollout.answer is not None and references(record)}:
            chat = prompts.judge(record.question, references(record), answer)
            calls, letters = calls + 1, letters + len(chat.system) + len(chat.user)
    tokens = f"about {letters // _LETTERS_PER_TOKEN} tokens of prompts and at most {calls * MAX_JUDGEMENT_TOKENS} of replies"
    say(f"judge: {calls} answers to grade, {tokens}; what --cache holds is not asked again")
