"""`drag retrieve`."""

from pathlib import Path
from typing import Annotated

import typer

from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.cli.index import open_index
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.core.records import Question, RetrievedQuestion
from dynamicrag_cli.stages.retrieve import retrieve as retrieve_stage


def retrieve(
    ctx: typer.Context,
    source: opt.Source,
    index: Annotated[
        list[Path], typer.Option("--index", metavar="DIR", help="Index folder; several are fused by reciprocal rank.")
    ],
    output: opt.Output = "-",
    top_k: Annotated[int, typer.Option(min=1, help="Candidates per question.")] = 50,
    nprobe: opt.Nprobe = None,
    ef_search: opt.EfSearch = None,
    refine: opt.Refine = None,
    scan: Annotated[
        bool, typer.Option("--scan", help="dense: exact search by reading the stored vectors shard by shard, whatever the index.")
    ] = False,
    limit: opt.Limit = None,
    shard: opt.Shard = None,
    device: opt.Device = None,
    batch_size: opt.BatchSize = 32,
    chunk: opt.Chunk = 256,
    max_reject_rate: opt.MaxRejectRate = 0.01,
    fresh: opt.Fresh = False,
    reuse: opt.Reuse = None,
    as_json: opt.AsJson = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Retrieve candidates: questions in, candidates with scores out.

    Example: drag retrieve questions.jsonl -o candidates.jsonl --index index-bm25 --index index-dense --top-k 20
    """

    def prepare():  # type: ignore[no-untyped-def]
        search = {"nprobe": nprobe, "efSearch": ef_search, "refine": refine, "scan": scan}
        indexes = [open_index(folder, device, batch_size, **search) for folder in index]
        for folder, opened in zip(index, indexes, strict=True):
            if hasattr(opened, "summary"):
                say(f"{folder}: {opened.summary()}")
        return lambda records: retrieve_stage(records, indexes, top_k)

    run_stage(ctx, source, output, Stage(reads=Question, writes={"": RetrievedQuestion}, prepare=prepare))
