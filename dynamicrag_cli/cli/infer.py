"""`drag infer`."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.asking import Process, answer_one
from dynamicrag_cli.cli.choices import check_choice, check_malformed, check_selector, choice_rules
from dynamicrag_cli.cli.index import open_indexes
from dynamicrag_cli.cli.models import Closing, engine_settings, open_pair, open_ranker, prompts_for
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.engine import SamplingOptions
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.records import Prediction, RetrievedQuestion
from dynamicrag_cli.core.selectors import LLM_SELECTOR, MODEL_SELECTORS, parse_selector
from dynamicrag_cli.core.splits import split_of
from dynamicrag_cli.core.tasks import DEFAULT_TASK, TASKS
from dynamicrag_cli.stages import rollouts
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.windows import Limits, first_candidates


def infer(
    ctx: typer.Context,
    source: Annotated[
        str | None, typer.Argument(metavar="[IN]", help="Candidates, JSONL (or --question).", show_default=False)
    ] = None,
    output: opt.Output = "-",
    engine: opt.EngineName = "hf",
    model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The reranker (selector llm), and the reader if --reader is not given.")
    ] = None,
    selector: opt.SelectorName = LLM_SELECTOR,
    selector_model: Annotated[
        str | None, typer.Option(metavar="MODEL", help="The model of the selectors cross-encoder and rrpo.")
    ] = None,
    stop_bias: opt.StopBias = 0.0,
    reader: opt.Reader = None,
    question: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Answer this one question over --index instead of reading IN.")
    ] = None,
    index: Annotated[
        list[Path] | None, typer.Option("--index", metavar="DIR", help="With --question: index folder(s) to search.")
    ] = None,
    top_k: Annotated[int, typer.Option(min=1, help="With --question: candidates to retrieve.")] = 5,
    dataset: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("dataset", TASKS),
            metavar="NAME",
            help="With --question: task row that says what an answer looks like.",
        ),
    ] = DEFAULT_TASK,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="The prediction of --question, or start and end of the run, as JSON on stdout.",
            rich_help_panel=opt.RUNNING,
        ),
    ] = False,
    top_n: Annotated[int | None, typer.Option(min=1, help="Use only the first N candidates (default: all).")] = None,
    window: Annotated[
        int | None,
        typer.Option(min=2, help="llm: passages in one prompt; more are narrowed in rounds (default: all in one prompt)."),
    ] = None,
    window_tokens: Annotated[
        int | None, typer.Option(min=1, help="llm: tokens of passages in one prompt, instead of --window or with it.")
    ] = None,
    temperature: opt.Temperature = 0.0,
    top_p: opt.TopP = 1.0,
    max_selection_tokens: opt.MaxSelectionTokens = 100,
    constrained: opt.Constrained = None,
    min_k: opt.MinK = 0,
    max_k: opt.MaxK = None,
    invalid: opt.Invalid = "drop",
    max_context_tokens: opt.MaxContextTokens = None,
    split: opt.Split = None,
    dev_share: opt.DevShare = 0.1,
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
    encoder: opt.Encoder = None,
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
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Choose passages and answer: candidates in, selection, order and answer out.

    Example: drag infer candidates.jsonl -o predictions.jsonl --model dpo --reader sft --split dev

    Example: drag infer --question "Where does the Danube rise?" --index index-bm25 --model sft
    """
    chosen = parse_selector(selector)
    uses_model = chosen.name == LLM_SELECTOR
    check_selector(ctx.params, chosen)
    check_choice(ctx, output)
    settings = engine_settings(ctx)  # a wrong pair of --revision and --trust-remote-code is told before any work
    options, tally, closing = ctx.params, Tally(), Closing(ctx.call_on_close)
    limits = Limits(window, window_tokens) if window or window_tokens else None
    free = SamplingOptions(1, temperature, top_p, max_selection_tokens, seed)

    def prepare() -> Process:
        policy, answerer = open_pair(settings, closing, engine, model if uses_model else None, reader or model, cache, tally)
        drawing = replace(free, choice=choice_rules(options, policy))
        own, others = (prompts_for(templates, (e or answerer).control_tokens) for e in (policy, answerer))
        ranker = open_ranker(chosen, str(selector_model), device, stop_bias) if chosen.name in MODEL_SELECTORS else None

        def process(records: list[RetrievedQuestion], watcher: rollouts.Watcher | None = None) -> Sequence[Outcome]:
            first = [first_candidates(record, top_n) for record in records]
            return rollouts.infer(first, chosen, policy, answerer, own, others, drawing, ranker, limits, watcher)

        return process

    if question is not None and (source is not None or output != "-"):
        raise UsageError("--question answers one question on stdout; leave IN and -o away")
    if question is not None:
        indexes = partial(open_indexes, index, device, encoders=encoder or ()) if index else None
        answer_one(question, dataset, indexes, top_k, prepare, as_json=as_json)
        return
    if index or encoder:
        raise UsageError("--index and --encoder are for --question TEXT; candidates of a file are found by: drag retrieve")
    if source is None:
        raise UsageError("give IN, a file of candidates, or --question TEXT --index DIR")
    stage = Stage(
        RetrievedQuestion,
        {"": Prediction},
        prepare,
        keep=(lambda record: split_of(record, seed, dev_share) == split) if split else None,
        note=_status,
        templates_hash=prompts_hash(prompts_for(templates, frozenset())),
        tally=tally,
    )
    run_stage(ctx, source, output, stage)
    check_malformed(ctx, output)


_decoder = msgspec.json.Decoder(Prediction)


def _status(line: bytes) -> Iterable[str]:
    rollout = _decoder.decode(line).rollout
    return (f"selection: {rollout.status}", *["window: no choice, its first half went on"] * rollout.n_fallbacks)
