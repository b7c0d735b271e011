"""The journal: whatever a crash leaves of it, the records before the tear are kept and counted."""

import os
from collections import Counter
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.journal import Journal, publish, publish_whole
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Passage, Reject

FINGERPRINT = {"command": "retrieve", "options": {"top-k": 5}, "schema": 1}
A, B, C = (Passage(id=name, title="", text="x") for name in "abc")


def journal_of(path: Path, *outcomes, fingerprint: dict | None = None, fresh: bool = False) -> int:
    journal = Journal(path, fingerprint or FINGERPRINT, fresh=fresh)
    journal.append(outcomes)
    journal.close()
    return journal.n_done


def test_a_second_run_goes_on_after_the_records_of_the_first(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    assert journal_of(path, A, B) == 0
    assert journal_of(path, C) == 2
    assert path.read_bytes().count(b"\n") == 4


def test_every_possible_tear_leaves_the_whole_lines_before_it(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    journal_of(path, A, B)
    whole = path.read_bytes()
    for length in range(len(whole) + 1):
        path.write_bytes(whole[:length])
        assert journal_of(path) == max(whole[:length].count(b"\n") - 1, 0)
        kept = whole[: whole[:length].rfind(b"\n") + 1]
        # A torn header is written anew.
        assert path.read_bytes() == (kept or whole[: whole.index(b"\n") + 1])


def test_another_fingerprint_is_refused_with_the_option_named_and_the_journal_kept(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    journal_of(path, A)
    before = path.read_bytes()
    with pytest.raises(UsageError, match=r"options\.top-k: 5 -> 3(?s:.)*--fresh"):
        journal_of(path, fingerprint={**FINGERPRINT, "options": {"top-k": 3}})
    assert path.read_bytes() == before
    assert journal_of(path, B, fingerprint={**FINGERPRINT, "new": None}) == 1


def test_fresh_throws_the_earlier_run_away(tmp_path: Path) -> None:
    path = tmp_path / "out.partial"
    journal_of(path, A, B)
    assert journal_of(path, C, fingerprint={"other": 1}, fresh=True) == 0
    assert path.read_bytes().splitlines() == [b'{"fingerprint":{"other":1}}', b'{"id":"c","title":"","text":"x"}']


@pytest.mark.parametrize("header", [b"not json\n", b"[1]\n", b"{}\n"])
def test_a_foreign_file_in_the_journals_place_is_left_alone(tmp_path: Path, header: bytes) -> None:
    path = tmp_path / "out.partial"
    path.write_bytes(header)
    with pytest.raises(InputError, match="not a journal"):
        journal_of(path)
    assert path.read_bytes() == header


def test_publish_writes_records_rejects_and_counts(tmp_path: Path) -> None:
    partial, target, rejects = tmp_path / "out.partial", tmp_path / "out.jsonl", tmp_path / "out.rejects.jsonl"
    journal_of(partial, A, Reject(line=2, id=None, reason="why"), B)
    counts, notes = publish(partial, {"": target}, rejects, lambda line: ["short"] if len(line) < 999 else [])
    assert target.read_bytes() == b'{"id":"a","title":"","text":"x"}\n{"id":"b","title":"","text":"x"}\n'
    assert rejects.read_bytes() == b'{"line":2,"id":null,"reason":"why"}\n'
    assert (counts, notes) == (Counter({"": 2, "rejects": 1}), Counter(short=2))
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out.jsonl", "out.partial", "out.rejects.jsonl"]


def test_publish_removes_the_rejects_of_an_earlier_run(tmp_path: Path) -> None:
    partial, target, rejects = tmp_path / "out.partial", tmp_path / "out.jsonl", tmp_path / "out.rejects.jsonl"
    rejects.write_text("old")
    journal_of(partial, A)
    publish(partial, {"": target}, rejects, None)
    assert [path.name for path in tmp_path.iterdir()] == ["out.jsonl", "out.partial"]


def test_publish_deals_records_out_to_several_files(tmp_path: Path) -> None:
    partial = tmp_path / "out.partial"
    journal_of(partial, ("kept", {"one": [A, B], "two": [C]}), ("dropped", {}), Reject(line=0, id="x", reason="why"))
    targets = {"one": tmp_path / "one.jsonl", "two": tmp_path / "two.jsonl"}
    counts, notes = publish(partial, targets, tmp_path / "rejects.jsonl", None)
    assert targets["one"].read_bytes() == b'{"id":"a","title":"","text":"x"}\n{"id":"b","title":"","text":"x"}\n'
    assert targets["two"].read_bytes() == b'{"id":"c","title":"","text":"x"}\n'
    assert (counts, notes) == (Counter(one=2, two=1, rejects=1), Counter(kept=1, dropped=1))


def test_a_journal_of_nothing_but_records_is_published_whole_as_it_is_line_by_line(tmp_path: Path) -> None:
    partial, rejects = tmp_path / "out.partial", tmp_path / "out.rejects.jsonl"
    rejects.write_text("old")
    journal_of(partial, A, B, b'{"id":"made earlier"}')
    publish_whole(partial, tmp_path / "whole.jsonl", rejects)
    publish(partial, {"": tmp_path / "by-line.jsonl"}, rejects, None)
    assert (tmp_path / "whole.jsonl").read_bytes() == (tmp_path / "by-line.jsonl").read_bytes() != b""
    assert sorted(path.name for path in tmp_path.iterdir()) == ["by-line.jsonl", "out.partial", "whole.jsonl"]


@pytest.mark.parametrize("other", [Reject(line=1, id="x", reason="why"), ("note", {"one": [A]}), b'{"reject":{}}'])
def test_a_journal_knows_of_what_is_no_record_also_after_a_restart(tmp_path: Path, other: object) -> None:
    path = tmp_path / "out.partial"
    for outcomes, only_records in (((A, B), True), ((other,), False), ((C,), False)):
        journal = Journal(path, FINGERPRINT, fresh=False)
        journal.append(outcomes)
        assert journal.only_records is only_records
        journal.close()


def test_a_disk_that_fails_in_the_background_stops_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(_number: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    monkeypatch.setattr("dynamicrag_cli.adapters.files.journal._SYNC_S", -1)
    journal = Journal(tmp_path / "out.partial", FINGERPRINT, fresh=False)

    def write_on() -> None:
        for _ in range(1000):
            journal.append([A])

    with pytest.raises(OSError, match="No space"):
        write_on()
    journal.close()
