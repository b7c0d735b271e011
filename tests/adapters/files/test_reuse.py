"""Finished lines are found by id; `--reuse` is tested as a whole in tests/cli/test_merge.py."""

import json
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.reuse import Reusable, without_shard
from dynamicrag_cli.core.errors import UsageError

WANTED = {"command": "sample", "options": {"shard": "1/8", "seed": 0}, "input": "abc"}


def journal(path: Path, shard: str | None, *lines: str, seed: int = 0) -> Path:
    header = {"fingerprint": {**WANTED, "options": {"shard": shard, "seed": seed}}}
    path.write_text("\n".join([json.dumps(header), *lines]))
    return path


def test_lines_are_given_back_as_they_stand(tmp_path: Path) -> None:
    journal(tmp_path / "a.partial", "1/2", '{"id":"x", "a": 1}', '{"reject":{"line":2}}', '{"id":"y"}', '{"id":"torn"')
    journal(tmp_path / "b.partial", None, '{"id":"x", "a": 2}', '{"id":"z"}', "")
    reusable = Reusable([str(tmp_path / "?.partial")], WANTED)
    assert set(reusable.places) == {"x", "y", "z"}
    assert reusable.line("x") == b'{"id":"x", "a": 1}'
    assert reusable.line("z") == b'{"id":"z"}'
    assert "torn" not in reusable
    reusable.close()


def test_other_settings_are_refused(tmp_path: Path) -> None:
    path = journal(tmp_path / "a.partial", "1/2", '{"id":"x"}', "", seed=1)
    with pytest.raises(UsageError, match=r"options\.seed: 1 -> 0"):
        Reusable([str(path)], WANTED)


def test_the_shard_alone_may_differ() -> None:
    assert without_shard(WANTED) == {"command": "sample", "options": {"seed": 0}, "input": "abc"}
