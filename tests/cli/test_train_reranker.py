"""`drag train reranker`: a cross-encoder from labels, on a tiny encoder."""

import json
import math
from collections import Counter
from pathlib import Path

import pytest

from dynamicrag_cli.cli.train_reranker import training_records
from tests.samples import labelled, question, read, write

LOW = {"teacher": "t", "model": None, "scores": [0.1, 0.2, 0.3]}
FEW = ("--batch-size", 4, "--device", "cpu", "--no-bf16")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "labelled.jsonl", [labelled(number, split="train") for number in range(6)])


@pytest.mark.parametrize("loss", ["binary", "listwise"])
def test_an_encoder_becomes_a_teacher(drag, tmp_path: Path, data: Path, tiny_encoder: Path, loss: str) -> None:
    out = tmp_path / "reranker"
    call = ("train", "reranker", "--data", data, "-o", out, "--model", tiny_encoder, "--loss", loss, *FEW)
    done = drag(*call, "--epochs", 3, "--learning-rate", 1e-3)
    assert (done.code, done.out) == (0, b""), done.err
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["kind"], manifest["stage"], manifest["counts"]["in"]) == ("model", "reranker", 6)
    assert manifest["counts"]["steps"] == (15 if loss == "binary" else 6)
    # Batches of so few questions differ too much for the last loss to be lower each time; the next test is about learning.
    assert [step for step, _ in manifest["loss"]] == ([1, 5, 10, 15] if loss == "binary" else [1, 5])
    assert all(math.isfinite(value) and value > 0 for _, value in manifest["loss"])
    assert not [*out.glob("checkpoint-*")]
    scored = tmp_path / "scored.jsonl"
    assert drag("rerank-teacher", data, "-o", scored, "--teacher", "cross-encoder", "--model", out).code == 0
    assert {line["relevance"].get("threshold") for line in read(scored)} == {0.5 if loss == "binary" else None}
    assert len(read(scored)) == 6
    assert "up to date" in drag(*call, "--epochs", 3, "--learning-rate", 1e-3).err


def test_it_learns_what_the_labels_say(drag, tmp_path: Path, tiny_encoder: Path) -> None:
    """The first town of the question is positive: a word that both share."""
    data = write(tmp_path / "in.jsonl", [labelled(n, split="train", question=question(n)["answers"][0]) for n in range(12)])
    out = tmp_path / "reranker"
    done = drag(
        "train", "reranker", "--data", data, "-o", out, "--model", tiny_encoder, *FEW, "--epochs", 12, "--learning-rate", 2e-3
    )
    assert done.code == 0, done.err
    drag("rerank-teacher", data, "-o", tmp_path / "scored.jsonl", "--teacher", "cross-encoder", "--model", out)
    scores = [record["relevance"]["scores"] for record in read(tmp_path / "scored.jsonl")]
    assert sum(one[1] == max(one) for one in scores) >= 9


def test_near_duplicates_of_held_out_questions_are_left_out(tmp_path: Path) -> None:
    """As in build-bc, so that every evaluation of a dev split is of questions that no training saw."""
    asked = [
        ("Where does the river Danube rise in the Black Forest?", "train"),
        ("Where does the river Danube rise, in the Black Forest", "dev"),
        ("Who wrote the song of the Nibelungs?", "train"),
    ]
    rows = [{**labelled(number), "question": text, "split": split} for number, (text, split) in enumerate(asked)]
    data, notes = str(write(tmp_path / "in.jsonl", rows)), Counter[str]()
    params = {"split": "train", "seed": 0, "dev_share": 0.1, "limit": None}
    assert [record.id for record in training_records(params, data, notes)] == [rows[2]["id"]]
    assert notes == {"question of another split": 1, "left out: near-duplicate of a held-out question": 1}
    assert len(training_records({**params, "split": None}, data, notes)) == 3


def test_an_interrupted_run_goes_on(drag, tmp_path: Path, data: Path, tiny_encoder: Path, monkeypatch) -> None:
    from dynamicrag_cli.adapters.rrpo import supervised

    whole, out = tmp_path / "whole", tmp_path / "reranker"
    call = ("train", "reranker", "--data", data, "--model", tiny_encoder, *FEW, "--save-steps", 2, "--epochs", 2)
    assert drag(*call, "-o", whole).code == 0
    told = supervised._Steps.on_step_end

    def interrupt(self, _args, state, _control, **_) -> None:
        told(self, _args, state, _control)
        if state.global_step == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(supervised._Steps, "on_step_end", interrupt)
    stopped = drag(*call, "-o", out)
    assert (stopped.code, "goes on from the last saved step" in stopped.err) == (130, True)
    other = drag(*call, "-o", out, "--learning-rate", 1e-3)
    assert (other.code, "--fresh" in other.err) == (2, True)
    monkeypatch.setattr(supervised._Steps, "on_step_end", told)
    assert drag(*call, "-o", out).code == 0
    assert (out / "model.safetensors").read_bytes() == (whole / "model.safetensors").read_bytes()


@pytest.mark.parametrize(
    ("records", "more", "words"),
    [
        ([question(1)], [], "1 left out: the question has no relevance"),
        ([question(1, relevance=LOW)], ["--loss", "binary"], "no question has a positive"),
        ([question(1, relevance=LOW)], [], "1 left out: no positive among the candidates"),
        ([labelled(3)], [], "another split"),
        ([question(1, docs=[])], ["--labels", "gold"], "no candidates"),
        ([], [], "nothing to learn"),
    ],
)
def test_nothing_to_learn_from(drag, tmp_path: Path, tiny_encoder: Path, records, more, words: str) -> None:
    data = write(tmp_path / "in.jsonl", records)
    done = drag("train", "reranker", "--data", data, "-o", tmp_path / "out", "--model", tiny_encoder, *more)
    assert (done.code, done.error, words in done.err) == (4, None, True), done.err
    assert not (tmp_path / "out").exists()


def test_wrong_calls(drag, tmp_path: Path, data: Path, tiny_cross_encoder: Path) -> None:
    call = ("train", "reranker", "-o", tmp_path / "out", "--model", tmp_path / "nowhere")
    assert drag(*call, "--data", tmp_path / "none.jsonl").code == 4
    assert drag(*call, "--data", "-").code == 2
    done = drag(*call, "--data", data)
    assert (done.code, "no such encoder folder" in done.err) == (4, True), done.err
    assert "Did you mean 'listwise'" in drag(*call, "--data", data, "--loss", "listwse").err
