"""Parts are put together in the order of the input; `drag merge` is tested as a whole in tests/cli."""

import json
from pathlib import Path

from dynamicrag_cli.adapters.files.merging import Tally, merge
from tests.samples import question, write


def merged(folder: Path, parts: list[list[str]], refused: list[int] = []) -> tuple[Tally, list[str]]:  # noqa: B006 - not changed
    source = write(folder / "in.jsonl", (question(number) for number in range(4)))
    files = [write(folder / f"p{place}.jsonl", ({"id": name} for name in names)) for place, names in enumerate(parts)]
    rejects = write(folder / "r.jsonl", ({"line": line, "id": None, "reason": "bad", "record": None} for line in refused))
    tally = merge(files, [rejects], str(source), lambda numbered: numbered, folder / "out", folder / "out.rejects")
    return tally, [json.loads(line)["id"] for line in (folder / "out").read_text().splitlines()]


def test_the_input_gives_the_order(tmp_path: Path) -> None:
    tally, order = merged(tmp_path, [["q-1", "q-3"], ["q-0", "q-2"]])
    assert (tally.whole, tally.n_in, tally.n_out) == (True, 4, 4)
    assert order == ["q-0", "q-1", "q-2", "q-3"]


def test_rejects_count_as_dealt_with(tmp_path: Path) -> None:
    tally, order = merged(tmp_path, [["q-1"], ["q-0", "q-3"]], refused=[3])
    assert (tally.whole, tally.n_out, tally.n_rejected) == (True, 3, 1)
    assert order == ["q-0", "q-1", "q-3"]
    assert json.loads((tmp_path / "out.rejects").read_text())["line"] == 3


def test_what_is_missing_doubled_or_strange_is_named(tmp_path: Path) -> None:
    tally, _ = merged(tmp_path, [["q-0", "q-1"], ["q-1", "q-9"]])
    assert not tally.whole
    assert (tally.missing, tally.doubled, tally.strange) == (["q-2", "q-3"], ["q-1"], ["q-9"])


def test_a_part_in_another_order_is_not_trusted(tmp_path: Path) -> None:
    tally, _ = merged(tmp_path, [["q-1", "q-0"], ["q-2", "q-3"]])
    assert not tally.whole
