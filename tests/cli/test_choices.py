"""What the reranker may reply: the options of `sample` and `infer`, and the gate on malformed replies."""

import json
from pathlib import Path

import pytest

from tests.samples import question, read, script, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", [question(number) for number in range(3)])


def rollouts_of(path: Path) -> list[dict]:
    return [rollout for record in read(path) for rollout in record.get("rollouts") or [record["rollout"]]]


def test_hf_is_constrained_by_default_and_free_if_told_so(drag, tmp_path: Path, source: Path, tiny_lm: Path) -> None:
    call = ("sample", source, "--model", tiny_lm, "--rollouts", 6, "--max-selection-tokens", 20)
    assert drag(*call, "-o", tmp_path / "held.jsonl", "--max-malformed-rate", 0).code == 0
    held = rollouts_of(tmp_path / "held.jsonl")
    assert {rollout["status"] for rollout in held} <= {"ok", "none"}
    assert all(len(rollout["stop_probs"]) == len(rollout["selection"]) + 1 for rollout in held)
    free = drag(*call, "-o", tmp_path / "free.jsonl", "--no-constrained", "--max-malformed-rate", 0.5)
    assert free.code == 6
    assert "18 of 18 selections are malformed" in free.err
    assert not any("stop_probs" in rollout for rollout in rollouts_of(tmp_path / "free.jsonl"))
    # The gate is no part of the result: the finished file is measured again.
    again = drag(*call, "-o", tmp_path / "free.jsonl", "--no-constrained", "--max-malformed-rate", 1)
    assert (again.code, "up to date" in again.err) == (0, True)
    assert drag(*call, "-o", tmp_path / "free.jsonl", "--no-constrained", "--max-malformed-rate", 0.5).code == 6


def test_clamps_and_bias(drag, tmp_path: Path, source: Path, tiny_lm: Path) -> None:
    call = ("infer", source, "--model", tiny_lm, "--max-selection-tokens", 20)
    sizes = {}
    for name, options in {"least": ["--min-k", 2], "most": ["--max-k", 1], "less": ["--stop-bias", 50], "zero": []}.items():
        done = drag(*call, *options, "-o", tmp_path / f"{name}.jsonl")
        assert done.code == 0, done.err
        sizes[name] = [len(rollout["selection"]) for rollout in rollouts_of(tmp_path / f"{name}.jsonl")]
    assert min(sizes["least"]) >= 2
    assert max(sizes["most"]) <= 1
    assert sizes["less"] == [0, 0, 0]
    drag(*call, "--stop-bias", 0, "-o", tmp_path / "again.jsonl")
    assert (tmp_path / "zero.jsonl").read_bytes() == (tmp_path / "again.jsonl").read_bytes()


def test_a_budget_of_tokens_leaves_out_chosen_passages_and_counts_them(drag, tmp_path: Path, source: Path) -> None:
    fake = script(tmp_path / "fake.json", default="[2], [1]")
    call = ("infer", source, "--engine", "fake", "--model", fake, "-o", tmp_path / "out.jsonl", "--max-context-tokens")
    refused = drag(*call, 30)
    assert refused.code == 2
    assert "--max-model-len" in refused.err
    done = drag(*call, 12, "--max-model-len", 2000, "--fresh")
    assert done.code == 0, done.err
    assert {(len(rollout["selection"]), rollout.get("n_unread", 0)) for rollout in rollouts_of(tmp_path / "out.jsonl")} == {
        (2, 1)
    }
    assert drag(*call, 500, "--max-model-len", 2000, "--fresh").code == 0
    assert not any("n_unread" in rollout for rollout in rollouts_of(tmp_path / "out.jsonl"))


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--min-k", 3, "--max-k", 2], "--min-k 3 is above --max-k 2"),
        (["--no-constrained", "--max-k", 2], "--max-k needs constrained decoding"),
        (["--constrained"], "no --constrained"),
        (["--min-k", 1], "no --min-k"),
        (["--invalid", "stict"], "strict"),
        (["--max-k", 0], "--max-k"),
        (["--max-malformed-rate", 0.1, "-o", "-"], "needs -o"),
    ],
)
@pytest.mark.parametrize("command", ["sample", "infer"])
def test_wrong_calls(drag, tmp_path: Path, source: Path, command: str, options: list, words: str) -> None:
    """The fake engine decodes freely."""
    fake = script(tmp_path / "fake.json", default="[1]")
    done = drag(command, source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", fake, *options)
    assert (done.code, done.error) == (2, None)
    assert words in " ".join(done.err.split())


def test_clamps_are_about_replies(drag, source: Path) -> None:
    done = drag("infer", source, "--selector", "all", "--reader", "m", "--max-k", 2)
    assert done.code == 2
    assert "selector 'llm'" in " ".join(done.err.split())


def test_malformed_replies_by_policy(drag, tmp_path: Path, source: Path) -> None:
    fake = script(tmp_path / "fake.json", default="[1], [9]")
    for policy, kept in (("drop", 1), ("strict", 0), ("retry-once", 1)):
        out = tmp_path / f"{policy}.jsonl"
        assert drag("infer", source, "-o", out, "--engine", "fake", "--model", fake, "--invalid", policy).code == 0
        assert [len(rollout["selection"]) for rollout in rollouts_of(out)] == [kept] * 3
        assert json.loads(Path(f"{out}.manifest.json").read_text())["notes"] == {"selection: out_of_range": 3}
