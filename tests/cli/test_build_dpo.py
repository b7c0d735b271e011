"""`drag build-dpo`: pairs, their registry, and why questions gave none."""

import json
from pathlib import Path

import pytest

from tests.samples import read, sampled, write


@pytest.fixture
def source(tmp_path: Path, drag) -> Path:
    given = write(tmp_path / "sampled.jsonl", (sampled(number) for number in range(6)))
    assert drag("reward", given, "-o", tmp_path / "in.jsonl").code == 0
    return tmp_path / "in.jsonl"


def test_best_against_worst_selection_and_right_against_wrong_answer(drag, source: Path, tmp_path: Path) -> None:
    done = drag("build-dpo", source, "-o", tmp_path / "dpo")
    assert done.code == 0, done.err
    for record, rerank, answer in zip(
        *(read(p) for p in (source, tmp_path / "dpo/reranker_dpo.jsonl", tmp_path / "dpo/generator_dpo.jsonl")), strict=True
    ):
        totals = [reward["total"] for reward in record["rewards"]]
        assert rerank["chosen"] == "[2]"
        assert rerank["rejected"] == record["rollouts"][totals.index(min(totals))]["raw"]
        assert rerank["margin"] == pytest.approx(max(totals) - min(totals))
        assert answer["chosen"] == record["answers"][0]
        assert answer["rejected"] in ("Paris", "unknown")
    assert "passages on average: chosen 1.00, rejected" in done.err
    registry = json.loads((tmp_path / "dpo/dataset_info.json").read_text())
    assert {entry["ranking"] for entry in registry.values()} == {True}
    assert registry["reranker_dpo"]["columns"]["chosen"] == "chosen"


def test_a_margin_that_nothing_reaches_leaves_the_reason_in_the_manifest(drag, source: Path, tmp_path: Path) -> None:
    drag("build-dpo", source, "-o", tmp_path / "dpo", "--min-margin", 5)
    assert read(tmp_path / "dpo/reranker_dpo.jsonl") == []
    notes = json.loads((tmp_path / "dpo/manifest.json").read_text())["notes"]
    assert sum(notes.values()) == 6
    assert not any(note.startswith("reranker: kept") for note in notes)
    assert "reranker_dpo" not in json.loads((tmp_path / "dpo/dataset_info.json").read_text())


def test_other_weights_change_the_pairs(drag, source: Path, tmp_path: Path) -> None:
    """By length alone no passage is best and three are worst."""
    drag("build-dpo", source, "-o", tmp_path / "dpo", "--weights", "length=1")
    assert {(r["chosen"], r["rejected"]) for r in read(tmp_path / "dpo/reranker_dpo.jsonl")} == {("None", "[2], [1], [3]")}


def test_wrong_calls(drag, source: Path, tmp_path: Path) -> None:
    assert "Did you mean 'rouge'?" in drag("build-dpo", source, "-o", tmp_path / "dpo", "--weights", "rogue=1").err
    assert drag("build-dpo", tmp_path / "sampled.jsonl", "-o", tmp_path / "dpo").code == 6
