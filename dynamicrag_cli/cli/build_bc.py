"""`drag build-bc`."""

import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.adapters.trainers.registration import dataset_info
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.models import prompts_for, tokenizer_control_tokens
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.curriculum import parse_curriculum
from dynamicrag_cli.core.records import ChatExample, LabelledQuestion
from dynamicrag_cli.core.targets import MAX_PASSAGES, TARGETS
from dynamicrag_cli.stages import build_bc as bc


def build_bc(
    ctx: typer.Context,
    source: opt.Source,
    output: opt.OutputDir,
    target: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("target", TARGETS),
            metavar="NAME",
            help="evidence: shortest prefix of the teacher's order that holds the evidence; threshold: relevance above the cut.",
        ),
    ] = "evidence",
    threshold: Annotated[
        float | None, typer.Option(min=0, max=1, help="threshold: relevance cut (default: the teacher's).")
    ] = None,
    max_passages: Annotated[int, typer.Option(min=1, help="Cap on the passages of a target.")] = MAX_PASSAGES,
    copies: Annotated[int, typer.Option(min=1, help="Reranker examples per question, candidates rotated by one each.")] = 1,
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
    tokenizer: opt.Tokenizer = None,
    templates: opt.Templates = None,
    limit: opt.Limit = None,
    seed: opt.Seed = 0,
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

    Example: drag build-bc labelled.jsonl -o bc --target evidence --tokenizer models/smollm2-135m
    """
    prompts = prompts_for(templates, tokenizer_control_tokens(tokenizer))
    chosen = bc.CloningOptions(threshold, max_passages, copies, parse_curriculum(curriculum), dev_share, dpo_share, seed)
    stage = Stage(
        reads=LabelledQuestion,
        writes={bc.RERANKER_FILE: ChatExample, bc.GENERATOR_FILE: ChatExample, bc.POOL_FILE: LabelledQuestion},
        prepare=lambda: lambda records: bc.build_bc(records, TARGETS[target], prompts, chosen),
        extra=_registry,
        templates_hash=prompts_hash(prompts),
    )
    run_stage(ctx, source, str(Path(output)), stage)


def _registry(counts: Counter[str]) -> dict[str, str]:
    stems = [stem for stem in (bc.RERANKER_FILE, bc.GENERATOR_FILE) if counts[stem]]
    return {"dataset_info.json": json.dumps(dataset_info(stems, ranking=False), indent=2) + "\n"}
