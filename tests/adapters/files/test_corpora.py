"""Every format of a corpus from a small file, guessed and named."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.corpora import FORMATS, Corpus
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage, Reject

ULM = Passage(id="1", title="Ulm", text='A "town" on the Danube.')
IO = Passage(id="2", title="Io", text="A moon.")


def lines(*rows: object) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def plain(passage: Passage, **names: str) -> dict:
    return {names.get(name, name): getattr(passage, name) for name in ("id", "title", "text")}


def context(passage: Passage) -> dict:
    return {**plain(passage, id="passage_id"), "score": 1.5}


def beir_folder(folder: Path) -> Path:
    (folder / "scifact").mkdir()
    (folder / "scifact/queries.jsonl").write_text(lines({"_id": "q", "text": "Where?"}))
    (folder / "scifact/corpus.jsonl").write_text(lines(plain(ULM, id="_id"), {**plain(IO, id="_id"), "metadata": {}}))
    return folder / "scifact"


def file(name: str, text: str) -> Callable[[Path], Path]:
    def make(folder: Path) -> Path:
        path = folder / name
        path.write_bytes(gzip.compress(text.encode()) if name.endswith(".gz") else text.encode())
        return path

    return make


FLASHRAG = lines({"id": "1", "contents": f'"Ulm"\n{ULM.text}'}, {"id": "2", "contents": "Io\nA moon."})
DPR = [
    {"question": "?", "answers": [], "positive_ctxs": [context(ULM)], "negative_ctxs": [], "hard_negative_ctxs": [context(IO)]}
]
CASES = {
    "drag": file("c.jsonl", lines(plain(ULM), plain(IO))),
    "drag, gzip": file("c.jsonl.gz", lines(plain(ULM), plain(IO))),
    "tsv": file("psgs_w100.tsv", 'id\ttext\ttitle\n1\t"A ""town"" on the Danube."\tUlm\n2\tA moon.\tIo\n'),
    "tsv, gzip, line ends of Windows, no header": file("p.tsv.gz", '1\t"A ""town"" on the Danube."\tUlm\r\n2\tA moon.\tIo\r\n'),
    "tsv, other columns": file("p.tsv", 'id\ttitle\ttext\n1\tUlm\t"A ""town"" on the Danube."\n2\tIo\tA moon.\n'),
    "beir": beir_folder,
    "beir, the file": file("corpus.jsonl", lines(plain(ULM, id="_id"), plain(IO, id="_id"))),
    "flashrag": file("wiki.jsonl", FLASHRAG),
    "dpr": file("nq-train.json", json.dumps(DPR, indent=4)),
    "dpr, lines": file("nq.jsonl", lines({"id": "q", "question": "?", "ctxs": [plain(ULM), plain(IO)]})),
}


@pytest.mark.parametrize("case", CASES)
def test_each_format_is_guessed_and_read(tmp_path: Path, case: str) -> None:
    place = CASES[case](tmp_path)
    corpus = Corpus(str(place))
    assert corpus.name == case.partition(",")[0]
    assert [item for _, item in corpus] == [ULM, IO]
    assert [item for _, item in Corpus(str(place), corpus.name)] == [ULM, IO]
    numbers = [number for number, _ in corpus]
    first = 2 if case in ("tsv", "tsv, other columns") else 1
    assert numbers == [first, first if corpus.name == "dpr" else first + 1]


def test_a_folder_of_documents_is_text(tmp_path: Path) -> None:
    (tmp_path / "notes.md").write_text("# Ulm\nA town.")
    corpus = Corpus(str(tmp_path))
    assert (corpus.name, [item.id for _, item in corpus]) == ("text", ["notes.md#1"])
    assert Corpus(str(tmp_path / "notes.md")).name == "text"


def test_all_formats_have_a_case() -> None:
    assert {case.partition(",")[0] for case in CASES} | {"text"} == {*FORMATS}


def test_unknown_fields_are_kept_and_counted(tmp_path: Path) -> None:
    for name, text in {
        "a.jsonl": lines({**plain(ULM), "url": "u"}, plain(IO)),
        "b.tsv": "id\ttext\ttitle\turl\n1\tx\tT\tu\n",
        "c.jsonl": lines({"id": "1", "contents": "T\nx", "url": "u"}),
    }.items():
        corpus = Corpus(str(file(name, text)(tmp_path)))
        assert next(iter(corpus))[1].meta == {"url": "u"}
        assert corpus.strange["url"] >= 1


@pytest.mark.parametrize(
    ("name", "text", "format", "found"),
    [
        ("c.jsonl", lines(plain(ULM), "x", {"id": "3", "text": ""}, plain(IO)), None, [(2, "object"), (3, "length >= 1")]),
        ("c.jsonl", b'{"id": "1", "title": "", "text": "caf\xe9"}\n', None, [(1, "utf-8")]),
        ("c.jsonl", lines({"id": "1", "title": " ", "text": "\n"}), None, [(1, "the passage '1' is empty")]),
        ("c.tsv", b"1\tcaf\xe9\tUlm\n2\tx\n3\n4\t\tT\n", None, [(1, "utf-8"), (3, "1 columns"), (4, "length >= 1")]),
        ("c.tsv", "1\t" + "x" * 200_000 + "\tT\n", None, [(1, "field limit")]),
        ("c.jsonl", lines({"id": "1", "contents": " "}, {"id": "2"}), None, [(1, "empty"), (2, "no text")]),
        (
            "c.json",
            json.dumps([{"ctxs": []}, {"question": "?"}, {"ctxs": [{"text": 3}]}]),
            None,
            [(2, "no list"), (3, "no text")],
        ),
        ("c.jsonl", "nonsense\n", None, [(1, "malformed")]),
    ],
)
def test_what_cannot_be_used_is_a_reject_with_its_number(tmp_path: Path, name: str, text, format, found: list) -> None:
    (tmp_path / name).write_bytes(text if isinstance(text, bytes) else text.encode())
    rejects = [(number, item) for number, item in Corpus(str(tmp_path / name), format) if isinstance(item, Reject)]
    assert [number for number, _ in rejects] == [item.line for _, item in rejects]
    assert [number for number, _ in rejects] == [number for number, _ in found]
    for (_, item), (_, words) in zip(rejects, found, strict=True):
        assert words in item.reason


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda folder: folder / "nowhere", "no such file"),
        (lambda folder: folder, "neither a BEIR folder"),
        (file("q.jsonl", lines({"id": "q", "question": "?"})), "its first item has id, question"),
        (file("q.json", '{"question": "?"}'), "give --format"),
    ],
)
def test_a_format_that_cannot_be_guessed_is_an_input_error(tmp_path: Path, make, words: str) -> None:
    with pytest.raises(InputError, match=words):
        Corpus(str(make(tmp_path)))


def test_a_folder_is_no_file_of_passages(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="--format text"):
        Corpus(str(tmp_path), "drag")


def test_reading_is_lazy(tmp_path: Path) -> None:
    """A file that is broken far behind gives what stands before."""
    whole = gzip.compress(lines(*({**plain(ULM), "id": str(n)} for n in range(50_000))).encode(), compresslevel=0)
    (tmp_path / "c.jsonl.gz").write_bytes(whole[:-100_000])
    stream = iter(Corpus(str(tmp_path / "c.jsonl.gz")))
    assert next(stream)[1].id == "0"
    with pytest.raises(InputError, match="damaged after line"):
        for _ in stream:
            pass


def test_the_identity_is_that_of_the_content(tmp_path: Path) -> None:
    place = beir_folder(tmp_path)
    first = Corpus(str(place)).identity()
    assert first == Corpus(str(place / "corpus.jsonl")).identity()
    (place / "queries.jsonl").unlink()
    assert Corpus(str(place)).identity() == first
    (place / "corpus.jsonl").write_text(lines(plain(ULM)))
    assert Corpus(str(place)).identity() != first
