"""BM25 against the formula by hand."""

import math
import shutil
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.retrievers.bm25 import K1, B, Bm25Index
from dynamicrag_cli.adapters.retrievers.store import PassageStore, write_store
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import Passage

# Words that stemming and stop words leave alone, so that the formula can be applied by eye.
TEXTS = ["danub vienna danub", "danub ulm", "io moon volcano lava", "tiger stripe"]


def build(folder: Path, texts: list[str]) -> Bm25Index:
    write_store(folder, [Passage(id=str(i), title="", text=text) for i, text in enumerate(texts)])
    assert list(Bm25Index.build(folder, PassageStore(folder), {})) == [len(texts)]
    return Bm25Index(folder, PassageStore(folder), {})


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


@pytest.mark.parametrize("question", ["danub", "danub ulm", "lava tiger"])
def test_scores_are_those_of_the_formula(index: Bm25Index, question: str) -> None:
    rows, scores = index.search([question], 4)
    expected = {row: score(question.split(), text) for row, text in enumerate(TEXTS)}
    assert {int(row): float(s) for row, s in zip(rows[0], scores[0], strict=True)} == pytest.approx(expected, abs=1e-5)
    assert list(scores[0]) == sorted(scores[0], reverse=True)


def test_words_are_stemmed_and_stop_words_dropped(tmp_path: Path) -> None:
    index = build(tmp_path, ["The tigers were swimming.", "A lion sleeps."])
    rows, scores = index.search(["the swim of a tiger", "sleeping lions"], 1)
    assert rows.tolist() == [[0], [1]]
    assert (scores > 0).all()


def test_questions_without_a_known_word_get_candidates_of_score_zero(index: Bm25Index) -> None:
    rows, scores = index.search(["zebra", "the of and", "danub"], 2)
    assert rows.shape == scores.shape == (3, 2)
    assert scores[:2].max() == 0
    assert scores[2].max() > 0


def test_more_candidates_than_passages_are_all_passages(index: Bm25Index) -> None:
    rows, _ = index.search(["danub"], 99)
    assert sorted(rows[0].tolist()) == [0, 1, 2, 3]


@pytest.mark.parametrize(
    "damage", [shutil.rmtree, lambda folder: (folder / "params.index.json").write_text("{")], ids=["gone", "broken"]
)
def test_a_damaged_index_is_an_input_error(index: Bm25Index, tmp_path: Path, damage) -> None:
    damage(tmp_path / "bm25")
    with pytest.raises(InputError, match="build it again"):
        Bm25Index(tmp_path, PassageStore(tmp_path), {})
