"""Retrieval on real data, by our own commands, against figures that others have got: `make test-slow` with DRAG_DATA."""

import gzip
import json
import os
from pathlib import Path

import pytest

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
