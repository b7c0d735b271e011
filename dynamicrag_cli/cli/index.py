"""`drag index`."""

import json
import shutil
import time
from collections.abc import Generator, Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.engines.cached import Tally
from dynamicrag_cli.adapters.files.corpora import FORMATS, Corpus
from dynamicrag_cli.adapters.files.manifest import identity, read_manifest, same, write_manifest
from dynamicrag_cli.adapters.files.seal import check_seal, seal
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import Bar, progress, say
from dynamicrag_cli.cli.filling import fill_store
from dynamicrag_cli.cli.freshness import check_folder_target, fingerprint, is_fresh
from dynamicrag_cli.cli.rejects import REJECTS, check_rejects, tell_rejects
from dynamicrag_cli.cli.workers import LOCAL
from dynamicrag_cli.cli.workers import workers as spread_over
from dynamicrag_cli.core.encoders import METRICS, POOLINGS
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.presets import PRESETS

# BM25's stemmers and lists of stop words.
_LANGUAGE = ("english", "none")
_BY_TABLE = "(default: what is known of the encoder, see docs/retrieval.md)"
# What an unfinished run has read of the corpus; the options behind it do not change the passages.
_READ = "read.json"
_DENSE = ("model", "preset", "factory", "query-prefix", "passage-prefix", "pooling", "metric", "nprobe", "ef-search", "refine")


def index(
    ctx: typer.Context,
    corpus: Annotated[
        str, typer.Argument(metavar="CORPUS", help="Passages, a file or a folder; see --format.", show_default=False)
    ],
    output: opt.OutputDir,
    retriever: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("retriever", registry.RETRIEVERS), metavar="NAME", help=registry.describe(registry.RETRIEVERS) + "."
        ),
    ] = "bm25",
    format: Annotated[
        str | None,
        typer.Option(
            parser=opt.one_of("format", FORMATS),
            metavar="FORMAT",
            help="; ".join(f"{name}: {row.summary}" for name, row in FORMATS.items()) + " (default: guessed).",
        ),
    ] = None,
    stemmer: Annotated[
        str,
        typer.Option(parser=opt.one_of("stemmer", _LANGUAGE), metavar="|".join(_LANGUAGE), help="bm25: words to their stems."),
    ] = "english",
    stopwords: Annotated[
        str, typer.Option(parser=opt.one_of("stop words", _LANGUAGE), metavar="|".join(_LANGUAGE), help="bm25: words left out.")
    ] = "english",
    model: Annotated[str | None, typer.Option(metavar="MODEL", help="dense: the encoder, a folder or hub id.")] = None,
    embeddings: Annotated[
        list[Path] | None,
        typer.Option(
            "--embeddings",
            metavar="FILE",
            help="dense: take the vectors from files instead of encoding (repeat it): DPR-style pickles, NAME.npy with an id a "
            "line in NAME.ids, or another index folder of this corpus.",
        ),
    ] = None,
    preset: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("preset", PRESETS),
            metavar="NAME",
            help="dense: kind of index: " + "; ".join(f"{name}: {kind.summary}" for name, kind in PRESETS.items()) + ".",
        ),
    ] = "flat",
    factory: Annotated[
        str | None, typer.Option(metavar="STRING", help="dense: FAISS factory string instead of a preset, as in IVF4096,SQ8.")
    ] = None,
    query_prefix: Annotated[str | None, typer.Option(help=f"dense: stands before every question {_BY_TABLE}.")] = None,
    passage_prefix: Annotated[str | None, typer.Option(help=f"dense: stands before every passage {_BY_TABLE}.")] = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            parser=opt.one_of("pooling", POOLINGS),
            metavar="|".join(POOLINGS),
            help=f"dense: of tokens to one vector {_BY_TABLE}.",
        ),
    ] = None,
    metric: Annotated[
        str | None,
        typer.Option(
            parser=opt.one_of("metric", METRICS),
            metavar="|".join(METRICS),
            help=f"dense: cosine, or the inner product of vectors as they are {_BY_TABLE}.",
        ),
    ] = None,
    nprobe: opt.Nprobe = None,
    ef_search: opt.EfSearch = None,
    refine: opt.Refine = None,
    device: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICE",
            help="dense: cpu, cuda …; chosen by itself if not given. cuda:0,cuda:1 encodes with a process on each (several GPUs "
            "are untested; cpu,cpu is).",
            rich_help_panel=opt.RUNNING,
        ),
    ] = None,
    batch_size: opt.BatchSize = 32,
    runner: opt.RunnerName = "local",
    workers: opt.Workers = 2,
    worker_gpus: opt.WorkerGpus = 0,
    ray_address: opt.RayAddress = None,
    max_reject_rate: opt.MaxRejectRate = 0.0,
    fresh: opt.Fresh = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Index a corpus: passages in, an index folder out.

    The first passage that cannot be used ends it; with --max-reject-rate such passages are left out, with the reasons in
    DIR/rejects.jsonl.

    Encoding that was interrupted goes on behind its last finished shard when the same command is given again.

    Example: drag index psgs_w100.tsv.gz -o index-bm25 --max-reject-rate 0.001

    Example: drag index passages.jsonl -o index-dense --retriever dense --model models/minilm-l6 --preset ivf
    """
    source = Corpus(corpus, format)
    if embeddings and retriever != "dense":
        raise UsageError("--embeddings is for --retriever dense")
    spread = partial(spread_over, ctx, tally=Tally()) if runner != LOCAL else None
    if spread and (retriever != "dense" or "," in (device or "")):
        raise UsageError("--runner ray is for --retriever dense, with one --device: --workers says how many processes encode")
    if retriever == "dense" and not model:
        raise UsageError("--retriever dense needs --model, an encoder's folder or hub id")
    for file in embeddings or ():
        if not file.exists():
            raise InputError(f"{file}: no such file")
    check_folder_target(output, "index")
    wanted = fingerprint(ctx, None)
    wanted["input"] = source.identity()
    wanted["options"]["format"] = source.name
    wanted["options"]["embeddings"] = [identity(str(file)) for file in embeddings or ()]
    if not fresh and is_fresh(output, wanted):
        _check_files(output, read_manifest(output))
        say(f"index: {output} is up to date")
        check_rejects(ctx, read_manifest(output)["counts"], output / REJECTS)
        return
    started = time.monotonic()
    kind = registry.load("retriever", retriever, registry.RETRIEVERS)
    from dynamicrag_cli.adapters.retrievers.store import PassageStore  # its library is there if the retriever's is

    building = output.with_name(output.name + ".partial")
    read = _unfinished(building, wanted, fresh=fresh)
    # What searching needs as well is kept in the manifest.
    kept: dict[str, Any] = {"retriever": retriever, "model": model, "stemmer": stemmer, "stopwords": stopwords}
    settings = {**kept, "device": device, "batch_size": batch_size, "embeddings": [str(file) for file in embeddings or ()]}
    settings |= {"preset": preset, "factory": factory, "nprobe": nprobe, "efSearch": ef_search, "refine": refine}
    settings |= {"query_prefix": query_prefix, "passage_prefix": passage_prefix, "pooling": pooling, "metric": metric}
    settings |= {"input": wanted["input"], "spread": spread}
    if read is None:
        say(f"index: reading {corpus} ({source.name})")
        read = {"counts": fill_store(building, source, max_reject_rate), "moved_to_meta": source.strange}
        (building / _READ).write_text(json.dumps({**read, "of": _reading(wanted)}), encoding="utf-8")
    counts = read["counts"]
    with progress("index", counts["out"]) as bar:
        kept |= _built(kind.build(building, PassageStore(building), settings), bar)
    (building / _READ).unlink()
    manifest = {"kind": "index", "fingerprint": wanted, "settings": kept, **read}
    manifest["files"] = seal(building)
    write_manifest(building, manifest)
    shutil.rmtree(output, ignore_errors=True)
    building.rename(output)
    seconds = time.monotonic() - started
    say(f"index: {counts['out']} passages, {retriever}, {seconds:.1f} s -> {output}")
    tell_rejects(counts["rejected"], output / REJECTS)
    check_rejects(ctx, counts, output / REJECTS)


def _built(building: Generator[int, None, dict[str, Any] | None], bar: Bar) -> dict[str, Any]:
    """Run a build, which yields the number of passages done; returns what it wants kept in the manifest."""
    while True:
        try:
            count = next(building)
        except StopIteration as end:
            return end.value or {}
        bar.advance(count - bar.done)


def _reading(wanted: dict[str, Any]) -> dict[str, Any]:
    """The part of a fingerprint that decides what is read of the corpus: all but what is behind it."""
    behind = {*_DENSE, "embeddings", "stemmer", "stopwords"}
    return {**wanted, "options": {name: value for name, value in wanted["options"].items() if name not in behind}}


def _unfinished(building: Path, wanted: dict[str, Any], *, fresh: bool) -> dict[str, Any] | None:
    """What an interrupted run has read of the same corpus and left in the folder, which is empty otherwise.

    Raises:
        InputError: It holds encoded passages of another corpus, which nobody has said to throw away.
    """
    path = building / _READ
    left: dict[str, Any] | None = json.loads(path.read_text(encoding="utf-8")) if path.is_file() and not fresh else None
    if left and same(left.pop("of"), _reading(wanted)):
        say(f"index: going on with what an interrupted run has left in {building}")
        return left
    if left and any(building.glob("vectors/*.npy")):
        raise InputError(f"{building} holds encoded passages of an unfinished run over another corpus; --fresh throws them away")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    return None


def open_indexes(
    folders: Iterable[Path], device: str | None = None, batch_size: int = 32, encoders: Sequence[str] = (), **search: object
) -> list[Any]:
    """Open indexes that are searched together.

    Raises:
        InputError: One is no finished index, a file of it is not the one that was built, or its encoder is not found.
        UsageError: A folder in `encoders` is the encoder of none of them.
    """
    indexes = [open_index(folder, device, batch_size, encoders=encoders, **search) for folder in folders]
    used = {getattr(index, "model", None) for index in indexes}
    for encoder in encoders:
        if encoder not in used:
            raise UsageError(
                f"--encoder {encoder}: no index here was built with it; an index keeps its encoder (drag index --model)"
            )
    return indexes


def open_index(folder: Path, device: str | None = None, batch_size: int = 32, **search: object) -> Any:
    """Open an index folder for searching.

    `search` are `nprobe`, `efSearch`, `refine` and `scan`, which None leaves as recorded, and `encoders`, folders where the
    encoder may lie.

    Raises:
        InputError: It is no finished index, a file of it is not the one that was built, or its encoder is not found.
    """
    manifest = read_manifest(folder) if folder.is_dir() else {}
    if manifest.get("kind") != "index":
        raise InputError(f"{folder}: not an index; build one with: drag index CORPUS -o {folder} --retriever bm25")
    _check_files(folder, manifest)
    settings = {**manifest["settings"], "device": device, "batch_size": batch_size, **search}
    kind = registry.load("retriever", settings["retriever"], registry.RETRIEVERS)
    from dynamicrag_cli.adapters.retrievers.store import PassageStore

    return kind(folder, PassageStore(folder), settings)


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare the files of an index with the seal in its manifest; an index that was built without one passes."""
    retriever = manifest["settings"]["retriever"]
    remedy = f"build the index again: drag index CORPUS -o {folder} --retriever {retriever} --fresh"
    check_seal(folder, manifest.get("files", {}), remedy)
