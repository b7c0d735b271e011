"""Documents: found, cut on sentence borders, with names of their own."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.adapters.files import documents as module
from dynamicrag_cli.adapters.files.documents import cut, digest, documents, sentences
from dynamicrag_cli.core.cutting import pack
from dynamicrag_cli.core.records import Passage, Reject
from tests.builders import quick


def test_sentences_end_at_full_stops_and_paragraphs() -> None:
    text = (
        "# The Danube\nIt rises in\nDonaueschingen. It ends in the sea! Does it? Yes.\n\nNo stop here\n\nv1.2 and e.g.this, U.S."
    )
    assert [*sentences(text)] == [
        "# The Danube",
        "It rises in Donaueschingen.",
        "It ends in the sea!",
        "Does it?",
        "Yes.",
        "No stop here",
        "v1.2 and e.g.this, U.S.",
    ]


@quick
@given(st.text(st.sampled_from("ab.!?… \n\t#()\"'*-\u00a0é。1"), max_size=80), st.integers(1, 6))
def test_no_word_is_lost_or_cut_and_a_passage_is_no_longer_than_allowed(text: str, limit: int) -> None:
    found = [*sentences(text)]
    passages = [*pack(found, limit)]
    assert " ".join(found).split() == " ".join(passages).split() == text.split()
    assert all(len(passage.split()) <= limit or passage in found for passage in passages)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "sub").mkdir()
    (tmp_path / ".git").mkdir()
    (tmp_path / "b.txt").write_text("# not a heading. " + "Six words are in this sentence. " * 40, encoding="utf-8")
    (tmp_path / "sub/a.md").write_text("\ufeffintro\n\n## Rivers of Ulm\n\nThe Danube.", encoding="utf-8")
    (tmp_path / "c.MD").write_bytes(b"caf\xe9")
    (tmp_path / "empty.txt").write_text(" \n")
    for other in ("d.pdf", ".git/e.txt", ".f.md"):
        (tmp_path / other).write_text("not read")
    return tmp_path


def test_documents_become_passages_with_ids_and_titles(folder: Path) -> None:
    found = [*cut(folder)]
    rejects = [item for _, item in found if isinstance(item, Reject)]
    assert [(reject.line, reject.id, "can't decode byte 0xe9" in reject.reason) for reject in rejects] == [(2, "c.MD", True)]
    passages = [(number, item) for number, item in found if isinstance(item, Passage)]
    assert [(number, p.id, p.title) for number, p in passages] == [
        (1, "b.txt#1", "b"),
        (1, "b.txt#2", "b"),
        (1, "b.txt#3", "b"),
        (4, "sub/a.md#1", "Rivers of Ulm"),
    ]
    assert [len(p.text.split()) for _, p in passages] == [100, 96, 48, 7]
    assert passages[-1][1].text == "intro ## Rivers of Ulm The Danube."


def test_one_file_is_a_corpus_too(folder: Path) -> None:
    assert [item.id for _, item in cut(folder / "sub/a.md")] == ["a.md#1"]


def test_a_document_is_opened_when_it_is_its_turn(folder: Path) -> None:
    stream = cut(folder)
    next(stream)
    (folder / "sub/a.md").write_text("Changed.")
    assert [*stream][-1][1].text == "Changed."


def test_the_digest_is_of_names_and_bytes(folder: Path) -> None:
    first = digest(folder)
    (folder / "d.pdf").write_text("other")
    assert digest(folder) == first
    (folder / "b.txt").write_text("other")
    second = digest(folder)
    (folder / "b.txt").rename(folder / "bb.txt")
    assert len({first, second, digest(folder)}) == 3
    assert [path.name for path in documents(folder)] == ["bb.txt", "c.MD", "empty.txt", "a.md"]


def test_without_spacy_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    module._splitter.cache_clear()
    monkeypatch.setitem(__import__("sys").modules, "spacy", None)
    with pytest.raises(module.MissingExtraError, match="retrieval"):
        [*sentences("One.")]
