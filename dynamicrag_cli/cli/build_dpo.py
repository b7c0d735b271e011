"""`drag build-dpo`."""

import json
from collections import Counter
from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer

from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.adapters.trainers.registration import dataset_info
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.cli.models import prompts_for, tokenizer_control_tokens
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.records import PreferencePair, RewardedQuestion
from dynamicrag_cli.core.rewards import parse_weights
from dynamicrag_cli.stages import build_dpo as dpo


def build_dpo(
    ctx: typer.Context,
    source: opt.Source,
    output: opt.OutputDir,
    min_margin: Annotated[
        float, typer.Option(min=0, help="Least difference of reward between the two sides of a reranker pair.")
    ] = 0.1,
    weights: Annotated[
        str | None,
        typer.Option(
            parser=opt.checked(parse_weights),
            metavar="TERMS",
            help="Weigh the stored reward terms anew (default: the stored totals).",
        ),
    ] = None,
    generator_share: Annotated[
        float | None,
        typer.Option(
            min=0,
            max=1,
            help="Share of the questions that give generator pairs alone, the others reranker pairs (default: both).",
        ),
    ] = None,
    seed: opt.Seed = 0,
    tokenizer: opt.Tokenizer = None,
    templates: opt.Templates = None,
    limit: opt.Limit = None,
    chunk: opt.Chunk = 256,
    max_reject_rate: opt.MaxRejectRate = 0.01,
    fresh: opt.Fresh = False,
    as_json: opt.AsJson = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Build preference pairs: rewarded rollouts in, a folder of pairs out.

    Writes reranker_dpo.jsonl (best against worst selection), generator_dpo.jsonl (a right against a wrong answer) and
    dataset_info.json; says why questions gave no pair.

    Example: drag build-dpo rewarded.jsonl -o dpo-data --min-margin 0.1
    """
    prompts = prompts_for(templates, tokenizer_control_tokens(tokenizer))
    chosen = dpo.PairOptions(min_margin, parse_weights(weights) if weights else None, generator_share, seed)
    stage = Stage(
        reads=RewardedQuestion,
        writes={dpo.RERANKER_FILE: PreferencePair, dpo.GENERATOR_FILE: PreferencePair},
        prepare=lambda: lambda records: dpo.build_dpo(records, prompts, chosen),
        extra=_registry,
        templates_hash=prompts_hash(prompts),
    )
    run_stage(ctx, source, str(output), stage)
    _say_lengths(output / f"{dpo.RERANKER_FILE}.jsonl")


def _registry(counts: Counter[str]) -> dict[str, str]:
    stems = [stem for stem in (dpo.RERANKER_FILE, dpo.GENERATOR_FILE) if counts[stem]]
    return {"dataset_info.json": json.dumps(dataset_info(stems, ranking=True), indent=2) + "\n"}


def _say_lengths(path: Path) -> None:
    """How many passages the two sides of the reranker's pairs name: what DPO will teach about k."""
    pairs = [pair for pair in Reader(str(path), PreferencePair) if isinstance(pair, PreferencePair)]
    if pairs:
        chosen, rejected = (fmean(getattr(pair, side).count("[") for pair in pairs) for side in ("chosen", "rejected"))
        say(f"  passages on average: chosen {chosen:.2f}, rejected {rejected:.2f}")
