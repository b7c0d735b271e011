"""Shards, merged, are the run without shards; `--reuse` takes over what other shards have finished."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamicrag_cli.cli import rerank_teacher as command
from tests.samples import question, read, script, write

BROKEN = '{"id":"broken"'


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Twenty questions, two broken lines and one id that stands twice."""
    path = write(tmp_path / "in.jsonl", [*(question(number) for number in range(20)), question(3)])
    lines = path.read_text(encoding="utf-8").splitlines()
    path.write_text("\n".join([*lines[:4], BROKEN, *lines[4:], BROKEN]) + "\n", encoding="utf-8")
    return path


@pytest.fixture
def label(drag, source: Path) -> Callable[..., object]:
    def run(output: Path, *more: object):
        return drag("rerank-teacher", source, "-o", output, "--teacher", "answer-match", "--max-reject-rate", 1, *more)

    return run


def shards(label, folder: Path, count: int, *more: object) -> list[Path]:
    parts = [folder / f"part{index}of{count}.jsonl" for index in range(1, count + 1)]
    for index, part in enumerate(parts, start=1):
        assert label(part, "--shard", f"{index}/{count}", *more).code == 0
    return parts


def test_merged_shards_are_the_run_without_shards(tmp_path: Path, drag, label, source: Path) -> None:
    parts = shards(label, tmp_path, 3)
    assert label(tmp_path / "whole.jsonl").code == 0
    done = drag("merge", *parts, "-o", tmp_path / "merged.jsonl", "--against", source, "--max-reject-rate", 1)
    assert done.code == 0, done.err
    assert (tmp_path / "merged.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()
    assert (tmp_path / "merged.rejects.jsonl").read_bytes() == (tmp_path / "whole.rejects.jsonl").read_bytes()
    whole, merged = (json.loads((tmp_path / f"{name}.jsonl.manifest.json").read_text()) for name in ("whole", "merged"))
    for key in ("fingerprint", "kind", "counts", "notes", "moved_to_meta"):
        assert merged[key] == whole[key], key
    assert "up to date" in label(tmp_path / "merged.jsonl").err


def test_what_was_resumed_or_known_is_summed(tmp_path: Path, drag) -> None:
    """Else the seconds of a merged run would be taken for those of a run that asked everything itself."""
    source, fake = write(tmp_path / "in.jsonl", [question(number) for number in range(20)]), script(tmp_path / "fake.json")
    parts = [tmp_path / "1.jsonl", tmp_path / "2.jsonl"]
    for index, part in enumerate(parts, start=1):
        call = ("infer", source, "-o", part, "--engine", "fake", "--model", fake, "--shard", f"{index}/2")
        assert drag(*call, "--cache", tmp_path / "replies.sqlite").code == 0
    assert drag("merge", *parts, "-o", tmp_path / "m.jsonl", "--against", source).code == 0
    one, two, whole = (json.loads(Path(f"{path}.manifest.json").read_text())["counts"] for path in (*parts, tmp_path / "m.jsonl"))
    assert one["cache_misses"] > 0
    assert whole == {name: one[name] + two[name] for name in one}


def test_a_limit_counts_before_shards(tmp_path: Path, drag, label, source: Path) -> None:
    parts = shards(label, tmp_path, 2, "--limit", 7)
    assert drag("merge", *parts, "-o", tmp_path / "m.jsonl", "--against", source, "--max-reject-rate", 1).code == 0
    assert [record["id"] for record in read(tmp_path / "m.jsonl")] == [f"q-{number}" for number in range(6)]


def test_a_missing_part_is_told_and_nothing_is_written(tmp_path: Path, drag, label, source: Path) -> None:
    first, *others = shards(label, tmp_path, 3)
    done = drag("merge", *others, "-o", tmp_path / "m.jsonl", "--against", source)
    assert done.code == 4
    assert f"{len(read(first))} missing" in done.err.replace(" line ", " ") or "missing: " in done.err
    assert all(record["id"] in done.err for record in read(first)[:5])
    assert not list(tmp_path.glob("m.*"))


def test_a_part_given_twice_is_told(tmp_path: Path, drag, label, source: Path) -> None:
    parts = shards(label, tmp_path, 2)
    done = drag("merge", *parts, parts[0], "-o", tmp_path / "m.jsonl", "--against", source)
    assert (done.code, "in several parts: " in done.err) == (4, True)
    assert not (tmp_path / "m.jsonl").exists()


def test_what_does_not_belong_together_is_refused(tmp_path: Path, drag, label, source: Path) -> None:
    one, two = shards(label, tmp_path, 2)
    assert label(tmp_path / "other.jsonl", "--shard", "2/2", "--threshold", 0.7).code == 0
    arguments = ("-o", tmp_path / "m.jsonl", "--against")
    done = drag("merge", one, tmp_path / "other.jsonl", *arguments, source)
    assert (done.code, "options.threshold: None -> 0.7" in done.err) == (2, True)
    done = drag("merge", one, two, *arguments, write(tmp_path / "another.jsonl", [question(1)]))
    assert (done.code, "is not the file" in done.err) == (4, True)
    done = drag("merge", one, source, *arguments, source)
    assert (done.code, "no output of drag" in done.err) == (4, True)
    done = drag("merge", one, two, "-o", one, "--against", source)
    assert (done.code, "both input and output" in done.err) == (2, True)
    assert drag("rerank-teacher", source, "-o", tmp_path / "x", "--teacher", "gold", "--shard", "3/2").code == 2


def count_calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    real, seen = command.label_by_rule, []

    def stage(records, *more):
        seen.extend(record.id for record in records)
        return real(records, *more)

    monkeypatch.setattr(command, "label_by_rule", stage)
    return seen


def test_another_number_of_shards_reuses_what_is_finished(tmp_path: Path, drag, label, source, monkeypatch) -> None:
    one, two = shards(label, tmp_path, 2)
    finished = {record["id"] for record in read(one)}
    (tmp_path / "part2of2.jsonl.manifest.json").unlink()
    two.unlink()
    seen = count_calls(monkeypatch)
    parts = shards(label, tmp_path, 3, "--reuse", tmp_path / "part?of2.jsonl")
    assert set(seen) == {f"q-{number}" for number in range(20)} - finished
    monkeypatch.undo()
    assert label(tmp_path / "whole.jsonl").code == 0
    assert drag("merge", *parts, "-o", tmp_path / "m.jsonl", "--against", source, "--max-reject-rate", 1).code == 0
    assert (tmp_path / "m.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_an_unfinished_journal_is_reused(tmp_path: Path, label, monkeypatch) -> None:
    assert label(tmp_path / "whole.jsonl").code == 0
    real = command.label_by_rule

    def stop(records, *more):
        if any(record.id == "q-12" for record in records):
            raise KeyboardInterrupt
        return real(records, *more)

    monkeypatch.setattr(command, "label_by_rule", stop)
    label(tmp_path / "old.jsonl", "--chunk", 4)
    monkeypatch.undo()
    partial = tmp_path / "old.jsonl.partial"
    partial.write_bytes(partial.read_bytes()[:-30])
    kept = {json.loads(line)["id"] for line in partial.read_bytes().splitlines()[1:-1] if not line.startswith(b'{"reject"')}
    assert kept
    seen = count_calls(monkeypatch)
    assert label(tmp_path / "new.jsonl", "--reuse", partial).code == 0
    assert set(seen) == {f"q-{number}" for number in range(20)} - kept
    assert (tmp_path / "new.jsonl").read_bytes() == (tmp_path / "whole.jsonl").read_bytes()


def test_only_the_same_run_is_reused(tmp_path: Path, label, source: Path) -> None:
    assert label(tmp_path / "old.jsonl").code == 0
    refused = label(tmp_path / "new.jsonl", "--threshold", 0.7, "--reuse", tmp_path / "old.jsonl")
    assert (refused.code, "options.threshold: None -> 0.7" in refused.err) == (2, True)
    assert label(tmp_path / "new.jsonl", "--reuse", tmp_path / "nowhere*").code == 4
    assert label(tmp_path / "new.jsonl", "--reuse", source).code == 4
    assert label(tmp_path / "old.jsonl.gz").code == 0
    refused = label(tmp_path / "new.jsonl", "--reuse", tmp_path / "old.jsonl.gz")
    assert (refused.code, "unpack it" in refused.err) == (4, True)
    assert not (tmp_path / "new.jsonl").exists()
