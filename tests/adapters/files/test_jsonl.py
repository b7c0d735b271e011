"""JSON lines: every damaged line is a reject with its number, every damaged file an InputError, and nothing is lost in silence."""

import gzip
import hashlib
import io
import json
import sys
import types
from pathlib import Path

import pytest
import zstandard

from dynamicrag_cli.adapters.files import jsonl
from dynamicrag_cli.adapters.files.jsonl import Reader, finish, survey
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage, Question, Reject, RetrievedQuestion

GOOD = b'{"id":"p1","title":"T","text":"x"}'


def passage(name: str) -> bytes:
    return GOOD.replace(b"p1", name.encode())


def read(path: Path, kind: type = Passage) -> list:
    return list(Reader(str(path), kind))


def written(folder: Path, data: bytes, name: str = "in.jsonl") -> Path:
    path = folder / name
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("name", "pack"), [("in.jsonl", bytes), ("in.jsonl.gz", gzip.compress), ("in.jsonl.zst", zstandard.compress)]
)
def test_plain_and_compressed_files_hold_the_same_records(tmp_path: Path, name: str, pack) -> None:
    path = written(tmp_path, pack(passage("a") + b"\n" + passage("b") + b"\n"), name)
    assert read(path) == [Passage(id="a", title="T", text="x"), Passage(id="b", title="T", text="x")]


@pytest.mark.parametrize(("name", "pack"), [("in.gz", gzip.compress), ("in.zst", zstandard.compress)])
def test_compressed_files_that_were_appended_to_each_other_are_read_whole(tmp_path: Path, name: str, pack) -> None:
    path = written(tmp_path, pack(passage("a") + b"\n") + pack(passage("b") + b"\n"), name)
    assert [record.id for record in read(path)] == ["a", "b"]


def test_a_minus_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(GOOD + b"\n")))
    assert [record.id for record in Reader("-", Passage)] == ["p1"]


def test_byte_order_mark_crlf_blank_lines_and_a_missing_last_line_end(tmp_path: Path) -> None:
    path = written(tmp_path, b"\xef\xbb\xbf" + passage("a") + b"\r\n\r\n   \n" + passage("b") + b"\r\n{}\n" + passage("c"))
    records = read(path)
    assert [r.id for r in records if not isinstance(r, Reject)] == ["a", "b", "c"]
    assert [r.line for r in records if isinstance(r, Reject)] == [5]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (b'{"id":"p9","title":"","text":"\xe2\x82"}', "utf-8"),
        (b'{"id":"p9","title":"","text":"a\x00b"}', "malformed"),
        (b'{"id":"p9","title":"","text":"a"', "truncated"),
        (b'{"id":"p9","title":"","text":7}', "$.text"),
        (b'{"id":["p9"],"title":"","text":"a"}', "$.id"),
        (b'{"id":"","title":"","text":"a"}', "$.id"),
        (b'{"id":"p9","title":"","text":""}', "$.text"),
        (b'{"id":"p9","title":""}', "text"),
        (b'["p9"]', "object"),
        (b'"p9"', "object"),
        (b"null", "object"),
        (b'{"id":"p9","title":"","text":"\\ud800"}', ""),
        (b'{"id":"p9","title":"","text":NaN}', "malformed"),
        (b"[" * 5000, ""),
    ],
    ids=lambda value: value[:40].decode("latin-1") if isinstance(value, bytes) else "",
)
def test_a_line_that_cannot_be_used_is_rejected_with_its_number_and_reason(tmp_path: Path, line: bytes, reason: str) -> None:
    before, reject, after = read(written(tmp_path, passage("a") + b"\n" + line + b"\n" + passage("b") + b"\n"))
    assert (before.id, after.id) == ("a", "b")
    assert isinstance(reject, Reject)
    assert reject.line == 2
    assert reason.lower() in reject.reason.lower()
    assert reject.reason
    assert reject.record == line[:2000].decode("utf-8", "replace")


@pytest.mark.parametrize(
    "line",
    [
        b'{"id":"a","question":"q","dataset":"nonsense"}',
        b'{"id":"a","question":"   "}',
        b'{"id":"a","question":"q","answers":[1]}',
        b'{"id":"a","question":"q","gold_passage_ids":"p1"}',
        b'{"id":"a","question":"q","dataset":["qa"]}',
        b'{"id":"a","question":"q","meta":"words","topic":"x"}',
    ],
)
def test_a_question_with_a_field_of_the_wrong_type_is_rejected(tmp_path: Path, line: bytes) -> None:
    (reject,) = read(written(tmp_path, line + b"\n"), Question)
    assert isinstance(reject, Reject)


def test_the_second_record_of_an_id_is_rejected(tmp_path: Path) -> None:
    first, second, third = read(written(tmp_path, passage("a") + b"\n" + passage("a") + b"\n" + passage("b") + b"\n"))
    assert (first.id, third.id) == ("a", "b")
    assert (second.line, second.id) == (2, "a")
    assert "'a'" in second.reason


def test_unknown_fields_go_to_meta_and_are_counted(tmp_path: Path) -> None:
    lines = [
        b'{"id":"a","title":"T","text":"x","topic":"rivers","meta":{"kept":1}}',
        b'{"id":"b","title":"T","text":"x","topic":"moons","url":null}',
        passage("c"),
    ]
    reader = Reader(str(written(tmp_path, b"\n".join(lines))), Passage)
    records = list(reader)
    assert [record.meta for record in records] == [{"kept": 1, "topic": "rivers"}, {"topic": "moons", "url": None}, {}]
    assert reader.strange == {"topic": 2, "url": 1}


@pytest.mark.parametrize(
    ("foreign", "expected"),
    [
        ({"_id": "a", "query": "q", "answer": "x"}, Question(id="a", question="q", answers=["x"], dataset="qa")),
        (
            {"qid": "a", "claim": "q", "golden_answers": ["x", "y"], "dataset": "fever"},
            Question(id="a", question="q", answers=["x", "y"], dataset="fever"),
        ),
        ({"id": "a", "question": "q"}, Question(id="a", question="q", answers=[], dataset="qa")),
    ],
)
def test_foreign_names_of_a_question_are_translated(tmp_path: Path, foreign: dict, expected: Question) -> None:
    reader = Reader(str(written(tmp_path, json.dumps(foreign).encode())), Question)
    assert list(reader) == [expected]
    assert reader.strange == {}


def test_an_id_that_is_a_number_is_its_digits(tmp_path: Path) -> None:
    (record,) = read(written(tmp_path, b'{"id":17,"title":"","text":"x"}'))
    assert record.id == "17"


@pytest.mark.parametrize("name", ["ctxs", "candidates", "contexts", "docs"])
def test_foreign_names_of_candidates_are_translated(tmp_path: Path, name: str) -> None:
    foreign = {"id": "a", "question": "q", name: [{"docid": "p", "contents": "text", "score": 2, "has_answer": True}]}
    (record,) = read(written(tmp_path, json.dumps(foreign).encode()), RetrievedQuestion)
    assert [(doc.id, doc.title, doc.text, doc.score) for doc in record.docs] == [("p", "", "text", 2.0)]


def test_a_line_over_the_limit_is_one_reject_and_the_next_line_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jsonl, "MAX_LINE_BYTES", 100)
    long = b'{"id":"long","title":"","text":"' + b"x" * 950 + b'"}'
    before, reject, after = read(written(tmp_path, passage("a") + b"\n" + long + b"\n" + passage("b") + b"\n"))
    assert (before.id, after.id) == ("a", "b")
    assert isinstance(reject, Reject)
    assert reject.line == 2


@pytest.mark.parametrize(
    ("data", "count"), [(b"", 0), (b"a", 1), (b"a\n", 1), (b"a\nb", 2), (b"a\n\nb\n", 3), (b"x\n" * 10**6, 10**6)]
)
def test_a_survey_hashes_the_bytes_and_counts_the_lines(tmp_path: Path, data: bytes, count: int) -> None:
    assert survey(str(written(tmp_path, data))) == (hashlib.sha256(data).hexdigest(), count)
    packed = gzip.compress(data)
    assert survey(str(written(tmp_path, packed, "in.gz"))) == (hashlib.sha256(packed).hexdigest(), None)


def test_an_empty_file_has_no_records(tmp_path: Path) -> None:
    assert read(written(tmp_path, b"")) == []
    assert read(written(tmp_path, gzip.compress(b""), "in.gz")) == []


def test_a_missing_file_and_a_folder_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no such file"):
        read(tmp_path / "nowhere.jsonl")
    with pytest.raises(InputError, match="is a folder"):
        read(tmp_path)
    with pytest.raises(InputError, match=r"in\.jsonl\.bz2: unpack it first"):
        read(written(tmp_path, b"BZh9", "in.jsonl.bz2"))


def many() -> bytes:
    return b"\n".join(passage(f"{i}-{hash_like(i)}") for i in range(400)) + b"\n"


def hash_like(number: int) -> int:
    return number * 2654435761 % 2**32


def cut(data: bytes) -> bytes:
    return data[: len(data) // 2]


def broken_block(data: bytes) -> bytes:
    return data[:10] + b"\xff" * 4 + data[14:]


def broken_sum(data: bytes) -> bytes:
    return data[:-8] + b"\x00\x01\x02\x03" + data[-4:]


@pytest.mark.parametrize(
    ("name", "pack", "damage"),
    [
        ("in.gz", gzip.compress, cut),
        ("in.gz", gzip.compress, broken_sum),
        ("in.gz", gzip.compress, lambda _: b"plain text\n"),
        ("in.gz", gzip.compress, broken_block),
        ("in.zst", zstandard.compress, lambda _: b"plain text\n"),
        ("in.zst", zstandard.compress, cut),
    ],
    ids=["gz-cut", "gz-sum", "gz-plain", "gz-block", "zst-plain", "zst-cut"],
)
def test_a_damaged_compressed_file_is_an_input_error(tmp_path: Path, name: str, pack, damage) -> None:
    path = written(tmp_path, damage(pack(many())), name)
    with pytest.raises(InputError, match="damaged"):
        read(path)


@pytest.mark.parametrize(("name", "unpack"), [("out.jsonl", bytes), ("out.gz", gzip.decompress), ("out.zst", None)])
def test_finish_publishes_equal_bytes_for_equal_records_and_removes_the_source(tmp_path: Path, name: str, unpack) -> None:
    packed = []
    for number in range(2):
        source = written(tmp_path, many(), f"source{number}")
        finish(source, tmp_path / name)
        packed.append((tmp_path / name).read_bytes())
        assert not source.exists()
    assert packed[0] == packed[1]
    unpacked = unpack(packed[0]) if unpack else zstandard.ZstdDecompressor().stream_reader(packed[0]).read()
    assert unpacked == many()
    assert [path.name for path in tmp_path.iterdir()] == [name]
