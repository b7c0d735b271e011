"""Retrieval on real data, by our own commands, against figures that others have got: `make test-slow` with DRAG_DATA."""

import gzip
import json
import os
from pathlib import Path

import pytest

from dynamicrag_cli.core.labels import has_answer
from dynamicrag_cli.core.records import Candidate
from tests.conftest import run_drag

pytestmark = pytest.mark.real_data
# Read now: the fixture `drag` takes it out of the environment.
DATA = Path(os.environ.get("DRAG_DATA", "."))


def means(document: Path) -> dict[str, dict[str, float]]:
    """Mean scores by system."""
    systems = json.loads(document.read_text())["systems"]
    return {system["system"]: {name: score["mean"] for name, score in system["scores"].items()} for system in systems}


def test_the_bm25_order_of_trec_dl_2019_has_the_published_ndcg(drag, tmp_path: Path) -> None:
    pytest.importorskip("ir_measures")
    with gzip.open(DATA / "rerank/dl19_qrels.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    (tmp_path / "qrels").write_text("".join(f"{row['qid']} 0 {row['docid']} {row['grade']}\n" for row in rows))
    ranked, gold = tmp_path / "dl19.jsonl", tmp_path / "gold.jsonl"
    convert = ("convert", DATA / "rerank/dl19_bm25_top100.jsonl.gz", "-o", ranked, "--from", "dynamicrag-eval")
    assert drag(*convert).code == 0
    judge = ("convert", tmp_path / "qrels", "-o", gold, "--from", "trec-qrels", "--questions", ranked, "--min-grade", 2)
    assert drag(*judge).code == 0
    # Out to a TREC run and in again: the order is the same.
    corpus = tmp_path / "passages.jsonl"
    docs = {doc["id"]: doc for line in ranked.read_text().splitlines() for doc in json.loads(line)["docs"]}
    corpus.write_text("".join(json.dumps({key: doc[key] for key in ("id", "title", "text")}) + "\n" for doc in docs.values()))
    assert drag("convert", ranked, "-o", tmp_path / "run", "--from", "drag", "--to", "trec-run").code == 0
    back = ("--from", "trec-run", "--questions", ranked, "--passages", corpus)
    assert drag("convert", tmp_path / "run", "-o", tmp_path / "again.jsonl", *back).code == 0
    done = drag("eval", ranked, tmp_path / "again.jsonl", "--gold", gold, "--at", 10, "-o", tmp_path / "report.json")
    assert done.code == 0, done.err
    found = means(tmp_path / "report.json")
    assert found["dl19"]["ndcg@10"] == pytest.approx(0.5058, abs=5e-5)
    assert found["again"] == found["dl19"]


@pytest.fixture(scope="module")
def bm25(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The real corpus, indexed without stemming and stop words."""
    folder = tmp_path_factory.mktemp("real") / "bm25"
    done = run_drag("index", DATA / "corpus/passages.jsonl.gz", "-o", folder, "--stemmer", "none", "--stopwords", "none")
    assert done.code == 0, done.err
    return folder


# A plain BM25 of another program with the same k1 and b: recall at 5, 20 and 100, and answers in the first 20. Musique is left out,
# of whose 51 questions one is worth more than the tolerance.
@pytest.mark.parametrize(
    ("name", "recalls", "answers"),
    [
        ("nq", (0.691, 0.845, 0.920), 0.877),
        ("hotpotqa", (0.727, 0.880, 0.942), 0.770),
        ("2wikimultihopqa", (0.655, 0.727, 0.765), 0.688),
        ("triviaqa", (), 0.755),
        ("fever", (0.892, 0.940, 0.967), None),
        ("asqa", (0.347, 0.580, 0.727), 0.715),
        ("squad", (0.898, 0.946, 0.977), 0.952),
    ],
)
def test_bm25_finds_what_another_program_finds(
    drag, bm25: Path, tmp_path: Path, name: str, recalls: tuple[float, ...], answers: float | None
) -> None:
    pytest.importorskip("ir_measures")
    gold, found = DATA / f"questions/{name}.jsonl.gz", tmp_path / "found.jsonl"
    assert drag("retrieve", gold, "-o", found, "--index", bm25, "--top-k", 100).code == 0
    for kind, wanted, at in (("id", recalls, (5, 20, 100)), ("answer", (answers,) if answers else (), (20,))):
        if wanted:
            cuts = [word for k in at for word in ("--at", k)]
            done = drag("eval", found, "--gold", gold, "--match", kind, *cuts, "-o", tmp_path / f"{kind}.json")
            assert done.code == 0, done.err
            scores = means(tmp_path / f"{kind}.json")["found"]
            assert [scores[f"recall@{k}"] for k in at] == pytest.approx(wanted, abs=0.01)


# One passage of each of the two only holds the answer if "Mâcon" is "Macon".
@pytest.mark.parametrize(
    ("name", "others"), [("nq", 0), ("triviaqa", 0), ("hotpotqa", 1), ("2wikimultihopqa", 1), ("asqa", 0), ("musique", 0)]
)
def test_a_passage_holds_an_answer_where_the_data_says_so(name: str, others: int) -> None:
    with gzip.open(DATA / f"candidates/{name}.jsonl.gz", "rt") as lines:
        rows = [json.loads(line) for line in lines]
    marked = [
        (
            passage["hasanswer"],
            has_answer(Candidate(id=passage["id"], title=passage["title"], text=passage["text"]), row["answers"]),
        )
        for row in rows
        for passage in row["ctxs"]
        if "hasanswer" in passage
    ]
    assert len(marked) > 1000
    assert sum(theirs != ours for theirs, ours in marked) <= others
