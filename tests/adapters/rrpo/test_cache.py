"""Answers on the disk."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.rrpo.cache import AnswerCache
from dynamicrag_cli.core.errors import InputError

KEY = ("q-1", "a\x1fb", "reader", "prompt")


def test_answers_outlive_the_process(tmp_path: Path) -> None:
    first = AnswerCache(tmp_path / "new/answers.sqlite")
    assert first.get([KEY]) == {}
    first.put([(KEY, "Ulm"), ((*KEY[:3], "other"), "")])
    first.close()
    second = AnswerCache(tmp_path / "new/answers.sqlite")
    assert second.get([KEY, ("q-2", *KEY[1:])]) == {KEY: "Ulm"}
    assert second.get([(*KEY[:3], "other")]) == {(*KEY[:3], "other"): ""}


@pytest.mark.parametrize("place", range(4))
def test_every_part_of_the_key_counts(tmp_path: Path, place: int) -> None:
    cache = AnswerCache(tmp_path / "answers.sqlite")
    cache.put([(KEY, "Ulm")])
    assert cache.get([(*KEY[:place], "another", *KEY[place + 1 :])]) == {}


def test_two_processes_may_write(tmp_path: Path) -> None:
    one, other = (AnswerCache(tmp_path / "answers.sqlite") for _ in range(2))
    one.put([(KEY, "Ulm")])
    other.put([(KEY, "Ulm"), (("q-2", *KEY[1:]), "Linz")])
    assert len(one.get([KEY, ("q-2", *KEY[1:])])) == 2


def test_a_file_that_is_no_cache_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no base at all" * 100)
    with pytest.raises(InputError, match="give another --cache"):
        AnswerCache(tmp_path / "text")
    with pytest.raises(InputError, match="cannot use the cache"):
        AnswerCache(tmp_path)
