"""Tasks of `benchmarks.retrieval` that are asked for their memory: each is a process, and prints one JSON document."""

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.retrieval import NOISE


def status(name: str) -> int:
    """A line of /proc/self/status, bytes."""
    (line,) = (line for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines() if line.startswith(name + ":"))
    return int(line.split()[1]) * 1024


def peak() -> int:
    """Highest resident memory so far, bytes; mapped pages that were touched are in it.

    Not getrusage's, which for a new program begins at what the process that started it had.
    """
    return status("VmHWM")


def state() -> dict[str, int]:
    """Resident memory now, and the part of it that is no page of a file, bytes."""
    return {"rss": status("VmRSS"), "heap": status("RssAnon")}


def shards(cache: Path, size: str) -> dict[str, Any]:
    """Noisy copies of the real vectors as shards in `v{size}`, unless they are there."""
    from dynamicrag_cli.adapters.retrievers.vectors import ROWS, ShardWriter, Vectors

    folder, n = cache / f"v{size}", int(size)
    real = Vectors(cache / "dense")
    folder.mkdir(exist_ok=True)
    writer = ShardWriter(folder, {"n": n, "real": len(real), "noise": NOISE})
    while writer.done < n:
        first = writer.done
        rows = np.arange(first, min(first + ROWS, n))
        noise = np.random.default_rng(first).standard_normal((len(rows), real.dimension), dtype=np.float32)
        copies = real.take(rows % len(real)) + noise * (NOISE / np.sqrt(real.dimension))
        writer.add(copies / np.linalg.norm(copies, axis=1, keepdims=True))
    return {"dimension": real.dimension}


def build(cache: Path, size: str, kind: str) -> dict[str, Any]:
    """Build an index of a kind over `v{size}`, in processor seconds, and measure its recall with its own vectors."""
    from dynamicrag_cli.adapters.retrievers import ann
    from dynamicrag_cli.adapters.retrievers.vectors import Vectors
    from dynamicrag_cli.core.presets import PRESETS

    folder, preset = cache / f"v{size}", PRESETS[kind]
    vectors = Vectors(folder)
    if not preset.template:
        return {"build_s": 0.0, "bytes": 0, "peak": peak(), "recall": 1.0}
    (folder / ann.FILE).unlink(missing_ok=True)
    began = time.process_time()
    for _ in ann.build(folder, vectors, preset.factory(len(vectors), vectors.dimension)):
        pass
    took, most = time.process_time() - began, peak()
    (folder / ann.FILE).rename(folder / f"{kind}.faiss")
    index = opened(folder, kind)
    kept = ann.recall(vectors, index, preset.refine)
    return {"build_s": took, "peak": most, "bytes": (folder / f"{kind}.faiss").stat().st_size, "recall": kept["recall_at_10"]}


def opened(folder: Path, kind: str) -> Any:
    """An index of `build`."""
    from dynamicrag_cli.adapters.retrievers import ann

    (folder / ann.FILE).unlink(missing_ok=True)
    (folder / ann.FILE).hardlink_to(folder / f"{kind}.faiss")
    index = ann.open_faiss(folder)
    ann.set_search(index, ann.default_search(index))
    return index


def search(cache: Path, size: str, kind: str) -> dict[str, Any]:
    """Questions per processor second in batches of 256 with the best 50, and recall@10 of the questions against exact search."""
    from dynamicrag_cli.adapters.retrievers import ann
    from dynamicrag_cli.adapters.retrievers.vectors import Vectors
    from dynamicrag_cli.core.presets import PRESETS

    folder, refine = cache / f"v{size}", PRESETS[kind].refine
    vectors, questions = Vectors(folder), np.load(cache / "questions.npy").astype(np.float32)
    index = opened(folder, kind) if PRESETS[kind].template else None
    began, found = time.process_time(), []
    for start in range(0, len(questions), 256):
        asked = questions[start : start + 256]
        rows, _ = ann.exact(vectors, asked, 50) if index is None else ann.search(vectors, index, asked, 50, refine)
        found.append(rows[:, :10])
    took, most = time.process_time() - began, peak()
    kept = cache / f"v{size}/truth-{len(questions)}.npy"
    if not kept.exists():
        np.save(kept, ann.exact(vectors, questions, 10)[0])
    truth, rows = np.load(kept), np.concatenate(found)
    hits = sum(len({*one} & {*other}) for one, other in zip(truth.tolist(), rows.tolist(), strict=True))
    return {"rate": len(questions) / took, "peak": most, "recall": hits / truth.size}


def opened_bm25(cache: Path, name: str) -> dict[str, Any]:
    """The memory of this process once the BM25 index is open; both ways have imported the same libraries."""
    import bm25s

    from dynamicrag_cli.adapters.retrievers import bm25  # noqa: F401
    from dynamicrag_cli.cli.index import open_index

    kept = open_index(cache / "bm25") if name == "drag" else bm25s.BM25.load(str(cache / "bm25/bm25"), mmap=True, load_vocab=True)
    found = state()
    del kept
    return found


def fill_store(cache: Path, size: str) -> dict[str, Any]:
    """Write a store of synthetic passages of 100 words as `drag index` does."""
    from dynamicrag_cli.adapters.files.corpora import Corpus
    from dynamicrag_cli.adapters.retrievers.store import FILE
    from dynamicrag_cli.cli.filling import fill_store as fill

    corpus, folder = cache / f"words-{size}.jsonl", cache / f"store-{size}"
    if not corpus.exists():
        subprocess.run([sys.executable, "-m", "benchmarks.retrieval_tasks", "words", str(cache), size], check=True)
    folder.mkdir(exist_ok=True)
    began = time.perf_counter()
    fill(folder, Corpus(str(corpus), None), 0)
    return {"s": time.perf_counter() - began, "bytes": (folder / FILE).stat().st_size, **state()}


def words(cache: Path, size: str) -> dict[str, Any]:
    """Synthetic passages of 100 words, in a process of its own, so that nothing of it is measured."""
    generator = np.random.default_rng(0)
    known = ["".join(generator.choice([*"abcdefghijklmnopqrstuvwxyz"], length)) for length in generator.integers(2, 10, 20_000)]
    with (cache / f"words-{size}.jsonl").open("w", encoding="utf-8") as file:
        for row in range(int(size)):
            text = " ".join(known[word] for word in generator.integers(len(known), size=100))
            file.write(json.dumps({"id": f"passage-{row}", "title": f"Title {row}", "text": text}) + "\n")
    return {}


def open_store(cache: Path, size: str) -> dict[str, Any]:
    """Open that store in a new process and read random passages."""
    from dynamicrag_cli.adapters.retrievers.store import PassageStore

    states, began = [{"name": "libraries imported", "s": 0.0, **state()}], time.perf_counter()
    kept = PassageStore(cache / f"store-{size}")
    states.append({"name": "opened", "s": time.perf_counter() - began, **state()})
    began = time.perf_counter()
    kept.get(np.random.default_rng(0).integers(len(kept), size=1000).tolist())
    states.append({"name": "1,000 random passages read", "s": time.perf_counter() - began, **state()})
    return {"states": states}


def measured(cache: Path, *call: str) -> dict[str, Any]:
    """Highest resident memory of a program."""
    del cache
    subprocess.run(call, check=True, capture_output=True)
    return {"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}


TASKS = {task.__name__: task for task in (shards, build, search, opened_bm25, words, fill_store, open_store, measured)}

if __name__ == "__main__":
    print(json.dumps(TASKS[sys.argv[1]](Path(sys.argv[2]), *sys.argv[3:])))
