"""`drag build-bc`."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.jsonl import STREAM, Reader
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.adapters.trainers.registration import dataset_info
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.models import Closing, engine_settings, open_engine, prompts_for, tokenizer_control_tokens
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.balance import left_out
from dynamicrag_cli.core.curriculum import parse_curriculum
from dynamicrag_cli.core.duplicates import THRESHOLD
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import ChatExample, LabelledQuestion, Question, Reject
from dynamicrag_cli.core.splits import split_of
from dynamicrag_cli.core.targets import MAX_PASSAGES, TARGETS
from dynamicrag_cli.stages import build_bc as bc
from dynamicrag_cli.stages.outcome import Outcome
from dynamicrag_cli.stages.reader_target import Found, reader_targets

_READER = "reader"


def build_bc(
    ctx: typer.Context,
    source: opt.Source,
    output: opt.OutputDir,
    target: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("target", [*TARGETS, _READER]),
            metavar="NAME",
            help="evidence: shortest prefix of the teacher's order that holds the evidence; gold: the gold passages alone; "
            "threshold: relevance above the cut; reader: shortest prefix from which --reader answers right.",
        ),
    ] = "evidence",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="threshold: relevance cut (default: the teacher's, else the paper's 0.8).")
    ] = None,
    max_passages: Annotated[int, typer.Option(min=1, help="Cap on the passages of a target.")] = MAX_PASSAGES,
    copies: Annotated[int, typer.Option(min=1, help="Reranker examples per question, candidates rotated by one each.")] = 1,
    noise: Annotated[
        int,
        typer.Option(min=0, help="Irrelevant candidates mixed into each prompt of the generator."),
    ] = 0,
    max_none_share: Annotated[
        float, typer.Option(min=0, max=1, help="Leave questions out until at most this share of the targets is None.")
    ] = 1.0,
    max_length_share: Annotated[
        float, typer.Option(min=0, max=1, help="Leave questions out until no target length has more than this share.")
    ] = 1.0,
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="QUESTIONS", help="Leave out near-duplicates of these questions, an evaluation file; repeatable."),
    ] = None,
    near_duplicates: Annotated[
        float,
        typer.Option(min=0.3, max=1, help="Similarity from which questions are near-duplicates and stay in one split."),
    ] = THRESHOLD,
    curriculum: Annotated[
        str,
        typer.Option(
            parser=opt.checked(parse_curriculum),
            metavar="SIZE:SHARE…",
            help="Show shares of the questions with few candidates, first (train sft --in-groups): '2:0.2 3:0.1'.",
        ),
    ] = "",
    dpo_share: Annotated[float, typer.Option(min=0, max=1, help="Share of the train questions that is kept for DPO.")] = 0.33,
    dev_share: opt.DevShare = 0.1,
    reader: Annotated[str | None, typer.Option(metavar="MODEL", help="Target reader: the model that answers.")] = None,
    engine: opt.EngineName = "hf",
    dtype: opt.Dtype = None,
    max_model_len: opt.MaxModelLen = None,
    base_url: opt.BaseUrl = None,
    revision: opt.Revision = None,
    trust_remote_code: opt.TrustRemoteCode = False,
    tokenizer: opt.Tokenizer = None,
    templates: opt.Templates = None,
    limit: opt.Limit = None,
    seed: opt.Seed = 0,
    device: opt.Device = None,
    batch_tokens: opt.BatchTokens = 16384,
    concurrency: opt.Concurrency = 16,
    timeout_s: opt.TimeoutS = 120.0,
    gpus: opt.Gpus = 1,
    cache: opt.Cache = None,
    chunk: opt.Chunk = 256,
    max_reject_rate: opt.MaxRejectRate = 0.01,
    fresh: opt.Fresh = False,
    as_json: opt.AsJson = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Build behaviour-cloning data: labelled questions in, a folder of training files out.

    Writes reranker_bc.jsonl, generator_sft.jsonl, dpo_pool.jsonl (questions for `drag sample`, not training data) and
    dataset_info.json (LLaMA-Factory's registry).

    Train questions that are near-duplicates of a held-out one, of the input or of --against, are left out and counted.

    Example: drag build-bc labelled.jsonl -o bc --target evidence --tokenizer models/smollm2-135m
    """
    if (target == _READER) != bool(reader):
        raise UsageError("--target reader needs --reader, the model that answers, and no other target has one")
    if source == STREAM:
        raise UsageError("build-bc looks for near-duplicates before it starts; give it a file instead of stdin")
    settings, closing = engine_settings(ctx), Closing(ctx.call_on_close)
    prompts = prompts_for(templates, tokenizer_control_tokens(tokenizer))
    lessons, closed_book = parse_curriculum(curriculum), target == _READER
    chosen = bc.CloningOptions(threshold, max_passages, copies, lessons, dev_share, dpo_share, seed, noise, closed_book)
    tally = Tally()

    def prepare() -> Callable[[list[Any]], Sequence[Outcome]]:
        asked = [(r.id, r.question, split_of(r, seed, dev_share)) for r in _records(source, limit)]
        plan = bc.plan_of(asked, [text for path in against or [] for text in _texts(path)], near_duplicates)
        if target == _READER:
            answerer = open_engine(engine, str(reader), settings, closing, cache, tally)
            asking = prompts_for(templates, answerer.control_tokens)
            targets = _Targets(chosen, plan, lambda records: reader_targets(records, answerer, asking, max_passages))
        else:
            targets = _Targets(chosen, plan, lambda records: [TARGETS[target](r, threshold, max_passages) for r in records])
        if min(max_none_share, max_length_share) < 1:
            records = _records(source, limit)
            while some := list(islice(records, chunk)):
                targets.learn(some)
            gone = left_out(targets.lengths(), max_none_share, max_length_share, seed)
            plan = replace(plan, left_out={**plan.left_out, **dict.fromkeys(gone, "left out to balance the lengths")})

        def made(records: list[LabelledQuestion]) -> Sequence[Outcome]:
            targets.learn(records)
            return bc.build_bc(records, targets, prompts, chosen, plan)

        return made

    stage = Stage(
        reads=LabelledQuestion,
        writes={bc.RERANKER_FILE: ChatExample, bc.GENERATOR_FILE: ChatExample, bc.POOL_FILE: LabelledQuestion},
        prepare=prepare,
        extra=_registry,
        templates_hash=prompts_hash(prompts),
        tally=tally,
    )
    run_stage(ctx, source, str(Path(output)), stage)


class _Targets:
    """Targets of the questions of the SFT part, each found once."""

    def __init__(
        self, options: bc.CloningOptions, plan: bc.Plan, find: Callable[[Sequence[LabelledQuestion]], Iterable[Found]]
    ) -> None:
        self.options, self.plan, self.find = options, plan, find
        self.known: dict[str, Found] = {}

    def learn(self, records: Sequence[LabelledQuestion]) -> None:
        new = [r for r in records if r.id not in self.known and bc.wants_target(r, self.options, self.plan)]
        self.known.update(zip((r.id for r in new), self.find(new), strict=True))

    def lengths(self) -> dict[str, int]:
        return {name: len(found) for name, found in self.known.items() if isinstance(found, tuple)}

    def __call__(self, record: LabelledQuestion, _threshold: float | None, _max_passages: int) -> tuple[int, ...] | None:
        found = self.known[record.id]
        if isinstance(found, ValueError):
            raise found
        return found


def _records(source: str, limit: int | None) -> Iterator[LabelledQuestion]:
    return (item for item in islice(Reader(source, LabelledQuestion), limit) if not isinstance(item, Reject))


def _texts(path: str) -> Iterator[str]:
    for item in Reader(path, Question):
        if isinstance(item, Reject):
            raise InputError(f"{path}, line {item.line}: {item.reason}")
        yield item.question


def _registry(counts: Counter[str]) -> dict[str, str]:
    stems = [stem for stem in (bc.RERANKER_FILE, bc.GENERATOR_FILE) if counts[stem]]
    return {"dataset_info.json": json.dumps(dataset_info(stems, ranking=False), indent=2) + "\n"}
