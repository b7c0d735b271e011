"""`drag infer`."""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import msgspec
import typer
from rich.panel import Panel
from rich.text import Text

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import err, json_text, one_line, printable, say, write_stdout
from dynamicrag_cli.cli.index import open_index
from dynamicrag_cli.cli.models import engine_settings, open_pair, open_ranker, prompts_for
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.engine import SamplingOptions
from dynamicrag_cli.core.errors import EngineError, UsageError
from dynamicrag_cli.core.identifiers import STATUSES, WELL_FORMED
from dynamicrag_cli.core.records import Prediction, Question, RetrievedQuestion
from dynamicrag_cli.core.selectors import LLM_SELECTOR, MODEL_SELECTORS, parse_selector
from dynamicrag_cli.core.splits import split_of
from dynamicrag_cli.core.tasks import DEFAULT_TASK, TASKS
from dynamicrag_cli.stages import retrieve, rollouts
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
    stop_bias: Annotated[float, typer.Option(help="rrpo: added to the STOP score; above 0 reads less, below 0 more.")] = 0.0,
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
    batch_tokens: opt.BatchTokens = 16384,
    gpus: opt.Gpus = 1,
    chunk: opt.Chunk = 256,
    max_reject_rate: opt.MaxRejectRate = 0.01,
    cache: opt.Cache = None,
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
    if uses_model and not model:
        raise UsageError("the selector 'llm' needs --model, the reranker")
    if chosen.name in MODEL_SELECTORS and not selector_model:
        raise UsageError(f"the selector {chosen.name!r} needs --selector-model, made by drag train reranker or drag train rrpo")
    if not (reader or model):
        raise UsageError("give --reader (or --model), the model that answers")
    engine_settings(ctx)  # a wrong pair of --revision and --trust-remote-code is told before any work
    replies = Tally()
    limits = Limits(window, window_tokens) if window or window_tokens else None
    drawing = SamplingOptions(1, temperature, top_p, max_selection_tokens, seed)

    def prepare() -> Callable[[list[Any]], Sequence[Outcome]]:
        policy, answerer = open_pair(ctx, engine, model if uses_model else None, reader or model, replies)
        own, others = (prompts_for(templates, (e or answerer).control_tokens) for e in (policy, answerer))
        ranker = open_ranker(chosen, str(selector_model), device, stop_bias) if chosen.name in MODEL_SELECTORS else None

        def process(records: list[RetrievedQuestion]) -> Sequence[Outcome]:
            first = [first_candidates(record, top_n) for record in records]
            return rollouts.infer(first, chosen, policy, answerer, own, others, drawing, ranker, limits)

        return process

    if question is not None and (source is not None or output != "-"):
        raise UsageError("--question answers one question on stdout; leave IN and -o away")
    if question is not None:
        _one_question(question, dataset, index or [], top_k, prepare, as_json=as_json)
        return
    if source is None:
        raise UsageError("give IN, a file of candidates, or --question TEXT --index DIR")
    stage = Stage(
        RetrievedQuestion,
        {"": Prediction},
        prepare,
        keep=(lambda record: split_of(record, seed, dev_share) == split) if split else None,
        note=_status,
        templates_hash=prompts_hash(prompts_for(templates, frozenset())),
        replies=replies,
    )
    run_stage(ctx, source, output, stage)


_decoder = msgspec.json.Decoder(Prediction)


def _status(line: bytes) -> Iterable[str]:
    rollout = _decoder.decode(line).rollout
    return (f"selection: {rollout.status}", *["window: no choice, its first half went on"] * rollout.n_fallbacks)


def _one_question(
    text: str,
    dataset: str,
    indexes: list[Path],
    top_k: int,
    prepare: Callable[[], Callable[[list[Any]], Sequence[Outcome]]],
    *,
    as_json: bool,
) -> None:
    """Retrieve, choose and answer for a person (or, with `as_json`, for a program)."""
    if not indexes:
        raise UsageError("--question needs --index DIR, made by: drag index CORPUS -o DIR")
    if not text.strip():
        raise UsageError("the question is empty")
    asked = Question(id="question", question=text, answers=[], dataset=dataset)
    (record,) = retrieve.retrieve([asked], [open_index(folder) for folder in indexes], top_k)
    with err.status("choosing and answering"):
        (outcome,) = prepare()([record])
    if not isinstance(outcome, Prediction):
        raise EngineError(str(outcome))
    if as_json:
        write_stdout(json_text(outcome))
        return
    by_id = {doc.id: (rank, doc) for rank, doc in enumerate(outcome.docs, start=1)}
    for number, name in enumerate(outcome.rollout.selection, start=1):
        rank, doc = by_id[name]
        title = Text(f" {number}. {one_line(doc.title or doc.id)} (retrieved as {rank} of {len(outcome.docs)}) ")
        err.print(Panel(Text(printable(doc.text)), title=title, title_align="left"))
    if outcome.rollout.status not in WELL_FORMED:
        say(f"malformed reply of the reranker ({STATUSES[outcome.rollout.status]}): {outcome.rollout.raw!r}")
    elif not outcome.rollout.selection:
        say("no passage chosen")
    if outcome.rollout.answer is None:
        raise EngineError("no answer: the reply names no passage; is --model trained to select (drag train sft)?")
    write_stdout(printable(outcome.rollout.answer))
