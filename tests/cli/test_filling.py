"""A store filled from a corpus that repeats itself."""

import json
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.corpora import Corpus
from dynamicrag_cli.adapters.retrievers.store import PassageStore
from dynamicrag_cli.cli.filling import fill_store
from dynamicrag_cli.cli.rejects import REJECTS
from dynamicrag_cli.core.errors import InputError, TooManyRejectsError
from tests.samples import read


def context(name: str, text: str) -> dict:
    return {"passage_id": name, "title": "", "text": text}


@pytest.fixture
def dpr(tmp_path: Path) -> Corpus:
    """Three questions that share passages; one passage has two texts."""
    items = [
        {"question": "?", "positive_ctxs": [context("1", "one"), context("2", "two")]},
        {"question": "?", "positive_ctxs": [context("2", "two")], "hard_negative_ctxs": [context("1", "other")]},
        {"question": "?", "positive_ctxs": [context("3", "three"), context("1", "one")]},
    ]
    (tmp_path / "dpr.json").write_text(json.dumps(items))
    return Corpus(str(tmp_path / "dpr.json"))


def test_questions_that_share_passages_give_each_once(dpr: Corpus, tmp_path: Path) -> None:
    (tmp_path / "ix").mkdir()
    assert fill_store(tmp_path / "ix", dpr, 0.5) == {"in": 6, "out": 3, "rejected": 1}
    assert [(p.id, p.text) for p in PassageStore(tmp_path / "ix")] == [("1", "one"), ("2", "two"), ("3", "three")]
    (reject,) = read(tmp_path / "ix" / REJECTS)
    assert (reject["line"], reject["reason"]) == (2, "the id '1' was met before, in item 1")
    assert sorted(path.name for path in (tmp_path / "ix").iterdir()) == ["passages.arrow", REJECTS]


def test_one_text_too_many_ends_it(dpr: Corpus, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="item 2: the id '1'"):
        fill_store(tmp_path, dpr, 0)
    with pytest.raises(TooManyRejectsError, match="1 of 6"):
        fill_store(tmp_path, dpr, 0.1)


def test_without_rejects_there_is_no_file_of_them(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("1\tx\tT\n")
    (tmp_path / "ix").mkdir()
    assert fill_store(tmp_path / "ix", Corpus(str(tmp_path / "c.tsv")), 0) == {"in": 1, "out": 1, "rejected": 0}
    assert not (tmp_path / "ix" / REJECTS).exists()


def test_a_corpus_of_rejects_only_is_an_input_error(tmp_path: Path) -> None:
    (tmp_path / "c.tsv").write_text("1\n")
    with pytest.raises(InputError, match="holds no passages"):
        fill_store(tmp_path, Corpus(str(tmp_path / "c.tsv")), 1)
