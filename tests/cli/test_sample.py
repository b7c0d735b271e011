"""`drag sample`: rollouts with answers, from scripted replies and from a tiny model."""

import json
from pathlib import Path

from tests.samples import question, read, script, write


def test_rollouts_hold_selection_status_reply_and_answer(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1), question(2)])
    policy = script(tmp_path / "policy.json", **{"Which town": ["[2], [1]", "None", "[9]", "the second", "[2], [1]"]})
    reader = script(tmp_path / "reader.json", default="Ulm")
    call = ("sample", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", policy, "--reader", reader)
    done = drag(*call, "--rollouts", 5)
    assert done.code == 0, done.err
    first, second = read(tmp_path / "out.jsonl")
    names = [doc["id"] for doc in first["docs"]]
    assert [(r["status"], r["selection"]) for r in first["rollouts"]] == [
        ("ok", [names[1], names[0]]),
        ("none", []),
        ("out_of_range", []),
        ("no_identifier", []),
        ("ok", [names[1], names[0]]),
    ]
    assert [r.get("answer") for r in first["rollouts"]] == ["Ulm", "Ulm", None, None, "Ulm"]
    assert first["rollouts"][0]["n_reader_tokens"] > first["rollouts"][1]["n_reader_tokens"]
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["notes"] == {
        "rollouts: no_identifier": 2,
        "rollouts: none": 2,
        "rollouts: ok": 4,
        "rollouts: out_of_range": 2,
    }
    assert len(second["rollouts"]) == 5


def test_samples_of_a_model_depend_on_the_seed_and_not_on_chunks_or_batches(drag, tmp_path: Path, tiny_lm: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(number) for number in range(3)])
    made = {}
    for name, options in {
        "one": ["--chunk", 1],
        "all": ["--chunk", 256],
        "small": ["--batch-tokens", 1],
        "other": ["--seed", 1],
    }.items():
        call = (
            "sample",
            source,
            "-o",
            tmp_path / f"{name}.jsonl",
            "--model",
            tiny_lm,
            "--rollouts",
            2,
            "--max-selection-tokens",
            8,
            "--no-constrained",
        )
        done = drag(*call, *options, "--max-reject-rate", 1)
        assert done.code == 0, done.err
        made[name] = [[r["raw"] for r in record["rollouts"]] for record in read(tmp_path / f"{name}.jsonl")]
    assert made["one"] == made["all"] == made["small"]
    assert made["other"] != made["one"]
    assert made["one"][0][0] != made["one"][0][1]


def test_a_question_for_which_the_engine_always_fails_is_a_reject(drag, tmp_path: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1), question(2, question="BAD?")])
    fake = script(tmp_path / "fake.json", BAD={"error": "boom"})
    call = ("sample", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", fake, "--max-reject-rate", 0.5)
    assert drag(*call).code == 0
    assert [r["id"] for r in read(tmp_path / "out.jsonl")] == ["q-1"]
    (reject,) = read(tmp_path / "out.rejects.jsonl")
    assert (reject["id"], reject["reason"]) == ("q-2", "the engine failed: boom")


def test_wrong_calls(drag, tmp_path: Path, tiny_encoder: Path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    assert drag("sample", source).code == 2
    assert drag("sample", source, "--model", tmp_path / "nowhere").code == 4
    assert drag("sample", source, "--model", "m", "--rollouts", 0).code == 2
    assert drag("sample", source, "--model", "m", "--engine", "fkae").code == 2
