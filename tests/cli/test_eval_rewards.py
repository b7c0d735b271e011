"""`drag eval` of a rewarded file."""

import json
from pathlib import Path

from tests.samples import prediction, sampled, write


def test_a_rewarded_file_is_told_term_by_term(drag, tmp_path: Path) -> None:
    rolled = write(tmp_path / "sampled.jsonl", (sampled(number) for number in range(4)))
    assert drag("reward", rolled, "-o", tmp_path / "rewarded.jsonl", "--weights", "em=0.5 length=0.5").code == 0
    done = drag("eval", tmp_path / "rewarded.jsonl")
    assert done.code == 0, done.err
    (system,) = json.loads(done.out)["systems"]
    # Per question: right with k 1 and 3, wrong with k 1 and 0: totals .75 .625 .25 .5.
    assert system["terms"]["em"] == {"mean": 0.5, "sd": 0.5, "n": 16, "failed": 0}
    assert system["terms"]["total"]["mean"] == 0.53125
    assert system["judge_against_em"] is None
    assert "rewarded: 16 rollouts of 4 questions; correlation of the total with k" in done.err


def test_other_files_need_gold_questions(drag, tmp_path: Path) -> None:
    done = drag("eval", write(tmp_path / "p.jsonl", [prediction(1)]))
    assert (done.code, "give --gold QUESTIONS" in done.err) == (2, True)
    assert drag("eval", "-").code == 2
    for option in (["--study"], ["--scores", tmp_path / "s.jsonl"]):
        done = drag("eval", tmp_path / "p.jsonl", *option)
        assert (done.code, "need --gold QUESTIONS" in done.err) == (2, True)
