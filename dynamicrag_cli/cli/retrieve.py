"""`drag retrieve`."""

from collections.abc import Callable, Sequence
from functools import cache as cache_result
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.templates import prompts_hash
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say
from dynamicrag_cli.cli.index import open_indexes
from dynamicrag_cli.cli.models import Closing, engine_settings, open_engine, prompts_for
from dynamicrag_cli.cli.runner import Stage, run_stage
from dynamicrag_cli.cli.workers import LOCAL, cluster
from dynamicrag_cli.core.engine import SamplingOptions
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.expansion import EXPANSIONS
from dynamicrag_cli.core.records import Question, RetrievedQuestion
from dynamicrag_cli.stages.expand import retrieve_expanded
from dynamicrag_cli.stages.outcome import Outcome
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
    expand: Annotated[
        str | None,
        typer.Option(
            parser=opt.one_of("expansion", EXPANSIONS),
            metavar="NAME",
            help="query2doc: search with a passage that --model writes for the question, greedily.",
        ),
    ] = None,
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="With --expand: the model that writes.")] = None,
    engine: opt.EngineName = "hf",
    max_expansion_tokens: Annotated[int, typer.Option(min=1, help="With --expand: token limit of a passage.")] = 128,
    templates: opt.Templates = None,
    dtype: opt.Dtype = None,
    max_model_len: opt.MaxModelLen = None,
    base_url: opt.BaseUrl = None,
    revision: opt.Revision = None,
    trust_remote_code: opt.TrustRemoteCode = False,
    limit: opt.Limit = None,
    shard: opt.Shard = None,
    device: opt.Device = None,
    encoder: opt.Encoder = None,
    batch_size: opt.BatchSize = 32,
    batch_tokens: opt.BatchTokens = 16384,
    concurrency: opt.Concurrency = 16,
    timeout_s: opt.TimeoutS = 120.0,
    gpus: opt.Gpus = 1,
    # Questions of like length are encoded together, and a flat index is read once for all of a chunk.
    chunk: opt.Chunk = 1024,
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
    """Retrieve candidates: questions in, candidates with scores out.

    Example: drag retrieve questions.jsonl -o candidates.jsonl --index index-bm25 --index index-dense --top-k 20

    Example: drag retrieve questions.jsonl -o candidates.jsonl --index index-bm25 --expand query2doc --model models/smollm2-135m
    """
    if bool(expand) != bool(model):
        raise UsageError("--expand query2doc needs --model, the model that writes the passages, and --model needs --expand")
    settings, tally, closing = engine_settings(ctx), Tally(), Closing(ctx.call_on_close)
    # Elsewhere each worker opens the indexes and takes a part of the questions; when shards are read, each takes a part of those.
    divided = scan and runner != LOCAL
    together = _together(ctx) if divided else None

    def prepare() -> Callable[[list[Any]], Sequence[Outcome]]:
        search = {"nprobe": nprobe, "efSearch": ef_search, "refine": refine, "scan": scan, "together": together}
        indexes = open_indexes(index, device, batch_size, encoder or (), **search)
        for folder, opened in zip(index, indexes, strict=True):
            if hasattr(opened, "summary"):
                say(f"{folder}: {opened.summary()}")
        if not model:
            return lambda records: retrieve_stage(records, indexes, top_k)
        writer = open_engine(engine, model, settings, closing, cache, tally)
        prompts = prompts_for(templates, writer.control_tokens)
        options = SamplingOptions(max_new_tokens=max_expansion_tokens)
        return lambda records: retrieve_expanded(records, indexes, top_k, writer, prompts, options)

    shown = prompts_hash(prompts_for(templates, frozenset())) if expand else None
    stage = Stage(Question, {"": RetrievedQuestion}, prepare, templates_hash=shown, tally=tally, here=divided)
    run_stage(ctx, source, output, stage)


def _together(ctx: typer.Context) -> Callable[..., Any]:
    """`RayWorkers.together` of a cluster that all indexes share, and that is left when the command ends."""
    there = cache_result(lambda: ctx.with_resource(cluster(ctx)))
    return lambda share: there().together(share)
