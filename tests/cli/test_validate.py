"""`drag validate`: all problems of a file of records, and what is in it."""

import gzip
import json
import os
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
import zstandard

from tests.conftest import ROOT
from tests.samples import prediction, question, sampled, write

BAD = [
    question(1),
    question(2, split="tset", answers=["x", 5]),
    question(1),
    {"id": "q-3", "docs": []},
    question(4, docs=[], gold_passage_ids=[]),
    question(5, topic="rivers"),
]
TOLD = [
    "error: line 2 (q-2) answers[1]: Expected `str`, got `int`",
    "error: line 2 (q-2) split: Invalid enum value 'tset'",
    "error: line 3 (q-1) id: the id 'q-1' was met before",
    "error: line 4 (q-3) question: the field is missing",
    "warning: line 5 (q-4) docs: there are no candidates",
    "error: line 7: JSON is malformed: invalid character (byte 0)",
]


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = write(tmp_path / "bad.jsonl", BAD)
    with path.open("ab") as file:
        file.write(b"what?\n")
    return path


def test_every_problem_has_its_line_on_stdout(drag, bad: Path) -> None:
    done = drag("validate", bad)
    assert (done.code, done.error) == (4, None)
    assert done.out.decode().splitlines() == TOLD
    assert "read as RetrievedQuestion, guessed" in done.err
    assert done.err.endswith("bad.jsonl: 5 error(s), 1 warning(s)\n")


def test_the_summary_counts_problems_and_records_on_stderr(drag, bad: Path) -> None:
    told = [" ".join(row.split()) for row in drag("validate", bad).err.splitlines()]
    expected = [
        "problem field count",
        "error duplicate id id 1",
        "error wrong value answers[] 1",
        "warning no candidates docs 1",
        "RetrievedQuestion records 3 usable of 7 lines",
        "duplicate ids 1",
        "unknown fields, kept in meta topic (1)",
        "by dataset qa (3)",
        "by split train (3)",
    ]
    assert [row for row in expected if row not in told] == []


def test_a_program_reads_one_json_document(drag, bad: Path) -> None:
    done = drag("validate", bad, "--json", "--max-problems", 2)
    assert done.code == 4
    document = json.loads(done.out)
    assert [(p["line"], p["id"], p["field"], p["sort"], p["severity"]) for p in document["problems"]] == [
        (2, "q-2", "answers[1]", "wrong value", "error"),
        (2, "q-2", "split", "wrong value", "error"),
    ]
    expected = {"kind": "RetrievedQuestion", "ok": False, "lines": 7, "records": 3, "duplicates": 1, "errors": 5, "warnings": 1}
    assert {name: document[name] for name in expected} == expected
    assert document["not_listed"] == 4
    assert {"severity": "error", "sort": "duplicate id", "field": "id", "count": 1} in document["counts"]
    assert sum(entry["count"] for entry in document["counts"]) == 6
    assert document["moved_to_meta"] == {"topic": 1}
    assert document["by"] == {"dataset": {"qa": 3}, "split": {"train": 3}}


@pytest.mark.parametrize("shown", [0, 3, 6, 99])
def test_only_so_many_problems_are_listed_and_the_others_counted(drag, bad: Path, shown: int) -> None:
    done = drag("validate", bad, "--max-problems", shown)
    assert done.out.decode().splitlines() == TOLD[:shown]
    rest = max(len(TOLD) - shown, 0)
    assert (f"{rest} more problems are not listed" in done.err) == bool(rest)
    assert "5 error(s), 1 warning(s)" in done.err


def test_a_clean_file_is_exit_0_and_silent_on_stdout(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", [question(number) for number in range(30)])
    done = drag("validate", path)
    assert (done.code, done.out) == (0, b"")
    assert done.err.endswith("in.jsonl: ok\n")
    assert json.loads(drag("validate", path, "--json").out)["ok"] is True


def test_warnings_alone_are_exit_0_unless_strict(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", [question(1, answers=[])])
    done = drag("validate", path)
    assert (done.code, done.out.startswith(b"warning: line 1 (q-1) answers: ")) == (0, True)
    assert "ok, 0 error(s), 1 warning(s)" in done.err
    strict = drag("validate", path, "--strict", "--json")
    assert (strict.code, json.loads(strict.out)["ok"]) == (4, False)


@pytest.mark.parametrize("name", ["in.jsonl", "in.jsonl.gz", "in.jsonl.zst", "-"])
def test_all_forms_of_a_file_are_read(drag, tmp_path: Path, name: str) -> None:
    content = write(tmp_path / "plain.jsonl", [question(number) for number in range(30)] + [{"id": "x"}]).read_bytes()
    packed = {"in.jsonl.gz": gzip.compress, "in.jsonl.zst": zstandard.ZstdCompressor().compress}.get(name, lambda data: data)
    path = tmp_path / name
    if name != "-":
        path.write_bytes(packed(content))
    done = drag("validate", "-" if name == "-" else path, stdin=content)
    assert done.code == 4
    assert {row.split(":")[1] for row in done.out.decode().splitlines()} == {" line 31 (x) question", " line 31 (x) docs"}


@pytest.mark.parametrize("record", [question(1), sampled(1), prediction(1), {"id": "p", "text": "x"}])
def test_another_record_can_be_named(drag, tmp_path: Path, record: dict) -> None:
    done = drag("validate", write(tmp_path / "in.jsonl", [record]), "--as", "ChatExample")
    assert (done.code, b"assistant: the field is missing" in done.out) == (4, True)
    assert "guessed" not in done.err


def test_a_typo_in_the_name_of_the_record(drag, bad: Path) -> None:
    done = drag("validate", bad, "--as", "Pasage")
    assert (done.code, done.out) == (2, b"")
    assert "Did you mean 'Passage'?" in " ".join(done.err.split())


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "holds no line"),
        (b"\n \n", "holds no line"),
        (b'[{"id": "a", "text": "x"}]', "expected JSON lines"),
        (b'{"foo": 1}\n', "--as RECORD"),
    ],
)
def test_lines_that_look_like_no_record(drag, tmp_path: Path, content: bytes, words: str) -> None:
    (tmp_path / "in.jsonl").write_bytes(content)
    done = drag("validate", tmp_path / "in.jsonl")
    assert (done.code, done.error, done.out) == (4, None, b"")
    assert words in done.err


def test_files_that_cannot_be_read(drag, tmp_path: Path) -> None:
    assert "no such file" in drag("validate", tmp_path / "nowhere.jsonl").err
    assert "is a folder" in drag("validate", tmp_path).err
    (tmp_path / "in.jsonl.gz").write_bytes(b"no gzip at all")
    done = drag("validate", tmp_path / "in.jsonl.gz")
    assert (done.code, done.error, "damaged" in done.err) == (4, None, True)


@pytest.mark.parametrize("arguments", [[], ["--json"]])
def test_what_stands_before_the_damage_of_a_file_is_looked_at_too(drag, tmp_path: Path, arguments: list[str]) -> None:
    plain = write(tmp_path / "plain.jsonl", [question(number, noise=os.urandom(2000).hex()) for number in range(60)] * 2)
    whole = gzip.compress(plain.read_bytes())
    (tmp_path / "in.jsonl.gz").write_bytes(whole[: len(whole) * 3 // 4])
    done = drag("validate", tmp_path / "in.jsonl.gz", "--max-problems", 1, *arguments)
    assert (done.code, done.error) == (4, None)
    assert "the id 'q-0' was met before" in done.out.decode()
    assert "the compressed file is damaged after line" in done.out.decode()
    if arguments:
        assert json.loads(done.out)["problems"][-1]["sort"] == "damaged file"


def test_texts_of_the_file_are_neither_markup_nor_obeyed(drag, tmp_path: Path) -> None:
    evil = "\x1b]0;owned\x07[red]\u202e\nx"
    records = [question(1, id=evil), question(2, id=evil), question(3, split=evil), question(4, **{evil: 1}), sampled(5)]
    records[-1]["rollouts"][0][evil] = 1
    path = write(tmp_path / "in.jsonl", records)
    done = drag("validate", path, "--as", "SampledQuestion")
    assert "error: line 1 (]0;owned[red] x) rollouts: the field is missing\n" in done.out.decode()
    assert "error unknown field rollouts[].]0;owned[red] x 1" in " ".join(done.err.split())
    program = drag("validate", path, "--as", "SampledQuestion", "--json")
    assert json.loads(program.out)["problems"][0]["id"] == evil
    for text in (done.out.decode(), done.err, program.out.decode(), program.err):
        assert not {*text} & {*"\x1b\x07\u202e"}


def test_a_file_is_never_held_in_memory(drag, tmp_path: Path) -> None:
    path = write(tmp_path / "in.jsonl", ({"id": str(number), "title": "", "text": "word " * 10_000} for number in range(400)))
    tracemalloc.start()
    done = drag("validate", path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert done.code == 0
    assert peak < path.stat().st_size / 4


def test_a_reader_that_goes_away_gets_no_traceback(bad: Path) -> None:
    bad.write_bytes(b'{"id": "a", "question": 5}\n' * 20_000)
    call = [sys.executable, "-m", "dynamicrag_cli", "validate", str(bad), "--as", "Question", "--max-problems", "20000"]
    process = subprocess.Popen(call, stdout=subprocess.PIPE, stderr=subprocess.PIPE, env={**os.environ, "PYTHONPATH": str(ROOT)})
    with process:
        assert process.stdout.readline()
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 1
