"""A key from the environment reaches no file and no message, also when the server repeats it or the run breaks."""

from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines import openai as module
from tests.loopback import error, texts
from tests.samples import question, write

KEY = "sk-test-9f3a0c77e1"


@pytest.fixture
def served(drag, loopback, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """`drag sample` over the endpoint; gives the run and the bytes of every file that it has left."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setattr(module, "_RETRIES", 1)
    source = write(tmp_path / "in.jsonl", [question(number) for number in range(6)])

    def run(*extra: object):
        call = ("sample", source, "-o", tmp_path / "out/s.jsonl", "--model", "m", "--engine", "openai", "--rollouts", "1")
        done = drag(*call, "--base-url", loopback.url, *extra)
        return done, {path.name: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}

    return run


def assert_clean(done, files: dict[str, bytes], *expected: str) -> None:
    assert {*expected} <= {*files}
    assert KEY.encode() not in done.out
    assert KEY not in done.err
    assert [name for name, content in files.items() if KEY.encode() in content] == []


def test_a_run_that_ends_well(served, loopback) -> None:
    loopback.answers = [texts("[1]")]
    done, files = served()
    assert done.code == 0, done.err
    assert loopback.requests[0]["headers"]["authorization"] == f"Bearer {KEY}"
    assert_clean(done, files, "s.jsonl", "s.jsonl.manifest.json")


def test_a_server_that_repeats_the_key_in_every_refusal(served, loopback) -> None:
    loopback.answers = [error(400, f"What is {KEY}?")]
    done, files = served()
    assert len(loopback.requests) >= 6
    assert_clean(done, files, "s.jsonl")
    assert b"***" in b"".join(files.values())


def test_a_server_that_repeats_the_key_when_it_refuses_it(served, loopback) -> None:
    loopback.answers = [error(401, f"Incorrect API key provided: {KEY}")]
    done, files = served()
    assert done.code == 5
    assert "***" in done.err
    assert_clean(done, files)
    # No question was lost by it: with a right key the same command answers all.
    loopback.answers = [texts("[1]")]
    done, files = served()
    assert done.code == 0
    assert files["s.jsonl"].count(b"\n") == 6


def test_a_run_that_is_cut_off_leaves_a_journal_without_it(served, loopback, monkeypatch: pytest.MonkeyPatch) -> None:
    calls = iter(range(99))
    whole = module.OpenAiEngine.chat

    def chat(self, requests, options):
        if next(calls) >= 4:
            raise KeyboardInterrupt
        return whole(self, requests, options)

    monkeypatch.setattr(module.OpenAiEngine, "chat", chat)
    loopback.answers = [texts("[1]")]
    done, files = served("--chunk", 1)
    assert done.code != 0
    assert_clean(done, files, "s.jsonl.partial")


def test_a_server_that_is_not_there(served, loopback) -> None:
    done, files = served("--base-url", "http://127.0.0.1:9/v1")
    assert done.code == 5
    assert_clean(done, files)
