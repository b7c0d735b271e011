"""TREC files, whole."""

from pathlib import Path

from dynamicrag_cli.adapters.files.trec import grouped, passages
from dynamicrag_cli.core.exchange.trec import parse_qrels_line
from tests.samples import write


def test_lines_of_a_question_may_stand_anywhere_and_wrong_ones_are_told(tmp_path: Path) -> None:
    path = tmp_path / "qrels"
    path.write_text("a 0 x 1\nb 0 x 0\na 0 y 2\nnonsense\na 0 x 1\n")
    found, rejected = grouped(str(path), parse_qrels_line)
    assert found == {"a": {"x": 1.0, "y": 2.0}, "b": {"x": 0.0}}
    assert [reject.line for reject in rejected] == [4, 5]
    assert "stands twice" in rejected[1].reason


def test_only_the_wanted_passages_are_kept(tmp_path: Path) -> None:
    path = write(tmp_path / "p.jsonl", [{"id": name, "text": "x"} for name in "abc"])
    assert [*passages(str(path), {"a", "c", "z"})] == ["a", "c"]
