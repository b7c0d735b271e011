"""What could not be used is named where a person looks."""

from pathlib import Path

import pytest

from dynamicrag_cli.cli.rejects import rejects_path
from tests.samples import question, read, write


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.gz", "out.jsonl.zst", "out"])
def test_the_file_of_rejects(name: str) -> None:
    assert rejects_path(Path("run") / name) == Path("run/out.rejects.jsonl")


def test_the_first_reason_and_the_file_are_told(tmp_path: Path, drag) -> None:
    source = write(tmp_path / "in.jsonl", [{"id": "p1", "text": "A passage."}, question(2)])
    done = drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", "gold")
    assert done.code == 6
    assert "the first, line 1: Object missing required field `question`" in done.err
    assert done.err.endswith(f"see {tmp_path / 'out.rejects.jsonl'}\n")
    # A second call has nothing to do, and says as much of them.
    again = drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", "gold")
    assert (again.code, again.err.endswith(f"see {tmp_path / 'out.rejects.jsonl'}\n")) == (6, True)


def test_of_a_folder_it_is_the_file_in_it(tmp_path: Path, drag) -> None:
    done = drag("build-bc", write(tmp_path / "in.jsonl", [question(1)]), "-o", tmp_path / "bc")
    assert (done.code, done.err.endswith(f"see {tmp_path / 'bc/rejects.jsonl'}\n")) == (6, True), done.err
    assert len(read(tmp_path / "bc/rejects.jsonl")) == 1


def test_a_stream_has_no_such_file(tmp_path: Path, drag) -> None:
    done = drag("rerank-teacher", "-", "--teacher", "gold", stdin=b"{}")
    assert (done.code, "None" in done.err) == (6, False)
