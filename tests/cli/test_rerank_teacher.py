"""`drag rerank-teacher` with every teacher that runs on tiny models."""

import json
from pathlib import Path

import pytest

from tests.samples import question, read, script, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", (question(number) for number in range(8)))


def test_gold_and_answer_match_need_no_model(drag, source: Path, tmp_path: Path) -> None:
    for teacher in ("gold", "answer-match"):
        assert drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", teacher).code == 0
        for record in read(tmp_path / "out.jsonl"):
            assert record["relevance"] == {"teacher": teacher, "model": None, "scores": [0.0, 1.0, 0.0], "threshold": 0.5}


def test_a_question_that_the_teacher_cannot_serve_is_a_reject(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1), question(2, gold_passage_ids=None)])
    done = drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", "gold", "--max-reject-rate", 0.5)
    assert done.code == 0
    assert [r["id"] for r in read(tmp_path / "out.jsonl")] == ["q-1"]
    assert "no gold_passage_ids" in read(tmp_path / "out.rejects.jsonl")[0]["reason"]


@pytest.mark.parametrize(
    ("teacher", "model", "threshold"), [("monot5", "tiny_t5", 0.8), ("cross-encoder", "tiny_cross_encoder", 0.5)]
)
def test_teachers_with_a_model_score_every_candidate(drag, source, tmp_path, request, teacher, model, threshold) -> None:
    folder = request.getfixturevalue(model)
    done = drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", teacher, "--model", folder, "--chunk", 3)
    assert done.code == 0, done.err
    records = read(tmp_path / "out.jsonl")
    assert {r["relevance"]["threshold"] for r in records} == {threshold}
    scores = [score for r in records for score in r["relevance"]["scores"]]
    assert len(scores) == 24
    assert all(0 <= score <= 1 for score in scores)
    assert len(set(scores)) > 1
    assert json.loads((tmp_path / "out.jsonl.manifest.json").read_text())["fingerprint"]["options"]["model"] != str(folder)


def test_the_bi_encoder_is_calibrated_on_train_questions_alone(drag, tmp_path: Path, tiny_encoder: Path) -> None:
    """Dev questions whose gold ids are all wrong do not move the fit."""
    asked = [question(number) for number in range(12)]
    wrong = [q if q["split"] == "train" else {**q, "gold_passage_ids": [q["docs"][0]["id"]]} for q in asked]
    fits = []
    for name, records in (("a", asked), ("b", wrong)):
        source = write(tmp_path / f"{name}.jsonl", records)
        out = tmp_path / f"{name}.out.jsonl"
        done = drag("rerank-teacher", source, "-o", out, "--teacher", "bi-encoder", "--model", tiny_encoder)
        assert done.code == 0, done.err
        fits.append(json.loads((tmp_path / f"{name}.out.jsonl.manifest.json").read_text())["calibration"])
    assert fits[0] == fits[1]
    n_train = sum(q["split"] == "train" for q in asked)
    assert (fits[0]["n_pairs"], fits[0]["n_gold"]) == (3 * n_train, n_train)


def test_the_bi_encoder_ranks_without_gold_ids_if_told_so(drag, tmp_path: Path, tiny_encoder: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1, gold_passage_ids=None)])
    call = ("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", "bi-encoder", "--model", tiny_encoder)
    done = drag(*call, "--no-calibrate")
    assert done.code == 0, done.err
    (record,) = read(tmp_path / "out.jsonl")
    assert "threshold" not in record["relevance"]
    assert len({*record["relevance"]["scores"]}) == 3


def test_the_bi_encoder_without_gold_ids_or_from_stdin_says_what_to_use(drag, tmp_path: Path, tiny_encoder: Path) -> None:
    records = [question(1, gold_passage_ids=None)]
    call = ("--teacher", "bi-encoder", "--model", tiny_encoder)
    done = drag("rerank-teacher", write(tmp_path / "in.jsonl", records), "-o", tmp_path / "out.jsonl", *call)
    assert done.code == 4
    assert "answer-match" in done.err
    assert drag("rerank-teacher", "-", *call, stdin=json.dumps(records[0]).encode()).code == 2


def test_the_llm_teacher_asks_the_engine(drag, source: Path, tmp_path: Path) -> None:
    fake = script(tmp_path / "fake.json", **{"Ulm lies": {"replies": [""], "scores": {"Yes": -0.1, "No": -2.1}}})
    done = drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", "llm", "--engine", "fake", "--model", fake)
    assert done.code == 0, done.err
    scores = {
        doc["id"]: s for r in read(tmp_path / "out.jsonl") for doc, s in zip(r["docs"], r["relevance"]["scores"], strict=True)
    }
    assert scores["p-Ulm"] == pytest.approx(1 / (1 + 2.718281828**-2))
    assert scores["p-Passau"] != scores["p-Ulm"]


def test_the_listwise_teacher_ranks_through_an_engine_and_counts_its_calls(drag, source: Path, tmp_path: Path) -> None:
    fake = script(tmp_path / "fake.json", default="[2] > [1]", **{"number 2 lies": ["[1]"], "number 3 lies": {"error": "boom"}})
    call = ("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", "listwise", "--engine", "fake", "--model", fake)
    done = drag(*call, "--window", 2, "--stride", 1, "--max-reject-rate", 0.2, "--cache", tmp_path / "replies.sqlite")
    assert done.code == 0, done.err
    records = {record["id"]: record["relevance"] for record in read(tmp_path / "out.jsonl")}
    # Three passages a b c: the window [b c] gives a c b, the window [a c] gives c a b.
    assert records["q-1"]["scores"] == pytest.approx([2 / 3, 1 / 3, 1])
    assert (records["q-1"].get("threshold"), records["q-1"]["n_calls"], "n_malformed" in records["q-1"]) == (None, 2, False)
    assert records["q-2"]["scores"] == pytest.approx([1, 2 / 3, 1 / 3])
    assert "q-3" not in records
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["counts"]["cache_misses"] > 0
    assert manifest["notes"] == {"calls of the model": 14, "malformed replies, repaired": 2}


def test_wrong_calls(drag, source: Path, tmp_path: Path) -> None:
    assert drag("rerank-teacher", source).code == 2
    assert drag("rerank-teacher", source, "--teacher", "llm").code == 2
    assert drag("rerank-teacher", source, "--teacher", "gold", "--threshold", 1.5).code == 2
    apart = drag("rerank-teacher", source, "--teacher", "listwise", "--model", "m", "--window", 5, "--stride", 6)
    assert (apart.code, "--stride 6 is larger than --window 5" in apart.err) == (2, True)
    unscored = drag("rerank-teacher", source, "--teacher", "monot5", "--model", tmp_path / "nowhere")
    assert (unscored.code, unscored.error) == (4, None)


@pytest.mark.parametrize(
    ("teacher", "model"),
    [
        ("monot5", "tiny_t5"),
        ("cross-encoder", "tiny_cross_encoder"),
        pytest.param(
            "bi-encoder",
            "tiny_encoder",
        ),
        pytest.param(
            "llm",
            "tiny_lm",
        ),
    ],
)
def test_a_chunk_without_candidates_is_no_traceback(drag, tmp_path: Path, request, teacher: str, model: str) -> None:
    records = [*(question(number) for number in range(4)), question(9, docs=[])]
    call = ("rerank-teacher", write(tmp_path / "in.jsonl", records), "-o", tmp_path / "out.jsonl", "--chunk", 1)
    done = drag(*call, "--teacher", teacher, "--model", request.getfixturevalue(model))
    assert done.code == 0, done.err
    assert read(tmp_path / "out.jsonl")[-1]["relevance"]["scores"] == []
