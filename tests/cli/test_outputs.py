"""Documents are written whole, and never over something else."""

import gzip
import os
from pathlib import Path

import pytest
import zstandard

from dynamicrag_cli.cli.outputs import check_output, write_whole
from dynamicrag_cli.core.errors import InputError, UsageError
from tests.samples import prediction, question, read, write


def test_what_is_no_file_or_not_there_yet_may_be_written(tmp_path: Path) -> None:
    for output in (None, "-", tmp_path / "new.json"):
        check_output(output, [tmp_path])


def test_a_folder_a_pipe_and_an_input_are_no_output(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "in.jsonl").write_text("mine")
    (tmp_path / "link.jsonl").symlink_to("in.jsonl")
    for output, words in ((tmp_path, "is a folder"), (tmp_path / "pipe", "redirect"), (tmp_path / "link.jsonl", "both input")):
        with pytest.raises(UsageError, match=words):
            check_output(output, [None, tmp_path / "nowhere", tmp_path / "in.jsonl"])


@pytest.mark.parametrize(
    ("name", "unpack"), [("a.json", bytes), ("a.json.gz", gzip.decompress), ("a.json.zst", zstandard.decompress)]
)
def test_a_document_is_packed_as_its_name_says(tmp_path: Path, name: str, unpack) -> None:
    write_whole(tmp_path / name, "{}")
    assert unpack((tmp_path / name).read_bytes()) == b"{}"


def test_a_name_that_promises_another_packing_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"as \.gz or \.zst"):
        check_output(tmp_path / "out.jsonl.bz2", [])
    check_output(tmp_path / "out.jsonl.gz", [])


def test_a_document_replaces_the_old_one_and_makes_its_folder(tmp_path: Path) -> None:
    path = tmp_path / "new/report.json"
    for text in ("old", "néw"):
        write_whole(path, text)
    assert path.read_bytes() == "néw".encode()
    assert [*path.parent.iterdir()] == [path]


def test_a_document_that_cannot_be_written_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "report.json"
    write_whole(path, "old")

    def full_disk(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full_disk)
    with pytest.raises(InputError, match="No space left"):
        write_whole(path, "new")
    assert (path.read_text(), [*tmp_path.iterdir()]) == ("old", [path])


@pytest.mark.parametrize(
    "options",
    [["-o", "{predictions}"], ["--scores", "{predictions}"], ["-o", "{gold}"], ["--scores", "{gold}"], ["-o", "{tmp}"]],
    ids=" ".join,
)
def test_eval_does_not_write_over_what_it_reads(tmp_path: Path, drag, options: list[str]) -> None:
    predictions = write(tmp_path / "sft.jsonl", [prediction(1)])
    gold = write(tmp_path / "questions.jsonl", [question(1)])
    given = [word.format(predictions=predictions, gold=gold, tmp=tmp_path) for word in options]
    done = drag("eval", predictions, "--gold", gold, *given)
    assert (done.code, done.out) == (2, b"")
    assert (read(predictions), read(gold)) == ([prediction(1)], [question(1)])


def test_eval_does_not_write_scores_over_its_report(tmp_path: Path, drag) -> None:
    predictions = write(tmp_path / "sft.jsonl", [prediction(1)])
    report = tmp_path / "report.json"
    report.write_text("{}")
    assert drag("eval", predictions, "--gold", predictions, "-o", report, "--scores", report).code == 2


def test_a_page_and_an_audit_are_no_folders(tmp_path: Path, drag) -> None:
    write(tmp_path / "candidates.jsonl", [question(1)])
    for call in (["report", tmp_path], ["audit", tmp_path, "--model", tmp_path]):
        done = drag(*call, "-o", tmp_path)
        assert (done.code, done.error) == (2, None), done.err
