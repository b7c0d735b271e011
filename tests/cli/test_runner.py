"""The stage runner: what a stage writes, counts and refuses."""

import gzip
import json
import random
from pathlib import Path

import pytest

from tests.samples import BROKEN, question, read, script, write


def test_the_output_its_rejects_and_its_manifest(tmp_path: Path, label, source: Path) -> None:
    done = label(tmp_path / "out.jsonl")
    assert done.code == 0, done.err
    assert done.out == b""
    assert [r["id"] for r in read(tmp_path / "out.jsonl")] == [f"q-{i}" for i in range(11)]
    (reject,) = read(tmp_path / "out.rejects.jsonl")
    assert (reject["line"], reject["id"], reject["record"]) == (5, None, BROKEN)
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["kind"] == "LabelledQuestion"
    assert manifest["counts"] == {"in": 12, "out": 11, "rejected": 1, "resumed": 0}
    assert manifest["fingerprint"]["command"] == "rerank-teacher"
    assert manifest["fingerprint"]["options"]["teacher"] == "answer-match"
    assert "chunk" not in manifest["fingerprint"]["options"]
    assert not list(tmp_path.glob("*.partial"))
    assert "12 in, 11 out" in done.err


def test_the_chunk_size_changes_nothing_in_the_output(tmp_path: Path, label) -> None:
    outputs = []
    for chunk in (1, 4, 256):
        assert label(tmp_path / f"out{chunk}.jsonl", "--chunk", chunk).code == 0
        outputs.append((tmp_path / f"out{chunk}.jsonl").read_bytes())
    assert outputs[0] == outputs[1] == outputs[2]


def test_a_finished_output_is_made_anew_for_another_fingerprint_or_fresh(tmp_path: Path, label, source: Path) -> None:
    output = tmp_path / "out.jsonl"
    label(output)
    for change in (lambda: ["--limit", 3], lambda: write(source, [question(i) for i in range(2)]) and [], lambda: ["--fresh"]):
        done = label(output, *change())
        assert done.code == 0
        assert "up to date" not in done.err
    assert [r["id"] for r in read(output)] == ["q-0", "q-1"]


def test_json_tells_start_and_end_on_stdout(tmp_path: Path, label) -> None:
    start, end = (json.loads(line) for line in label(tmp_path / "out.jsonl", "--json").out.splitlines())
    assert (start["event"], start["command"], start["resumed"]) == ("start", "rerank-teacher", 0)
    assert (end["event"], end["counts"]["out"], end["output"]) == ("end", 11, str(tmp_path / "out.jsonl"))
    (again,) = (json.loads(line) for line in label(tmp_path / "out.jsonl", "--json").out.splitlines())
    assert (again["event"], again["counts"]["out"]) == ("up to date", 11)
    refused = label("-", "--json")
    assert (refused.code, refused.out) == (2, b"")


def test_ten_thousand_mutated_lines_are_accounted_for(tmp_path: Path, drag) -> None:
    """Fuzzing: no traceback, and every line that is not blank is in the output or among the rejects."""
    dice = random.Random(7)
    good = [json.dumps(question(number), ensure_ascii=False).encode() for number in range(10_000)]
    mutated = [mutate(line, dice) for line in good]
    (tmp_path / "in.jsonl").write_bytes(b"\n".join(mutated) + b"\n")
    done = drag(
        "rerank-teacher", tmp_path / "in.jsonl", "-o", tmp_path / "out.jsonl", "--teacher", "gold", "--max-reject-rate", 1
    )
    assert (done.code, done.error) == (0, None)
    n_lines = sum(1 for line in (tmp_path / "in.jsonl").read_bytes().split(b"\n") if line.strip())
    n_out, n_rejected = ((tmp_path / f"out.{name}").read_bytes().count(b"\n") for name in ("jsonl", "rejects.jsonl"))
    assert n_out + n_rejected == n_lines
    assert min(n_out, n_rejected) > 1000


def mutate(line: bytes, dice: random.Random) -> bytes:
    """A line with a few random bytes changed, cut, doubled or put in; it may become several lines."""
    data = bytearray(line)
    for _ in range(dice.randint(0, 3)):
        place = dice.randrange(len(data))
        match dice.randrange(5):
            case 0:
                data[place] = dice.randrange(256)
            case 1:
                del data[place : place + dice.randint(1, 20)]
            case 2:
                data[place:place] = dice.choice(
                    [b"\x00", b"\xff", b"\xed\xa0\x80", b"\r", b"\n", b"NaN", b"[" * 50, b'"', b"\\u0000"]
                )
            case 3:
                data[place:place] = data[: dice.randint(1, 40)]
            case 4:
                data = data[: place + 1]
    return bytes(data)


def test_standard_streams_carry_records_and_nothing_else(label) -> None:
    lines = [json.dumps(question(1)), BROKEN, json.dumps(question(2))]
    done = label("-", stdin="\n".join(lines).encode())
    assert done.code == 0
    assert [json.loads(line)["id"] for line in done.out.splitlines()] == ["q-1", "q-2"]
    assert "rejected: line 2" in done.err


def test_stdin_into_a_compressed_file(tmp_path: Path, label) -> None:
    assert label(tmp_path / "out.jsonl.gz", stdin=json.dumps(question(1)).encode()).code == 0
    assert json.loads(gzip.decompress((tmp_path / "out.jsonl.gz").read_bytes()))["id"] == "q-1"


def test_too_many_rejects_are_exit_6_with_all_files_written(tmp_path: Path, drag, source: Path) -> None:
    done = drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--teacher", "gold", "--max-reject-rate", 0.05)
    assert done.code == 6
    assert "1 of 12 records were rejected" in done.err
    assert len(read(tmp_path / "out.jsonl")) == 11
    assert (tmp_path / "out.jsonl.manifest.json").exists()
    streamed = drag("rerank-teacher", "-", "--teacher", "gold", stdin=BROKEN.encode())
    assert (streamed.code, streamed.out) == (6, b"")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["{in}", "-o", "{tmp}/o", "--teacher", "golld"], 2, "Did you mean 'gold'?"),
        (["{in}", "-o", "{tmp}/o", "--teacher", "monot5"], 2, "needs --model"),
        (["{in}", "-o", "{in}", "--teacher", "gold"], 2, "both input and output"),
        (["{in}", "--nonsense"], 2, "--nonsense"),
        (["{tmp}/nowhere.jsonl", "-o", "{tmp}/o", "--teacher", "gold"], 4, "no such file"),
        (["{tmp}", "-o", "{tmp}/o", "--teacher", "gold"], 4, "is a folder"),
        (["{in}", "-o", "/proc/nowhere/o", "--teacher", "gold"], 4, "cannot write"),
        (["{in}", "-o", "{tmp}/o", "--teacher", "bi-encoder", "--model", "{tmp}/no-model"], 4, "no such encoder folder"),
    ],
)
def test_exit_codes_of_wrong_calls(tmp_path: Path, drag, source: Path, arguments: list[str], code: int, words: str) -> None:
    done = drag("rerank-teacher", *(a.format(tmp=tmp_path, **{"in": source}) for a in arguments))
    assert (done.code, done.error) == (code, None)
    assert words in done.err
    assert done.out == b""
    assert not (tmp_path / "o").exists()


def test_an_output_of_another_kind_is_refused_by_its_manifest(tmp_path: Path, drag, label) -> None:
    assert label(tmp_path / "labelled.jsonl").code == 0
    done = drag("build-dpo", tmp_path / "labelled.jsonl", "-o", tmp_path / "pairs")
    assert done.code == 4
    assert "holds LabelledQuestion records, and drag build-dpo wants RewardedQuestion records" in done.err
    assert not (tmp_path / "pairs").exists()


@pytest.mark.parametrize(("text", "options"), [("", []), (json.dumps(question(1)), ["--split", "test"])])
def test_that_nothing_was_read_is_told(tmp_path: Path, drag, text: str, options: list[str]) -> None:
    source, fake = tmp_path / "in.jsonl", script(tmp_path / "fake.json")
    source.write_text(text)
    done = drag("infer", source, "-o", tmp_path / "out.jsonl", "--engine", "fake", "--model", fake, *options)
    assert (done.code, read(tmp_path / "out.jsonl")) == (0, [])
    assert "in.jsonl has no record for this call" in done.err


def test_a_folder_stage_writes_its_files_rejects_and_registry(tmp_path: Path, drag, source: Path) -> None:
    assert drag("rerank-teacher", source, "-o", tmp_path / "l.jsonl", "--teacher", "gold", "--max-reject-rate", 1).code == 0
    with (tmp_path / "l.jsonl").open("a") as file:
        file.write(BROKEN + "\n")
    done = drag("build-bc", tmp_path / "l.jsonl", "-o", tmp_path / "bc", "--max-reject-rate", 1)
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "bc/manifest.json").read_text())
    assert sum(manifest["notes"].values()) == manifest["counts"]["in"] - 1 == 11
    assert manifest["kind"]["reranker_bc"] == "ChatExample"
    for stem, count in manifest["counts"]["out"].items():
        assert len(read(tmp_path / f"bc/{stem}.jsonl")) == count
    assert len(read(tmp_path / "bc/rejects.jsonl")) == 1
    assert drag("build-bc", tmp_path / "l.jsonl", "-o", tmp_path / "bc", "--max-reject-rate", 1).err.endswith("is up to date\n")
    assert drag("build-bc", tmp_path / "l.jsonl", "-o", tmp_path / "bc").code == 6
    assert drag("build-bc", tmp_path / "l.jsonl", "-o", "-").code in (2, 4)


def test_a_call_that_failed_before_its_first_record_does_not_block_the_corrected_one(tmp_path: Path, drag, source: Path) -> None:
    """A typo in --model is the commonest mistake there is."""
    fake = script(tmp_path / "fake.json")
    output = tmp_path / "out.jsonl"
    assert drag("infer", source, "-o", output, "--engine", "fake", "--model", tmp_path / "typo.json").code == 4
    assert drag("infer", source, "-o", output, "--engine", "fake", "--model", fake, "--max-reject-rate", 1).code == 0


def test_a_record_that_the_stage_rejects_is_filed_under_its_line(tmp_path: Path, drag) -> None:
    records = [question(1), question(2, gold_passage_ids=None)]
    drag("rerank-teacher", write(tmp_path / "in.jsonl", records), "-o", tmp_path / "out.jsonl", "--teacher", "gold")
    (reject,) = read(tmp_path / "out.rejects.jsonl")
    assert reject["id"] == "q-2"
    assert reject["line"] == 2


def test_an_output_folder_that_is_a_file_is_refused(tmp_path: Path, drag, source: Path) -> None:
    drag("rerank-teacher", source, "-o", tmp_path / "l.jsonl", "--teacher", "gold", "--max-reject-rate", 1)
    (tmp_path / "bc").write_text("mine")
    assert drag("build-bc", tmp_path / "l.jsonl", "-o", tmp_path / "bc").code in (2, 4)


def test_a_crash_before_the_manifest_of_a_folder_does_not_block_the_next_run(
    tmp_path: Path, drag, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full_disk(*_arguments: object) -> None:
        raise OSError(28, "No space left on device")

    drag("rerank-teacher", source, "-o", tmp_path / "l.jsonl", "--teacher", "gold", "--max-reject-rate", 1)
    with monkeypatch.context() as patch:
        patch.setattr("dynamicrag_cli.cli.runner.write_manifest", full_disk)
        assert drag("build-bc", tmp_path / "l.jsonl", "-o", tmp_path / "bc").code != 0
    assert drag("build-bc", tmp_path / "l.jsonl", "-o", tmp_path / "bc").code == 0
