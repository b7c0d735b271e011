"""`drag convert`: counts, rejects with reasons, and files that other tools read."""

import gzip
import json
from pathlib import Path

import pytest

from dynamicrag_cli.core.records import LabelledQuestion, Prediction
from tests.samples import labelled, prediction, question, read, write


@pytest.fixture
def predictions(tmp_path: Path) -> Path:
    return write(tmp_path / "dpo.jsonl", [prediction(number) for number in range(4)])


@pytest.mark.parametrize("name", ["dynamicrag", "flashrag", "alce"])
def test_predictions_there_and_back(drag, predictions: Path, tmp_path: Path, name: str) -> None:
    there, back = tmp_path / "there.json", tmp_path / "back.jsonl"
    done = drag("convert", predictions, "-o", there, "--from", "drag", "--to", name)
    assert (done.code, done.out) == (0, b""), done.err
    assert f"convert: 4 in, 4 out, 0 rejected -> {there}" in done.err
    if name != "flashrag":
        document = json.loads(there.read_text())
        assert len(document["data"] if name == "alce" else document) == 4
    assert drag("convert", there, "-o", back, "--from", name).code == 0
    assert [row["rollout"]["answer"] for row in read(back)] == [row["rollout"]["answer"] for row in read(predictions)]
    assert drag("validate", back, "--as", Prediction.__name__).code == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["back.jsonl", "dpo.jsonl", "there.json"]


def test_a_trec_run_there_and_back(drag, tmp_path: Path) -> None:
    rows = [question(number) for number in range(3)]
    source = write(tmp_path / "candidates.jsonl", rows)
    bare = write(tmp_path / "questions.jsonl", [{k: v for k, v in row.items() if k != "docs"} for row in [*rows, question(9)]])
    docs = {doc["id"]: doc for row in rows for doc in row["docs"]}
    passages = write(tmp_path / "passages.jsonl", [{k: v for k, v in doc.items() if k != "score"} for doc in docs.values()])
    assert drag("convert", source, "-o", tmp_path / "run", "--from", "drag", "--to", "trec-run").code == 0
    assert (tmp_path / "run").read_text().splitlines()[0] == "q-0 Q0 p-Passau 1 3 drag"
    done = drag("convert", tmp_path / "run", "-o", tmp_path / "back.jsonl", "--from", "trec-run", "--questions", bare, "--passages", passages)  # fmt: skip
    assert done.code == 0, done.err
    assert "1 questions have no line" in done.err
    assert read(tmp_path / "back.jsonl") == rows
    assert drag("convert", source, "-o", tmp_path / "qrels", "--from", "drag", "--to", "trec-qrels").code == 0
    stripped = write(tmp_path / "q.jsonl", [{"id": row["id"], "question": row["question"]} for row in rows])
    assert (
        drag("convert", tmp_path / "qrels", "-o", tmp_path / "gold.jsonl", "--from", "trec-qrels", "--questions", stripped).code
        == 0
    )
    assert [row["gold_passage_ids"] for row in read(tmp_path / "gold.jsonl")] == [row["gold_passage_ids"] for row in rows]


def test_selections_of_nothing_and_missing_answers_are_counted(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [prediction(1), prediction(2, selection=[], status="none", answer=None)])
    assert "1 without a passage have no line" in drag("convert", source, "-o", tmp_path / "run", "--from", "drag", "--to", "trec-run").err  # fmt: skip
    assert "1 without an answer" in drag("convert", source, "-o", tmp_path / "x", "--from", "drag", "--to", "alce").err


def test_released_training_data_with_rejects(drag, tmp_path: Path) -> None:
    docs = [{"title": "A", "text": "a"}, {"title": "B", "text": "b"}]
    rows = [
        {"id": "nq_1", "question": "Why?", "answer": ["x"], "docs": docs, "true_id": [1]},
        {"id": "nq_2", "question": "Why?", "answer": ["x"], "docs": docs},
        {"id": "nq_1", "question": "Why?", "answer": ["x"], "docs": docs, "true_id": []},
        {"id": "nq_4", "question": " ", "answer": ["x"], "docs": docs, "true_id": [1]},
        {"id": "nq_5", "question": "Why?", "answer": ["x"], "docs": docs, "true_id": 3},
    ]
    (tmp_path / "train.json").write_text(json.dumps(rows, indent=4))
    out = tmp_path / "labelled.jsonl.gz"
    done = drag("convert", tmp_path / "train.json", "-o", out, "--from", "dynamicrag-train", "--dataset", "nq")
    assert (done.code, done.error) == (6, None), done.err
    assert "5 in, 1 out, 4 rejected" in done.err
    (made,) = [json.loads(line) for line in gzip.decompress(out.read_bytes()).splitlines()]
    assert (made["dataset"], made["relevance"]["scores"]) == ("nq", [1.0, 0.0])
    rejects = read(tmp_path / "labelled.rejects.jsonl")
    assert [(reject["line"], reject["id"]) for reject in rejects] == [(2, "nq_2"), (3, "nq_1"), (4, "nq_4"), (5, "nq_5")]
    assert [part in reject["reason"] for part, reject in zip(("true_id", "met before", "empty", "true_id"), rejects, strict=False)][:3] == [True] * 3  # fmt: skip
    lenient = drag("convert", tmp_path / "train.json", "-o", out, "--from", "dynamicrag-train", "--max-reject-rate", "1")
    assert lenient.code == 0


def test_stdout(drag, predictions: Path) -> None:
    done = drag("convert", predictions, "-o", "-", "--from", "drag", "--to", "dynamicrag")
    assert [row["id"] for row in json.loads(done.out)] == ["q-0", "q-1", "q-2", "q-3"]


@pytest.mark.parametrize("name", ["dynamicrag", "alce", "flashrag", "trec-run"])
def test_nothing_in_is_nothing_out_and_still_a_whole_file(drag, tmp_path: Path, name: str) -> None:
    (tmp_path / "in.json").write_text("[]")
    done = drag("convert", tmp_path / "in.json", "-o", "-", "--from", "dynamicrag", "--to", name)
    assert done.code == 0
    assert {"dynamicrag": [], "alce": {"data": []}}.get(name) == (json.loads(done.out) if done.out else None)


def test_records_of_another_kind(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "labelled.jsonl", [labelled(1)])
    done = drag("convert", source, "-o", tmp_path / "x", "--from", "drag", "--to", "alce")
    assert (done.code, done.error) == (4, None)
    assert f"a file of {LabelledQuestion.__name__} records; alce is made of Prediction records" in done.err
    (tmp_path / "eval.json").write_text(json.dumps([{"question": "Why?", "answers": ["x"], "ctxs": []}]))
    done = drag("convert", tmp_path / "eval.json", "-o", "-", "--from", "dynamicrag-eval", "--to", "flashrag")
    assert (done.code, "a RetrievedQuestion; flashrag is made of Prediction records" in done.err) == (6, True)
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--from", "flashrg"], 2, "Did you mean 'flashrag'?"),
        (["--from", "drag", "--to", "dynamicrag-eval"], 2, "unknown format"),
        (["--from", "trec-run"], 2, "give --questions and --passages"),
        (["--from", "trec-qrels"], 2, "give --questions"),
        (["--from", "alce", "--dataset", "nqq"], 2, "Did you mean 'nq'?"),
        (["--from", "alce", "-o", "IN"], 2, "is both input and output"),
        (["--from", "alce", "-o", "IN/x"], 4, "cannot write"),
    ],
)
def test_what_cannot_be_done(drag, predictions: Path, arguments: list[str], code: int, words: str) -> None:
    before = predictions.read_bytes()
    out = [] if "-o" in arguments else ["-o", str(predictions.parent / "out")]
    done = drag("convert", predictions, *out, *(part.replace("IN", str(predictions)) for part in arguments))
    assert (done.code, done.error) == (code, None), done.err
    assert words in " ".join(done.err.split())
    assert predictions.read_bytes() == before
    assert [path.name for path in predictions.parent.iterdir()] == ["dpo.jsonl"]


def test_a_missing_file(drag, tmp_path: Path) -> None:
    done = drag("convert", tmp_path / "nowhere", "-o", tmp_path / "x", "--from", "alce")
    assert (done.code, "no such file" in done.err, [*tmp_path.iterdir()]) == (4, True, [])


def test_rejects_on_stdout_send_nobody_to_a_file_that_is_not_there(drag, tmp_path: Path) -> None:
    (tmp_path / "in.jsonl").write_text("garbage\n", encoding="utf-8")
    done = drag("convert", tmp_path / "in.jsonl", "-o", "-", "--from", "flashrag", "--to", "drag")
    assert (done.code, "rejected: line 1" in done.err, "rejects.jsonl" in done.err) == (6, True, False)
