"""What retrieval costs: dense and BM25 against bare libraries, kinds of dense index by size, and one question to a large index.

    DRAG_DATA=data .venv/bin/python -m benchmarks.retrieval [--parts dense,bm25,store,presets,open] [--sizes 100000,1000000]

It reads `corpus/passages.jsonl.gz` and `questions/*.jsonl.gz` of DRAG_DATA and keeps indexes and vectors in `--cache`, so a
second run encodes nothing (45k passages take a quarter of an hour on two cores). Prints Markdown tables. Large corpora are
copies of the real vectors with noise added, so that recall means something; questions are real. Whatever is asked for its memory
runs in a process of its own.
"""

import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

TOP_K = 50
TURNS = 3
FULL = 21_000_000
# Length of the noise on a copy of a unit vector: copies lie about as far apart as passages of one article.
NOISE = 0.4
PARTS = ("dense", "bm25", "store", "presets", "open")
MIB = 2**20
KINDS = ("flat", "fp16", "sq8", "ivf", "ivfpq", "hnsw", "scan")


def drag(*arguments: object) -> None:
    """Run `drag` in this process."""
    from dynamicrag_cli.cli.main import app

    app([str(argument) for argument in arguments], standalone_mode=False)


def print_table(title: str, headings: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A Markdown table, each row as soon as it is there."""
    print(f"\n{title}\n\n| {' | '.join(headings)} |\n|{'---|' * len(headings)}", flush=True)
    for row in rows:
        print(f"| {' | '.join(str(cell) for cell in row)} |", flush=True)


def prepare(data: Path, cache: Path, model: str, passages: int, questions: int, parts: Collection[str]) -> None:
    """The corpus, the questions, and what the parts need of indexes and vectors, unless they are there."""
    cache.mkdir(parents=True, exist_ok=True)
    with gzip.open(data / "corpus/passages.jsonl.gz", "rt", encoding="utf-8") as file:
        lines = [line for line, _ in zip(file, range(passages or sys.maxsize), strict=False)]
    write_if_other(cache / "corpus.jsonl", "".join(lines))
    asked: dict[str, str] = {}
    for path in sorted((data / "questions").glob("*.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as file:
            asked.update((json.loads(line)["question"], line) for line in file)
    # Every so-many-th, so that all sets are asked.
    chosen = list(asked.values())[:: max(len(asked) // questions, 1)][:questions]
    records = [
        json.dumps({"id": f"q{i}", "question": json.loads(line)["question"], "answers": []}) for i, line in enumerate(chosen)
    ]
    write_if_other(cache / "questions.jsonl", "\n".join(records) + "\n")
    if "bm25" in parts:
        drag("index", cache / "corpus.jsonl", "-o", cache / "bm25")
    if not {"dense", "presets", "open"} & {*parts}:
        return
    drag("index", cache / "corpus.jsonl", "-o", cache / "dense", "--retriever", "dense", "--model", model)
    from dynamicrag_cli.cli.index import open_index

    index = open_index(cache / "dense", "cpu")
    np.save(cache / "questions.npy", index.encoder.encode(texts(cache), normalize_embeddings=True, show_progress_bar=False))


def write_if_other(path: Path, content: str) -> None:
    """Write a file unless it holds this."""
    if not path.exists() or path.read_text(encoding="utf-8") != content:
        path.write_text(content, encoding="utf-8")


def texts(cache: Path) -> list[str]:
    """The questions."""
    return [json.loads(line)["question"] for line in (cache / "questions.jsonl").read_text(encoding="utf-8").splitlines()]


def write_found(path: Path, cache: Path, store: Any, found: Iterator[tuple[Any, Any]]) -> None:
    """Write the JSONL that `drag retrieve` writes, from rows and scores of each question."""
    import msgspec

    encoder = msgspec.json.Encoder()
    with path.open("wb") as file:
        for number, (question, (rows, scores)) in enumerate(zip(texts(cache), found, strict=True)):
            passages = store.get([int(row) for row in rows if row >= 0])
            docs = [
                {"id": p.id, "title": p.title, "text": p.text, "score": float(s)} for p, s in zip(passages, scores, strict=False)
            ]
            record = {"id": f"q{number}", "question": question, "answers": [], "dataset": "qa", "docs": docs}
            file.write(encoder.encode(record) + b"\n")


def compare(title: str, cache: Path, ways: dict[str, Callable[[], None]], base: str) -> None:
    """Time several ways in turns, all with loading, and print the best of each against `base`; processor time: all threads."""
    spent: dict[str, list[tuple[float, float]]] = {name: [] for name in ways}
    for _ in range(TURNS):
        for name, call in ways.items():
            began, busy = time.perf_counter(), time.process_time()
            call()
            spent[name].append((time.perf_counter() - began, time.process_time() - busy))
    n, best = len(texts(cache)), {name: [min(times) for times in zip(*turns, strict=True)] for name, turns in spent.items()}
    rows = [
        (name, f"{wall:.1f}", f"{n / wall:.0f}", f"{best[base][0] / wall:.2f}", f"{busy:.1f}", f"{best[base][1] / busy:.2f}")
        for name, (wall, busy) in best.items()
    ]
    headings = ("", "s", "questions/s", f"against {base}", "processor s", f"against {base}")
    print_table(f"{title}, {n} questions, in turns, best of {TURNS}:", headings, rows)


def dense(cache: Path, model: str) -> None:
    """`drag retrieve` against a loop over questions, and against encoder and FAISS in bulk."""
    import faiss
    from sentence_transformers import SentenceTransformer

    from dynamicrag_cli.adapters.retrievers.store import PassageStore

    def opened() -> tuple[Any, Any, Any]:
        encoder = SentenceTransformer(model, device="cpu")
        return encoder, faiss.read_index(str(cache / "dense/dense.faiss")), PassageStore(cache / "dense")

    def found(encoder: Any, index: Any, questions: list[str]) -> Iterator[tuple[Any, Any]]:
        scores, rows = index.search(encoder.encode(questions, normalize_embeddings=True, show_progress_bar=False), TOP_K)
        return zip(rows, scores, strict=True)

    def naive() -> None:
        encoder, index, store = opened()
        write_found(cache / "naive.jsonl", cache, store, (next(found(encoder, index, [text])) for text in texts(cache)))

    def bulk() -> None:
        encoder, index, store = opened()
        write_found(cache / "bulk.jsonl", cache, store, found(encoder, index, texts(cache)))

    def ours() -> None:
        call = ("retrieve", cache / "questions.jsonl", "-o", cache / "ours.jsonl", "--index", cache / "dense", "--fresh")
        drag(*call, "--top-k", TOP_K, "--device", "cpu")

    compare("Dense", cache, {"one by one": naive, "bulk": bulk, "drag retrieve": ours}, "bulk")


def bm25(cache: Path) -> None:
    """`drag retrieve` against bm25s in bulk, and the memory of an opened index."""
    import bm25s
    import Stemmer

    from dynamicrag_cli.adapters.retrievers.store import PassageStore

    def bare() -> None:
        index = bm25s.BM25.load(str(cache / "bm25/bm25"), mmap=True, load_vocab=True)
        words = bm25s.tokenize(texts(cache), stopwords="en", stemmer=Stemmer.Stemmer("english"), show_progress=False)
        rows, scores = index.retrieve(words, k=TOP_K, show_progress=False)
        write_found(cache / "bare.jsonl", cache, PassageStore(cache / "bm25"), zip(rows, scores, strict=True))

    def ours() -> None:
        call = ("retrieve", cache / "questions.jsonl", "-o", cache / "ours.jsonl", "--index", cache / "bm25", "--fresh")
        drag(*call, "--top-k", TOP_K)

    compare("BM25", cache, {"bm25s": bare, "drag retrieve": ours}, "bm25s")
    rows = [(f"opened by {name}", *memory_of(in_process("opened_bm25", cache, name))) for name in ("bm25s", "drag")]
    call = (sys.executable, "-m", "dynamicrag_cli", "index", cache / "corpus.jsonl", "-o", cache / "bm25-again", "--fresh")
    rows.append(("peak of drag index", "", f"{in_process('measured', cache, *call)['peak'] / MIB:.0f}"))
    print_table("Memory of BM25:", ("", "heap MiB", "RSS MiB"), rows)
    size = sum(path.stat().st_size for path in (cache / "bm25/bm25").iterdir())
    print(f"\nFiles of the BM25 index without the passages: {size / MIB:.0f} MiB")


def memory_of(state: dict[str, Any]) -> tuple[str, str]:
    """Heap and resident memory of a task, MiB."""
    return f"{state['heap'] / MIB:.1f}", f"{state['rss'] / MIB:.1f}"


def store(cache: Path, size: int) -> None:
    """Writing and reading a store of many synthetic passages."""
    filled = in_process("fill_store", cache, size)
    rows = [("written", f"{filled['s']:.0f}", *memory_of(filled))]
    rows += [(state["name"], f"{state['s']:.2f}", *memory_of(state)) for state in in_process("open_store", cache, size)["states"]]
    print_table(f"A store of {size} passages, {filled['bytes'] / MIB:.0f} MiB:", ("", "s", "heap MiB", "RSS MiB"), rows)


def sized(cache: Path, size: int, kind: str, results: list[dict[str, Any]]) -> Sequence[str]:
    """Build and search an index of a kind and size; returns its row, and adds what was measured to the results."""
    built = in_process("build", cache, size, kind)
    asked = in_process("search", cache, size, kind)
    results.append({**built, **asked, "n": size})
    peaks = [f"{one['peak'] / 1e6:.0f}" for one in (built, asked)]
    recalls = [f"{one['recall']:.3f}" for one in (built, asked)]
    return (kind, f"{built['bytes'] / 1e6:.0f}", f"{built['build_s']:.1f}", *peaks, f"{asked['rate']:.0f}", *recalls)


def presets(cache: Path, sizes: Sequence[int]) -> None:
    """Each kind of index by size: peak memory, recall, questions per second, and what that comes to at 21 million."""
    from dynamicrag_cli.core.presets import PRESETS

    results: dict[str, list[dict[str, Any]]] = {kind: [] for kind in KINDS}
    width = 0
    for size in sizes:
        width = in_process("shards", cache, size)["dimension"]
        headings = ("", "index MB", "build s", "peak MB built", "peak MB searched", "questions/s", "recall@10", "of questions")
        title = f"{size} vectors of {width} dimensions, seconds of the processor:"
        print_table(title, headings, (sized(cache, size, kind, results[kind]) for kind in KINDS))
    rows = []
    for kind, found in results.items():
        preset, last = PRESETS[kind], found[-1]
        growth = preset.build_work(FULL, width) / preset.build_work(last["n"], width)
        slower = preset.search_work(FULL, width) / preset.search_work(last["n"], width)
        rows.append(
            (
                kind,
                f"{preset.size(FULL, width) / 1e9:.1f}",
                f"{last['build_s'] * growth / 3600:.1f}",
                f"{last['rate'] / slower:.2g}",
                " → ".join(f"{one['build_s']:.0f}" for one in found),
                " → ".join(f"{one['rate']:.0f}" for one in found),
                " → ".join(f"{one['recall']:.3f}" for one in found),
            )
        )
    grown = ", ".join(str(size) for size in sizes)
    headings = (
        "",
        "index GB",
        "build h",
        "questions/s",
        f"build s ({grown})",
        f"questions/s ({grown})",
        f"recall of questions ({grown})",
    )
    print_table(f"Extrapolated to 21 million vectors of {width} dimensions, from the largest size by the work:", headings, rows)


def one_question(cache: Path, size: int, model: str) -> None:
    """Opening an index of many passages and answering one question, with the files out of the page cache and in it."""
    corpus = cache / f"corpus-{size}.jsonl"
    in_process("shards", cache, size)
    if not corpus.exists():
        lines = (cache / "corpus.jsonl").read_text(encoding="utf-8").splitlines()
        with corpus.open("w", encoding="utf-8") as file, (cache / f"v{size}.ids").open("w", encoding="utf-8") as ids:
            for row in range(size):
                record = json.loads(lines[row % len(lines)])
                name = f"{record.get('id', record.get('_id'))}-{row}"
                file.write(json.dumps({"id": name, "title": record.get("title", ""), "text": record["text"]}) + "\n")
                ids.write(name + "\n")
        from dynamicrag_cli.adapters.retrievers.vectors import Vectors

        vectors = Vectors(cache / f"v{size}")
        np.save(cache / f"v{size}.npy", np.concatenate(vectors.parts))
    (cache / "one.jsonl").write_text((cache / "questions.jsonl").read_text(encoding="utf-8").splitlines()[0] + "\n")
    rows = []
    for kind in ("bm25", "flat", "ivf", "hnsw"):
        folder = cache / f"open-{size}-{kind}"
        how = ("--retriever", "dense", "--model", model, "--preset", kind, "--embeddings", cache / f"v{size}.npy")
        drag("index", corpus, "-o", folder, *(how if kind != "bm25" else ()))
        for state in ("cold", "warm"):
            if state == "cold":
                forget(folder)
            call = [sys.executable, "-m", "dynamicrag_cli", "retrieve", str(cache / "one.jsonl"), "--index", str(folder)]
            began = time.perf_counter()
            done = in_process("measured", cache, *call)
            rows.append((kind, state, f"{time.perf_counter() - began:.1f}", f"{done['peak'] / 1e6:.0f}"))
    print_table(f"One question to an index of {size} passages, process start included:", ("", "", "s", "peak RSS MB"), rows)


def forget(folder: Path) -> None:
    """Drop the files of a folder from the page cache."""
    os.sync()
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def in_process(task: str, *arguments: object) -> dict[str, Any]:
    """Run a task in a process of its own; returns what it prints."""
    call = [sys.executable, "-m", "benchmarks.retrieval_tasks", task, *map(str, arguments)]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{task} {arguments}: {done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def main(
    data: Annotated[Path, typer.Option(envvar="DRAG_DATA", help="Folder with corpus/ and questions/.")],
    model: Annotated[str, typer.Option(help="The encoder.")] = "models/minilm-l6",
    cache: Annotated[Path, typer.Option(help="Where indexes and vectors stay.")] = Path("runs/bench-retrieval"),
    passages: Annotated[int, typer.Option(help="Passages of the corpus that are used; 0: all.")] = 0,
    questions: Annotated[int, typer.Option(help="Questions.")] = 1000,
    sizes: Annotated[str, typer.Option(help="Vectors of the kinds of index.")] = "100000,300000,1000000",
    parts: Annotated[str, typer.Option(help="What to measure.")] = ",".join(PARTS),
) -> None:
    """Print the tables."""
    counts, chosen = [int(size) for size in sizes.split(",")], parts.split(",")
    if unknown := {*chosen} - {*PARTS}:
        raise typer.BadParameter(f"{', '.join(unknown)}: the parts are {', '.join(PARTS)}")
    prepare(data, cache, model, passages, questions, chosen)
    calls: dict[str, Callable[[], None]] = {
        "dense": lambda: dense(cache, model),
        "bm25": lambda: bm25(cache),
        "store": lambda: store(cache, counts[-1]),
        "presets": lambda: presets(cache, counts),
        "open": lambda: one_question(cache, counts[-1], model),
    }
    for part in chosen:
        calls[part]()


if __name__ == "__main__":
    typer.run(main)
