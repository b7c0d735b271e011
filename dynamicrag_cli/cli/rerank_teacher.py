"""`drag rerank-teacher`."""

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Annotated, Any

import msgspec
import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.adapters.teachers.settings import TeacherSettings
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.models import Closing, engine_settings, open_engine, prompts_for
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.labels import LABELLERS, THRESHOLD
from dynamicrag_cli.core.records import LabelledQuestion, Reject, RetrievedQuestion
from dynamicrag_cli.core.splits import split_of
from dynamicrag_cli.stages.listwise import ListwiseOptions, label_listwise
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.rerank_teacher import label_by_rule, label_with_teacher, pairs_of

_CALIBRATION_QUESTIONS = 2000
_LISTWISE = "listwise"
_NAMES = [*registry.TEACHERS, _LISTWISE, *LABELLERS]
_HELP = (
    f"{registry.describe(registry.TEACHERS)}; listwise: places in the order that a language model writes; "
    "answer-match: 1 where a passage holds an answer; gold: 1 for the gold passages."
)


def rerank_teacher(
    ctx: typer.Context,
    source: opt.Source,
    teacher: Annotated[str, typer.Option(parser=opt.one_of("teacher", _NAMES), metavar="NAME", help=_HELP)],
    output: opt.Output = "-",
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="The teacher's model, a folder or hub id.")] = None,
    threshold: Annotated[
        float | None,
        typer.Option(
            min=0, max=1, help="Relevance cut to recommend (default: monot5 0.8, none where scores only order, else 0.5)."
        ),
    ] = None,
    window: Annotated[int, typer.Option(min=2, help="listwise: passages in one prompt.")] = 20,
    stride: Annotated[int, typer.Option(min=1, help="listwise: places by which the window moves up.")] = 10,
    engine: opt.EngineName = "hf",
    dtype: opt.Dtype = None,
    max_model_len: opt.MaxModelLen = None,
    base_url: opt.BaseUrl = None,
    revision: opt.Revision = None,
    trust_remote_code: opt.TrustRemoteCode = False,
    templates: opt.Templates = None,
    limit: opt.Limit = None,
    shard: opt.Shard = None,
    seed: opt.Seed = 0,
    dev_share: opt.DevShare = 0.1,
    device: opt.Device = None,
    calibrate: Annotated[
        bool,
        typer.Option(help="bi-encoder: fit on the train questions with gold ids; without, (1 + cosine) / 2, which only ranks."),
    ] = True,
    batch_size: opt.BatchSize = 32,
    batch_tokens: opt.BatchTokens = 16384,
    concurrency: opt.Concurrency = 16,
    timeout_s: opt.TimeoutS = 120.0,
    gpus: opt.Gpus = 1,
    chunk: opt.Chunk = 64,
    max_reject_rate: opt.MaxRejectRate = 0.01,
    cache: opt.Cache = None,
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
    """Score candidates with a teacher: relevance in [0, 1] per passage is added.

    Example: drag rerank-teacher candidates.jsonl -o labelled.jsonl --teacher bi-encoder --model models/minilm-l6
    """
    if teacher not in LABELLERS and not model:
        raise UsageError(f"the teacher {teacher!r} needs --model")
    if stride > window:
        raise UsageError(f"--stride {stride} is larger than --window {window}, so some passages would never be ranked")
    settings, tally, closing = engine_settings(ctx), Tally(), Closing(ctx.call_on_close)

    def prepare() -> Callable[[list[Any]], Sequence[Outcome]]:
        if teacher in LABELLERS:
            cut = THRESHOLD if threshold is None else threshold
            return lambda records: label_by_rule(records, LABELLERS[teacher], teacher, cut)
        if teacher == _LISTWISE:
            ranker = open_engine(engine, str(model), settings, closing, cache, tally)
            options = ListwiseOptions(window, stride, threshold)
            prompts = prompts_for(templates, ranker.control_tokens)
            return lambda records: label_listwise(records, ranker, prompts, options, model)
        kind = registry.load("teacher", teacher, registry.TEACHERS)
        if teacher == "llm":
            loaded = open_engine(engine, str(model), settings, closing)
            scorer = kind(loaded, prompts_for(templates, loaded.control_tokens))
        else:
            scorer = kind(model, TeacherSettings(device=device, batch_size=batch_size))
        if teacher == "bi-encoder" and calibrate:
            tally.facts["calibration"] = scorer.calibrate(*_calibration_set(source, seed, dev_share))
        cut = scorer.threshold if threshold is None else threshold
        return lambda records: label_with_teacher(records, scorer, teacher, model, cut)

    shown = prompts_hash(prompts_for(templates, frozenset())) if teacher in ("llm", _LISTWISE) else None
    note = _calls if teacher == _LISTWISE else None
    stage = Stage(RetrievedQuestion, {"": LabelledQuestion}, prepare, note=note, templates_hash=shown, tally=tally)
    run_stage(ctx, source, output, stage)


_decoder = msgspec.json.Decoder(LabelledQuestion)


def _calls(line: bytes) -> Iterable[str]:
    relevance = _decoder.decode(line).relevance
    yield from ["calls of the model"] * relevance.n_calls
    yield from ["malformed replies, repaired"] * relevance.n_malformed


def _calibration_set(source: str, seed: int, dev_share: float) -> tuple[list[tuple[str, str, str]], list[bool]]:
    """(question, title, text) and whether it is gold, for the candidates of train questions with gold ids."""
    if source == STREAM:
        raise UsageError("the bi-encoder teacher reads its input twice; give it a file instead of stdin")
    records = (
        item
        for item in Reader(source, RetrievedQuestion)
        if not isinstance(item, Reject) and item.gold_passage_ids and split_of(item, seed, dev_share) == "train"
    )
    pairs: list[tuple[str, str, str]] = []
    labels: list[bool] = []
    for record in islice(records, _CALIBRATION_QUESTIONS):
        gold = set(record.gold_passage_ids or ())
        pairs += pairs_of(record)
        labels += [doc.id in gold for doc in record.docs]
    return pairs, labels
