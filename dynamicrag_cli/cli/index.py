"""`drag index`."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.adapters.files.jsonl import Reader, lines
from dynamicrag_cli.adapters.files.manifest import identity, read_manifest, write_manifest
from dynamicrag_cli.adapters.files.seal import check_seal, seal
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import progress, say
from dynamicrag_cli.cli.freshness import check_folder_target, fingerprint, is_fresh
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Passage, Reject

# BM25's stemmers and lists of stop words.
_LANGUAGE = ("english", "none")


def index(
    ctx: typer.Context,
    corpus: Annotated[str, typer.Argument(metavar="CORPUS", help="Passages, JSONL.", show_default=False)],
    output: opt.OutputDir,
    retriever: Annotated[
        str,
        typer.Option(
            parser=opt.one_of("retriever", registry.RETRIEVERS), metavar="NAME", help=registry.describe(registry.RETRIEVERS) + "."
        ),
    ] = "bm25",
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
            "--embeddings", metavar="FILE", help="dense: take the vectors from DPR-style pickles (repeat it) instead of encoding."
        ),
    ] = None,
    device: opt.Device = None,
    batch_size: opt.BatchSize = 32,
    fresh: opt.Fresh = False,
    config: opt.Config = None,
    variant: opt.Variant = None,
) -> None:
    """Index a corpus: passages in, an index folder out.

    Example: drag index passages.jsonl -o index-bm25 --retriever bm25
    """
    if not Path(corpus).is_file():
        raise InputError(f"{corpus}: no such file")
    if embeddings and retriever != "dense":
        raise UsageError("--embeddings is for --retriever dense")
    for file in embeddings or ():
        if not file.is_file():
            raise InputError(f"{file}: no such file")
    check_folder_target(output, "index")
    wanted = fingerprint(ctx, corpus)
    wanted["options"]["embeddings"] = [identity(str(file)) for file in embeddings or ()]
    if not fresh and is_fresh(output, wanted):
        _check_files(output, read_manifest(output))
        say(f"index: {output} is up to date")
        return
    started = time.monotonic()
    kind = registry.load("retriever", retriever, registry.RETRIEVERS)
    from dynamicrag_cli.adapters.retrievers.store import PassageStore, write_store  # its library is there if the retriever's is

    building = output.with_name(output.name + ".partial")
    shutil.rmtree(building, ignore_errors=True)
    building.mkdir(parents=True)
    # What searching needs as well is kept in the manifest.
    kept: dict[str, Any] = {"retriever": retriever, "model": model, "stemmer": stemmer, "stopwords": stopwords}
    settings = {**kept, "device": device, "batch_size": batch_size, "embeddings": [str(file) for file in embeddings or ()]}
    with progress("index", sum(1 for _ in lines(corpus))) as bar:
        reader = Reader(corpus, Passage)
        n_passages = write_store(building, _passages(reader))
        if not n_passages:
            raise InputError(f"{corpus}: holds no passages")
        done = 0
        for count in kind.build(building, PassageStore(building), settings):
            bar.advance(count - done)
            done = count
    counts = {"in": n_passages}
    manifest = {"kind": "index", "fingerprint": wanted, "settings": kept, "counts": counts, "moved_to_meta": reader.strange}
    manifest["files"] = seal(building)
    write_manifest(building, manifest)
    shutil.rmtree(output, ignore_errors=True)
    building.rename(output)
    seconds = time.monotonic() - started
    say(f"index: {n_passages} passages, {retriever}, {seconds:.1f} s -> {output}")


def _passages(reader: Reader[Passage]) -> Iterator[Passage]:
    for item in reader:
        if isinstance(item, Reject):
            raise InputError(f"{reader.path}, line {item.line}: {item.reason}")
        if not (item.text.strip() or item.title.strip()):
            raise InputError(f"{reader.path}: the passage {item.id!r} is empty")
        yield item


def open_index(folder: Path, device: str | None = None, batch_size: int = 32) -> Any:
    """Open an index folder for searching.

    Raises:
        InputError: It is no finished index, or a file of it is not the one that was built.
    """
    manifest = read_manifest(folder) if folder.is_dir() else {}
    if manifest.get("kind") != "index":
        raise InputError(f"{folder}: not an index; build one with: drag index CORPUS -o {folder} --retriever bm25")
    _check_files(folder, manifest)
    settings = {**manifest["settings"], "device": device, "batch_size": batch_size}
    kind = registry.load("retriever", settings["retriever"], registry.RETRIEVERS)
    from dynamicrag_cli.adapters.retrievers.store import PassageStore

    return kind(folder, PassageStore(folder), settings)


def _check_files(folder: Path, manifest: dict[str, Any]) -> None:
    """Compare the files of an index with the seal in its manifest; an index that was built without one passes."""
    retriever = manifest["settings"]["retriever"]
    remedy = f"build the index again: drag index CORPUS -o {folder} --retriever {retriever} --fresh"
    check_seal(folder, manifest.get("files", {}), remedy)
