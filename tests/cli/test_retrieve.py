"""`drag retrieve` on the toy corpus."""

import json
import shutil
from pathlib import Path

import pytest

from dynamicrag_cli.core.fusion import RRF_CONSTANT
from tests.conftest import ROOT
from tests.samples import read, script, write

QUESTIONS = ROOT / "examples/toy/questions.jsonl"


def ranking(record: dict) -> list[str]:
    return [doc["id"] for doc in record["docs"]]


def test_known_questions_find_their_passages(drag, toy_bm25: Path, tmp_path: Path) -> None:
    asked = [
        {"id": "1", "question": "Which cat lives in prides?"},
        {"id": "2", "question": "In which sea does the Danube end, and which delta does it form?"},
        {"id": "3", "question": "Which cat cannot roar and wraps its tail around its face?"},
    ]
    done = drag("retrieve", write(tmp_path / "q.jsonl", asked), "-o", tmp_path / "c.jsonl", "--index", toy_bm25, "--top-k", 3)
    assert done.code == 0, done.err
    records = read(tmp_path / "c.jsonl")
    assert [ranking(record)[0] for record in records] == ["bigcats-01", records[1]["docs"][0]["id"], "bigcats-04"]
    assert "Danube" in records[1]["docs"][0]["text"]
    for record in records:
        scores = [doc["score"] for doc in record["docs"]]
        assert len(scores) == 3
        assert scores == sorted(scores, reverse=True)


def test_most_gold_passages_of_the_toy_questions_are_among_five(drag, toy_bm25: Path, tmp_path: Path) -> None:
    assert drag("retrieve", QUESTIONS, "-o", tmp_path / "c.jsonl", "--index", toy_bm25, "--top-k", 5).code == 0
    records = [record for record in read(tmp_path / "c.jsonl") if record.get("gold_passage_ids")]
    found = sum(record["gold_passage_ids"][0] in ranking(record) for record in records)
    assert len(records) > 300
    assert found / len(records) > 0.5
    manifest = json.loads((tmp_path / "c.jsonl.manifest.json").read_text())
    assert manifest["counts"]["in"] == manifest["counts"]["out"] == len(QUESTIONS.read_text().splitlines())
    assert {*manifest["moved_to_meta"]} == {"kind", "topic"}


def test_two_indexes_are_fused_by_reciprocal_rank(drag, toy_bm25: Path, toy_dense: Path, tmp_path: Path) -> None:
    call = ("retrieve", QUESTIONS, "--limit", 5, "--top-k", 4)
    for name, indexes in {"b": [toy_bm25], "d": [toy_dense], "both": [toy_bm25, toy_dense]}.items():
        given = [word for index in indexes for word in ("--index", index)]
        assert drag(*call, "-o", tmp_path / f"{name}.jsonl", *given).code == 0
    for bm25, dense, both in zip(*(read(tmp_path / f"{name}.jsonl") for name in ("b", "d", "both")), strict=True):
        expected: dict[str, float] = {}
        for names in (ranking(bm25), ranking(dense)):
            for rank, name in enumerate(names, start=1):
                expected[name] = expected.get(name, 0) + 1 / (RRF_CONSTANT + rank)
        assert {doc["id"]: doc["score"] for doc in both["docs"]}.items() <= expected.items()
        assert [doc["score"] for doc in both["docs"]] == sorted(expected.values(), reverse=True)[:4]


def test_top_k_above_the_corpus_gives_all_passages_with_a_word_of_the_question(drag, tmp_path: Path) -> None:
    corpus = write(tmp_path / "c.jsonl", [{"id": name, "title": "", "text": f"word {name * 3}"} for name in "abc"])
    assert drag("index", corpus, "-o", tmp_path / "ix").code == 0
    asked = b"".join(
        b'{"id":"%d","question":"%s"}\n' % pair for pair in enumerate([b"which word is bbb", b"ccc", b"nothing of this"])
    )
    done = drag("retrieve", "-", "--index", tmp_path / "ix", "--top-k", 50, stdin=asked)
    first, second, third = (ranking(json.loads(line)) for line in done.out.splitlines())
    assert first[0] == "b"
    assert {*first} == {"a", "b", "c"}
    assert (second, third) == (["c"], [])


def test_a_moved_index_is_the_same_index(drag, toy_bm25: Path, tmp_path: Path) -> None:
    """The fingerprint holds the content of the index, not its name."""
    shutil.copytree(toy_bm25, tmp_path / "elsewhere")
    call = ("retrieve", QUESTIONS, "-o", tmp_path / "c.jsonl", "--limit", 2)
    assert drag(*call, "--index", toy_bm25).code == 0
    assert "up to date" in drag(*call, "--index", tmp_path / "elsewhere").err


@pytest.mark.parametrize("damage", ["passages.arrow", "bm25", "manifest.json"])
def test_a_damaged_index_is_an_input_error_that_says_so(drag, toy_bm25: Path, tmp_path: Path, damage: str) -> None:
    shutil.copytree(toy_bm25, tmp_path / "ix")
    target = tmp_path / "ix" / damage
    shutil.rmtree(target) if target.is_dir() else target.write_bytes(target.read_bytes()[:-9])
    done = drag("retrieve", QUESTIONS, "-o", tmp_path / "c.jsonl", "--index", tmp_path / "ix")
    assert (done.code, done.error) == (4, None), done.err
    assert str(tmp_path / "ix") in done.err


def test_no_index_at_all(drag, tmp_path: Path) -> None:
    assert drag("retrieve", QUESTIONS, "-o", tmp_path / "c.jsonl").code == 2
    done = drag("retrieve", QUESTIONS, "-o", tmp_path / "c.jsonl", "--index", tmp_path)
    assert (done.code, "not an index" in done.err) == (4, True)


def test_an_encoder_that_was_moved_is_found_where_the_user_says(drag, tiny_encoder: Path, tmp_path: Path) -> None:
    corpus = write(tmp_path / "corpus.jsonl", [{"id": n, "title": n, "text": f"passage {n}"} for n in ("one", "two", "three")])
    here, there, index = tmp_path / "here", tmp_path / "there", tmp_path / "index"
    shutil.copytree(tiny_encoder, here)
    assert drag("index", corpus, "-o", index, "--retriever", "dense", "--model", here).code == 0
    call = ("retrieve", QUESTIONS, "--limit", 3, "--index", index, "-o")
    assert drag(*call, tmp_path / "before.jsonl").code == 0
    here.rename(there)
    lost = drag(*call, tmp_path / "lost.jsonl")
    assert (lost.code, "say where a copy lies with --encoder" in lost.err) == (4, True)
    moved = drag(*call, tmp_path / "after.jsonl", "--encoder", there)
    assert moved.code == 0, moved.err
    assert (tmp_path / "after.jsonl").read_bytes() == (tmp_path / "before.jsonl").read_bytes()
    # The same encoder is the same work, wherever it lies.
    there.rename(here)
    assert "up to date" in drag(*call, tmp_path / "after.jsonl").err
    stranger = drag(*call, tmp_path / "other.jsonl", "--encoder", tmp_path)
    assert (stranger.code, f"--encoder {tmp_path}: no index here was built with it" in stranger.err) == (2, True)
    asked = ("infer", "--question", "two", "--index", index, "--engine", "fake", "--model", script(tmp_path / "fake.json"))
    here.rename(there)
    lost = drag(*asked)
    assert (lost.code, "say where a copy lies with --encoder" in lost.err) == (4, True)
    assert drag(*asked, "--encoder", there).code == 0
    unread = drag("infer", tmp_path / "after.jsonl", "--engine", "fake", "--model", tmp_path / "fake.json", "--encoder", there)
    assert (unread.code, "--index and --encoder are for --question" in unread.err) == (2, True)


def test_a_dense_index_says_what_it_is_and_scanning_its_vectors_gives_the_same(drag, toy_dense: Path, tmp_path: Path) -> None:
    call = ("retrieve", QUESTIONS, "--limit", 5, "--top-k", 4, "--index", toy_dense)
    done = drag(*call, "-o", tmp_path / "flat.jsonl")
    assert "dense 477 x 32, Flat, " in done.err
    assert "recall@10 1.000 of exact search (477 queries)" in done.err
    done = drag(*call, "-o", tmp_path / "scan.jsonl", "--scan")
    assert "1 shard(s) read" in done.err
    for flat, scan in zip(*(read(tmp_path / f"{name}.jsonl") for name in ("flat", "scan")), strict=True):
        assert ranking(flat) == ranking(scan)
    done = drag(*call, "-o", tmp_path / "n.jsonl", "--nprobe", 3)
    assert (done.code, "this index has no nprobe" in done.err) == (2, True)


def test_expansion_by_a_model_finds_what_the_question_does_not_name(
    drag, toy_bm25: Path, toy_dense: Path, tmp_path: Path
) -> None:
    asked = [{"id": "1", "question": "Which animal?"}, {"id": "2", "question": "And BAD?"}]
    source = write(tmp_path / "q.jsonl", asked)
    written = "The snow leopard cannot roar and wraps its tail around its face."
    fake = script(tmp_path / "fake.json", written, BAD={"error": "boom"})
    call = ("retrieve", source, "--index", toy_bm25, "--top-k", 3, "--max-reject-rate", 1)
    expansion = ("--expand", "query2doc", "--engine", "fake", "--model", fake)
    done = drag(*call, "-o", tmp_path / "c.jsonl", *expansion)
    assert done.code == 0, done.err
    (record,) = read(tmp_path / "c.jsonl")
    assert (ranking(record)[0], record["meta"]) == ("bigcats-04", {"query2doc": written})
    (reject,) = read(tmp_path / "c.rejects.jsonl")
    assert (reject["id"], reject["reason"]) == ("2", "the expansion failed: boom")
    # The words of the prompt decide the result, and so do those of the model.
    assert "up to date" in drag(*call, "-o", tmp_path / "c.jsonl", *expansion).err
    mine = tmp_path / "templates/prompts"
    mine.mkdir(parents=True)
    (mine / "query2doc.user.jinja").write_text("{{ question }}")
    assert "up to date" not in drag(*call, "-o", tmp_path / "c.jsonl", *expansion, "--templates", mine.parent).err
    assert drag(*call, "-o", tmp_path / "both.jsonl", "--index", toy_dense, *expansion, "--cache", tmp_path / "cache").code == 0
    again = drag(*call, "-o", tmp_path / "both.jsonl", "--fresh", "--index", toy_dense, *expansion, "--cache", tmp_path / "cache")
    assert "1  greedy replies out of the cache, 1 asked" in again.err


def test_an_expansion_needs_a_model_and_a_model_an_expansion(drag, toy_bm25: Path, tmp_path: Path) -> None:
    for given in (["--expand", "query2doc"], ["--model", tmp_path]):
        done = drag("retrieve", QUESTIONS, "-o", tmp_path / "c.jsonl", "--index", toy_bm25, *given)
        assert (done.code, "needs --model" in done.err) == (2, True)
