"""The program: help, version, and errors as messages with their exit codes."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from dynamicrag_cli import __version__
from dynamicrag_cli.core import errors
from tests.conftest import ROOT
from tests.samples import question, write


def test_version_goes_to_stdout(drag) -> None:
    done = drag("--version")
    assert (done.code, done.out.decode().strip()) == (0, __version__)


@pytest.mark.parametrize(
    ("arguments", "words"), [(["inferr"], "inferr"), (["index", "--nonsense"], "--nonsense"), (["train", "rl"], "rl")]
)
def test_wrong_words_are_exit_2(drag, arguments: list[str], words: str) -> None:
    done = drag(*arguments)
    assert (done.code, done.out) == (2, b"")
    assert words in done.err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.DragError("w[1]rong"), 1),
        (errors.UsageError("w[1]rong"), 2),
        (errors.MissingExtraError("w[1]rong", "vllm", ImportError("no vllm")), 3),
        (errors.InputError("w[1]rong"), 4),
        (errors.EngineError("w[1]rong"), 5),
        (errors.TooManyRejectsError("w[1]rong"), 6),
        (OSError(28, "w[1]rong", "stdout"), 4),
        (KeyboardInterrupt(), 130),
    ],
    ids=lambda value: type(value).__name__,
)
def test_every_error_has_its_exit_code_and_message(
    drag, monkeypatch: pytest.MonkeyPatch, error: BaseException, code: int
) -> None:
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr("dynamicrag_cli.cli.check.configs.load", fail)
    done = drag("check", "x.yaml")
    assert (done.code, done.error, done.out) == (code, None, b"")
    # Square brackets are text, not markup.
    assert isinstance(error, KeyboardInterrupt) or "w[1]rong" in done.err


def test_what_is_no_message_for_people_stays_a_bug_with_its_traceback(drag, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_arguments, **_options):
        raise OSError("a library's own words")

    monkeypatch.setattr("dynamicrag_cli.cli.check.configs.load", fail)
    assert isinstance(drag("check", "x.yaml").error, OSError)


def test_texts_are_shown_whatever_the_locale(tmp_path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1, question="Where does the Danube 😀 rise?")])
    plain = {**os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run(
        [sys.executable, "-m", "dynamicrag_cli", "show", str(source)], capture_output=True, env=plain, check=False
    )
    assert (done.returncode, "😀" in done.stdout.decode()) == (0, True), done.stderr


def test_a_disk_that_is_full_under_a_stream_is_told_in_one_line(tmp_path) -> None:
    source = write(tmp_path / "in.jsonl", [question(1)])
    call = [sys.executable, "-m", "dynamicrag_cli", "rerank-teacher", str(source), "--teacher", "gold"]
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(call, stdout=full, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=False)
    assert (done.returncode, done.stderr) == (4, b"error: No space left on device\n")


def test_a_missing_library_names_the_extra(drag, tmp_path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vllm", None)
    monkeypatch.delitem(sys.modules, "dynamicrag_cli.adapters.engines.vllm", raising=False)
    done = drag("sample", write(tmp_path / "in.jsonl", [question(1)]), "--model", "m", "--engine", "vllm")
    assert done.code == 3
    assert "pip install 'dynamicrag-cli[vllm]'" in done.err


def test_a_reader_that_goes_away_gets_no_traceback(tmp_path) -> None:
    """`drag … | head -1`."""
    source = write(tmp_path / "in.jsonl", (question(number, question="why? " * 2000) for number in range(200)))
    call = [sys.executable, "-m", "dynamicrag_cli", "rerank-teacher", str(source), "--teacher", "gold"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with process:
        assert process.stdout.readline()
        process.stdout.close()
        messages = process.stderr.read()
    assert process.returncode == 1
    assert messages == b""
