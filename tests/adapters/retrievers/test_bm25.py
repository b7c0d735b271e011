"""BM25 against the formula by hand."""

import json
import math
import shutil
from pathlib import Path

import bm25s
import numpy as np
import pytest
import Stemmer

from dynamicrag_cli.adapters.retrievers import bm25
from dynamicrag_cli.adapters.retrievers.bm25 import K1, B, Bm25Index
from dynamicrag_cli.adapters.retrievers.store import PassageStore, write_store
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage
from tests.conftest import ROOT

# Words that stemming and stop words leave alone, so that the formula can be applied by eye.
TEXTS = ["danub vienna danub", "danub ulm", "io moon volcano lava", "tiger stripe"]


def build(folder: Path, texts: list[str], **settings: str) -> Bm25Index:
    write_store(folder, [Passage(id=str(i), title="", text=text) for i, text in enumerate(texts)])
    assert list(Bm25Index.build(folder, PassageStore(folder), settings)) == [len(texts)]
    return Bm25Index(folder, PassageStore(folder), settings)


def score(question: list[str], text: str) -> float:
    """Lucene's BM25."""
    documents = [t.split() for t in TEXTS]
    mean = sum(map(len, documents)) / len(documents)
    value = 0.0
    for word in question:
        found = sum(word in document for document in documents)
        frequency = text.split().count(word)
        weight = math.log(1 + (len(documents) - found + 0.5) / (found + 0.5))
        value += weight * frequency / (frequency + K1 * (1 - B + B * len(text.split()) / mean))
    return value


@pytest.fixture
def index(tmp_path: Path) -> Bm25Index:
    return build(tmp_path, TEXTS)


@pytest.mark.parametrize("question", ["danub", "danub ulm", "lava tiger", "danub danub ulm"])
def test_scores_are_those_of_the_formula(index: Bm25Index, question: str) -> None:
    rows, scores = index.search([question], 4)
    expected = {row: score(question.split(), text) for row, text in enumerate(TEXTS)}
    hits = {int(row): float(s) for row, s in zip(rows[0], scores[0], strict=True) if row >= 0}
    assert hits == pytest.approx({row: value for row, value in expected.items() if value}, abs=1e-5)
    assert list(scores[0]) == sorted(scores[0], reverse=True)


def test_the_index_is_the_one_that_bm25s_makes_of_all_texts_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    passages = [json.loads(line)["text"] for line in (ROOT / "examples/toy/passages.jsonl").read_text().splitlines()]
    monkeypatch.setattr(bm25, "_CHUNK", 100)
    write_store(tmp_path, [Passage(id=str(i), title="", text=text) for i, text in enumerate(passages)])
    assert [*Bm25Index.build(tmp_path, PassageStore(tmp_path), {})] == [100, 200, 300, 400, 477]
    assert not [*tmp_path.glob("*.partial")]
    whole = bm25s.BM25(k1=K1, b=B)
    options = {"stopwords": "en", "stemmer": Stemmer.Stemmer("english"), "show_progress": False}
    whole.index(bm25s.tokenize(passages, **options), show_progress=False)
    asked = ["Which river flows through Vienna?", "a moon with volcanoes", "the cat that roars"]
    _, scores = Bm25Index(tmp_path, PassageStore(tmp_path), {}).search(asked, 20)
    _, expected = whole.retrieve(bm25s.tokenize(asked, **options), k=20, show_progress=False)
    assert np.allclose(scores, expected, atol=1e-5)


def test_words_are_stemmed_and_stop_words_dropped(tmp_path: Path) -> None:
    index = build(tmp_path, ["The tigers were swimming.", "A lion sleeps."])
    rows, scores = index.search(["the swim of a tiger", "sleeping lions"], 1)
    assert rows.tolist() == [[0], [1]]
    assert (scores > 0).all()


@pytest.mark.parametrize(
    ("settings", "found"),
    [
        ({}, [[0], [-1]]),
        ({"stemmer": "none"}, [[-1], [-1]]),
        ({"stopwords": "none"}, [[0], [1]]),
        ({"stemmer": "none", "stopwords": "none"}, [[-1], [1]]),
    ],
)
def test_stemmer_and_stop_words_count_for_passages_and_questions(tmp_path: Path, settings: dict, found: list) -> None:
    index = build(tmp_path, ["Tigers swim.", "To be or not to be"], **settings)
    assert index.search(["swimming tiger", "to be"], 1)[0].tolist() == found


def test_what_shares_no_word_with_the_question_is_no_hit(index: Bm25Index) -> None:
    rows, scores = index.search(["zebra", "the of and", "", "danub"], 3)
    assert rows.shape == scores.shape == (4, 3)
    assert (rows[:3] == -1).all()
    assert scores[:3].max() == 0
    assert sorted(rows[3].tolist()) == [-1, 0, 1]


def test_more_candidates_than_passages_are_all_passages_with_a_word_of_the_question(index: Bm25Index) -> None:
    rows, _ = index.search(["danub lava tiger"], 99)
    assert sorted(rows[0].tolist()) == [0, 1, 2, 3]


def test_texts_are_not_held_while_indexing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bm25, "_CHUNK", 4)
    write_store(tmp_path, [Passage(id=str(i), title="", text=f"word{i}") for i in range(40)])

    class Lazy(PassageStore):
        given = 0

        def __iter__(self):
            for passage in super().__iter__():
                self.given += 1
                yield passage

    store = Lazy(tmp_path)
    assert [(done, store.given) for done in Bm25Index.build(tmp_path, store, {})] == [(n, n) for n in range(4, 41, 4)]


@pytest.mark.parametrize(
    "damage", [shutil.rmtree, lambda folder: (folder / "params.index.json").write_text("{")], ids=["gone", "broken"]
)
def test_a_damaged_index_is_an_input_error(index: Bm25Index, tmp_path: Path, damage) -> None:
    damage(tmp_path / "bm25")
    with pytest.raises(InputError, match="build it again"):
        Bm25Index(tmp_path, PassageStore(tmp_path), {})
