"""General instructions that are mixed into a cloning run."""

import json
from collections import Counter
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.trainers.mixing import Mix, parse_mix, read_mixes
from dynamicrag_cli.core.errors import InputError, UsageError
from tests.samples import write

ALPACA = [
    {"instruction": "Name three colours.", "input": "", "output": "Red, green, blue."},
    {"instruction": "Turn this into a question.", "input": "It rains.", "output": "Does it rain?", "system": "Be brief."},
]


@pytest.mark.parametrize("name", ["a.json", "a.jsonl"])
def test_alpaca_rows_become_examples(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name == "a.json":
        path.write_text(json.dumps(ALPACA))
    else:
        write(path, ALPACA)
    first, second = read_mixes([Mix(path, None)], 10, 0)
    assert (first.system, first.user, first.assistant) == ("", "Name three colours.", "Red, green, blue.")
    assert (second.system, second.user) == ("Be brief.", "Turn this into a question.\nIt rains.")
    assert first.id != second.id


def test_our_own_examples_can_be_mixed_in(tmp_path: Path) -> None:
    row = {"id": "x", "role": "generator", "system": "S", "user": "U", "assistant": "A"}
    (example,) = read_mixes([Mix(write(tmp_path / "own.jsonl", [row]), None)], 1, 0)
    assert (example.role, example.system, example.user, example.assistant) == ("mix", "S", "U", "A")


def test_a_share_is_that_of_all_examples_and_drawn_by_the_seed(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {number}.", "output": str(number)} for number in range(100)]
    path = write(tmp_path / "a.jsonl", rows)
    drawn = {seed: [example.assistant for example in read_mixes([Mix(path, 0.2)], 80, seed)] for seed in (0, 1)}
    assert len(drawn[0]) == len(drawn[1]) == 20  # 20 beside 80 are a fifth
    assert drawn[0] == [example.assistant for example in read_mixes([Mix(path, 0.2)], 80, 0)]
    assert drawn[0] != drawn[1]
    assert drawn[0] == sorted(drawn[0], key=int)
    with pytest.raises(InputError, match=r"a share of 0.8 of 400 examples is 320 rows, it has 100"):
        read_mixes([Mix(path, 0.8)], 80, 0)


def test_shares_are_of_all_examples_together(tmp_path: Path) -> None:
    rows = [{"instruction": f"Say {number}.", "output": str(number)} for number in range(100)]
    one, two, whole = (write(tmp_path / f"{name}.jsonl", rows) for name in ("one", "two", "whole"))
    mixed = read_mixes([Mix(one, 0.2), Mix(two, 0.3), Mix(whole, None)], 20, 0)
    counts = Counter(example.id.split("-")[0] for example in mixed)
    assert counts == {"one": 48, "two": 72, "whole": 100}  # beside 20 of the run: 240 in all
    for parts in ((0.6, 0.5), (0.7, 0.2, 0.1)):
        with pytest.raises(UsageError, match="add up to 1"):
            read_mixes([Mix(one, part) for part in parts], 20, 0)
    assert len({example.id for example in read_mixes([Mix(whole, None), Mix(whole, None)], 20, 0)}) == 200


def test_what_is_typed(tmp_path: Path) -> None:
    odd = tmp_path / "a:0.5"
    odd.write_text("")
    assert parse_mix("a.json") == Mix(Path("a.json"), None)
    assert parse_mix("a.json:0.25") == Mix(Path("a.json"), 0.25)
    assert parse_mix(str(odd)) == Mix(odd, None)
    assert parse_mix("C:a.json") == Mix(Path("C:a.json"), None)
    for share in ("0", "1", "7"):
        with pytest.raises(UsageError, match="between 0 and 1"):
            parse_mix(f"a.json:{share}")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{", "not a JSON list"),
        ("7", "not a JSON list"),
        ('[{"instruction": "x"}]', "row a-1-1: neither instruction"),
        ('[{"question": "x"}]', "row a-1-1: neither instruction"),
        ('[{"instruction": "x", "output": 3}]', "row a-1-1: neither instruction"),
        ('[{"instruction": 3, "output": "x"}]', "row a-1-1: neither instruction"),
        ('["words"]', "row a-1-1: neither instruction"),
        ('[{"instruction": "x", "output": "y", "history": [["a", "b"]]}]', "row a-1-1: has a history"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, words: str) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=words):
        read_mixes([Mix(tmp_path / "a.json", None)], 1, 0)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read_mixes([Mix(tmp_path / "a.json", None)], 1, 0)
