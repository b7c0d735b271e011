"""The stage runner: what a killed run leaves is finished by the same command, byte for byte as if nothing had happened."""

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamicrag_cli.cli import rerank_teacher as command
from tests.samples import question, read, write


class Killed(BaseException):
    """The power went."""


def interrupt_after(monkeypatch: pytest.MonkeyPatch, chunks: int, act: Callable[[], None]) -> None:
    """Let the stage do `act` when it is called for the chunk after so many."""
    real, calls = command.label_by_rule, []

    def stage(*arguments):
        calls.append(arguments)
        if len(calls) == chunks + 1:
            act()
        return real(*arguments)

    monkeypatch.setattr(command, "label_by_rule", stage)


def kill() -> None:
    raise Killed


def press_ctrl_c() -> None:
    os.kill(os.getpid(), signal.SIGINT)


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in folder.iterdir() if path.name.startswith("out") and "manifest" not in path.name
    }


def moved(folder: Path, wanted: dict[str, bytes]) -> None:
    for name, data in wanted.items():
        (folder / name).write_bytes(data)


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz"])
def test_any_tear_of_the_journal_gives_the_bytes_of_an_uninterrupted_run(
    tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    assert label(tmp_path / name, "--chunk", 3).code == 0
    wanted = files(tmp_path)
    for path in tmp_path.glob("out*"):
        path.unlink()
    interrupt_after(monkeypatch, 3, kill)
    assert isinstance(label(tmp_path / name, "--chunk", 3).error, Killed)
    monkeypatch.undo()
    (partial,) = files(tmp_path).values()
    assert partial.count(b"\n") == 1 + 9
    for length in [*range(0, len(partial), 499), len(partial) - 1, len(partial)]:
        for path in tmp_path.glob("out*"):
            path.unlink()
        moved(tmp_path, {f"{name}.partial": partial[:length]})
        done = label(tmp_path / name, "--chunk", 3)
        assert done.code == 0, done.err
        assert files(tmp_path) == wanted
        resumed = json.loads((tmp_path / f"{name}.manifest.json").read_text())["counts"]["resumed"]
        assert resumed == max(partial[:length].count(b"\n") - 1, 0)
        assert ("going on after" in done.err) == bool(resumed)


def test_other_settings_do_not_touch_an_unfinished_run_unless_fresh(
    tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(monkeypatch, 2, kill)
    label(tmp_path / "out.jsonl", "--chunk", 2)
    monkeypatch.undo()
    before = files(tmp_path)
    refused = label(tmp_path / "out.jsonl", "--threshold", 0.7)
    assert refused.code == 2
    assert "options.threshold: None -> 0.7" in refused.err
    assert "--fresh" in refused.err
    assert files(tmp_path) == before
    assert label(tmp_path / "out.jsonl", "--threshold", 0.7, "--fresh").code == 0
    assert {r["relevance"]["threshold"] for r in read(tmp_path / "out.jsonl")} == {0.7}


def test_another_input_does_not_touch_an_unfinished_run(tmp_path: Path, label, source, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 2, kill)
    label(tmp_path / "out.jsonl", "--chunk", 2)
    monkeypatch.undo()
    write(source, [question(1)])
    refused = label(tmp_path / "out.jsonl")
    assert (refused.code, "input: " in refused.err) == (2, True)


def test_an_equal_fingerprint_ends_at_once_and_looks_new_to_make(tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch) -> None:
    output, manifest = tmp_path / "out.jsonl", tmp_path / "out.jsonl.manifest.json"
    assert label(output).code == 0
    before = files(tmp_path)
    for path in (output, manifest):
        os.utime(path, (1, 1))
    interrupt_after(monkeypatch, 0, kill)
    done = label(output, "--chunk", 1)
    assert done.code == 0
    assert "up to date" in done.err
    assert files(tmp_path) == before
    assert output.stat().st_mtime > 1
    assert manifest.stat().st_mtime > 1


def test_ctrl_c_finishes_the_chunk_in_hand_and_the_run_goes_on_from_there(
    tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A shell that starts the tests in the background has them ignore Ctrl-C.
    before = signal.getsignal(signal.SIGINT)
    interrupt_after(monkeypatch, 1, press_ctrl_c)
    done = label(tmp_path / "out.jsonl", "--chunk", 2)
    assert done.code == 130
    assert "interrupted after 4 records" in done.err
    assert not (tmp_path / "out.jsonl").exists()
    assert signal.getsignal(signal.SIGINT) is before
    monkeypatch.undo()
    done = label(tmp_path / "out.jsonl")
    assert (done.code, "going on after 4 records" in done.err) == (0, True)
    assert len(read(tmp_path / "out.jsonl")) == 11


def test_ctrl_c_in_the_last_chunk_leaves_a_finished_output(tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 0, press_ctrl_c)
    assert label(tmp_path / "out.jsonl").code == 0
    assert len(read(tmp_path / "out.jsonl")) == 11


def test_ctrl_c_does_not_wait_for_more_of_a_stream(tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 0, press_ctrl_c)
    assert label(tmp_path / "out.jsonl", stdin=json.dumps(question(1)).encode()).code == 130


def test_a_second_ctrl_c_stops_at_once_and_keeps_the_finished_chunks(
    tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(monkeypatch, 1, lambda: (press_ctrl_c(), press_ctrl_c()))
    assert label(tmp_path / "out.jsonl", "--chunk", 2).code == 130
    assert (tmp_path / "out.jsonl.partial").read_bytes().count(b"\n") == 1 + 2


def test_a_scheduler_that_ends_the_job_is_obeyed_like_ctrl_c(tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 1, lambda: os.kill(os.getpid(), signal.SIGTERM))
    done = label(tmp_path / "out.jsonl", "--chunk", 2)
    assert (done.code, "interrupted after 4 records" in done.err) == (130, True)
    monkeypatch.undo()
    assert "going on after 4 records" in label(tmp_path / "out.jsonl").err


def test_two_processes_do_not_write_one_output(tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    interrupt_after(monkeypatch, 1, lambda: seen.append(label(tmp_path / "out.jsonl", "--fresh")))
    assert label(tmp_path / "out.jsonl", "--chunk", 4).code == 0
    assert (seen[0].code, "another drag process" in seen[0].err) == (2, True)
    assert len(read(tmp_path / "out.jsonl")) == 11


def test_an_interrupt_in_the_last_chunk_changes_nothing(tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch) -> None:
    interrupt_after(monkeypatch, 0, press_ctrl_c)
    assert label(tmp_path / "out.jsonl").code == 0
    assert len(read(tmp_path / "out.jsonl")) == 11


def test_an_unfinished_run_from_stdin_is_not_finished_with_other_input(
    tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch
) -> None:
    interrupt_after(monkeypatch, 1, kill)
    label(tmp_path / "out.jsonl", "--chunk", 1, stdin=json.dumps(question(1)).encode() + b"\n" + json.dumps(question(2)).encode())
    monkeypatch.undo()
    done = label(tmp_path / "out.jsonl", stdin=json.dumps(question(7)).encode() + b"\n" + json.dumps(question(8)).encode())
    assert done.code == 2 or [r["id"] for r in read(tmp_path / "out.jsonl")] == ["q-7", "q-8"]


def test_an_output_file_that_is_a_folder_is_refused_before_the_work(
    tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out").mkdir()
    interrupt_after(monkeypatch, 0, kill)
    assert label(tmp_path / "out").code in (2, 4)


def test_a_crash_before_the_manifest_of_a_file_does_not_block_the_next_run(
    tmp_path: Path, label, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr("dynamicrag_cli.cli.runner.write_manifest", lambda *_: kill())
        assert isinstance(label(tmp_path / "out.jsonl").error, Killed)
    assert label(tmp_path / "out.jsonl").code == 0
    assert (tmp_path / "out.jsonl.manifest.json").exists()
