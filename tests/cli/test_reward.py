"""`drag reward`: terms and totals, of which a failed one is null."""

from pathlib import Path

import pytest

from tests.samples import read, sampled, script, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", [sampled(1), sampled(2)])


def terms(path: Path, *names: str) -> list[dict]:
    """Total and the named terms (all without names) of all rollouts."""
    found = [reward for record in read(path) for reward in record["rewards"]]
    return [{"total": r["total"], "terms": {name: r["terms"][name] for name in names or r["terms"]}} for r in found]


def test_the_pure_terms_and_their_weighted_total(drag, source: Path, tmp_path: Path) -> None:
    assert drag("reward", source, "-o", tmp_path / "out.jsonl", "--weights", "em=0.5 length=0.5,rouge=0").code == 0
    right_short, right_long, wrong, none = terms(tmp_path / "out.jsonl", "em", "length")[:4]
    assert right_short == {"total": 0.75, "terms": {"em": 1.0, "length": 0.5}}
    assert right_long == {"total": 0.625, "terms": {"em": 1.0, "length": 0.25}}
    assert wrong == {"total": 0.25, "terms": {"em": 0.0, "length": 0.5}}
    assert none == {"total": 0.5, "terms": {"em": 0.0, "length": 1.0}}


def test_a_judge_that_fails_makes_the_total_null_and_nothing_else(drag, source: Path, tmp_path: Path) -> None:
    fake = script(tmp_path / "judge.json", default="Score: 80", Paris={"error": "boom"}, unknown=["I cannot say"])
    call = ("reward", source, "-o", tmp_path / "out.jsonl", "--judge", fake, "--engine", "fake")
    done = drag(*call, "--weights", "em=0.5 judge=0.5")
    assert done.code == 0, done.err
    right, _, failed, unreadable = terms(tmp_path / "out.jsonl", "em", "judge")[:4]
    assert right == {"total": 0.9, "terms": {"em": 1.0, "judge": 0.8}}
    assert failed == {"total": None, "terms": {"em": 0.0, "judge": None}}
    assert unreadable == failed


def test_what_the_judge_will_cost_is_told_first(drag, source: Path, tmp_path: Path) -> None:
    call = ("reward", source, "-o", tmp_path / "out.jsonl", "--judge", "no-such-model", "--weights", "judge=1", "--dry-run")
    done = drag(*call)
    assert (done.code, (tmp_path / "out.jsonl").exists()) == (0, False)
    # Two questions with three distinct answers each.
    assert "judge: 6 answers to grade, about " in done.err
    assert "at most 96 of replies" in done.err
    assert "judge: 3 answers" in drag(*call, "--limit", 1).err
    fake = script(tmp_path / "judge.json", default="Score: 80")
    call = ("reward", source, "-o", tmp_path / "out.jsonl", "--judge", fake, "--engine", "fake", "--weights", "judge=1")
    assert ["judge: 6 answers" in drag(*call).err for _ in range(2)] == [True, False]  # the second is up to date


def test_bertscore_of_the_right_answer_is_one(drag, source: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    call = ("reward", source, "-o", tmp_path / "out.jsonl", "--weights", "bertscore=1", "--bertscore-model", tiny_encoder)
    done = drag(*call)
    assert done.code == 0, done.err
    found = [reward["total"] for reward in terms(tmp_path / "out.jsonl")]
    assert found[0] == found[1] == pytest.approx(1)
    assert 0 <= found[2] < 1


def test_a_rollout_without_an_answer_has_no_reward(drag, tmp_path: Path) -> None:
    record = sampled(1)
    record["rollouts"][0] = {"selection": [], "status": "failed", "error": "boom"}
    drag("reward", write(tmp_path / "in.jsonl", [record]), "-o", tmp_path / "out.jsonl")
    assert terms(tmp_path / "out.jsonl", "em", "length")[0] == {"total": None, "terms": {"em": None, "length": None}}


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        ("rogue=1", "Did you mean 'rouge'?"),
        ("em", "NAME=NUMBER"),
        ("em=-1", "at least 0"),
        ("em=0", "above 0"),
        ("bertscore=1", "--bertscore-model"),
        ("judge=1", "--judge"),
    ],
)
def test_weights_that_cannot_be_used_are_exit_2(drag, source: Path, tmp_path: Path, weights: str, words: str) -> None:
    done = drag("reward", source, "-o", tmp_path / "out.jsonl", "--weights", weights)
    assert (done.code, words in done.err) == (2, True)
