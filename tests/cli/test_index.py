"""`drag index`: an index folder that is whole or not there, and that costs nobody their files."""

import json
import shutil
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.manifest import write_manifest
from dynamicrag_cli.cli.index import open_index
from dynamicrag_cli.core.errors import InputError
from tests.samples import write

PASSAGES = [
    {"id": "a", "title": "Danube", "text": "A river through Vienna.", "topic": "rivers"},
    {"_id": "b", "title": "Io", "contents": "A moon with volcanoes."},
    {"id": "c", "title": "", "text": "Untitled words on bridges."},
]


@pytest.fixture
def corpus(tmp_path: Path) -> Path:
    return write(tmp_path / "corpus.jsonl", PASSAGES)


def test_an_index_holds_its_passages_and_says_what_made_it(drag, corpus: Path, tmp_path: Path) -> None:
    done = drag("index", corpus, "-o", tmp_path / "ix")
    assert (done.code, done.out) == (0, b"")
    assert "3 passages, bm25" in done.err
    manifest = json.loads((tmp_path / "ix/manifest.json").read_text())
    assert (manifest["kind"], manifest["counts"]) == ("index", {"in": 3})
    index = open_index(tmp_path / "ix")
    assert [(p.id, p.text) for p in index.store] == [
        (p.get("id", p.get("_id")), p.get("text", p.get("contents"))) for p in PASSAGES
    ]
    assert not (tmp_path / "ix.partial").exists()


def test_an_equal_index_is_up_to_date_and_another_corpus_is_indexed_anew(drag, corpus: Path, tmp_path: Path) -> None:
    drag("index", corpus, "-o", tmp_path / "ix")
    assert "up to date" in drag("index", corpus, "-o", tmp_path / "ix").err
    write(corpus, PASSAGES[:2])
    assert "2 passages" in drag("index", corpus, "-o", tmp_path / "ix").err
    assert "2 passages" in drag("index", corpus, "-o", tmp_path / "ix", "--fresh").err


@pytest.mark.parametrize(
    ("lines", "words"),
    [
        ("", "holds no passages"),
        ('{"id":"a","title":"","text":"x"}\n{"id":"a","title":"","text":"y"}\n', "line 2: the id 'a' was met before"),
        ('{"id":"a","title":"","text":"x"}\nnonsense\n', "line 2: "),
        ('{"id":"a","title":" ","text":"\\t"}\n', "the passage 'a' is empty"),
    ],
)
def test_a_corpus_that_cannot_be_used_is_exit_4_and_leaves_no_index(drag, tmp_path: Path, lines: str, words: str) -> None:
    (tmp_path / "corpus.jsonl").write_text(lines)
    done = drag("index", tmp_path / "corpus.jsonl", "-o", tmp_path / "ix")
    assert (done.code, done.error) == (4, None)
    assert words in done.err
    assert not (tmp_path / "ix").exists()


def test_wrong_calls(drag, corpus: Path, tmp_path: Path) -> None:
    for arguments, code in (
        ([tmp_path / "nowhere.jsonl"], 4),
        ([tmp_path], 4),
        ([corpus, "--retriever", "bm52"], 2),
        ([corpus, "--retriever", "dense"], 2),
        ([corpus, "--retriever", "dense", "--model", tmp_path / "nowhere"], 4),
    ):
        done = drag("index", *arguments, "-o", tmp_path / "ix")
        assert (done.code, done.error) == (code, None), done.err
        assert not (tmp_path / "ix").exists()


def test_a_folder_that_is_no_index_is_an_input_error(tmp_path: Path, toy_bm25: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(InputError, match="not an index; build one with: drag index"):
            open_index(folder)
    shutil.copytree(toy_bm25, tmp_path / "ix")
    (tmp_path / "ix/manifest.json").unlink()
    with pytest.raises(InputError, match="not an index"):
        open_index(tmp_path / "ix")


def test_a_folder_with_other_files_is_never_deleted(drag, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home/thesis.tex").write_text("years of work")
    done = drag("index", corpus, "-o", tmp_path / "home")
    assert (tmp_path / "home/thesis.tex").exists()
    assert done.code in (2, 4)


def test_another_programs_manifest_does_not_make_a_folder_ours(drag, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/manifest.json").write_text('{"name": "My web app", "icons": []}')
    (tmp_path / "site/thesis.tex").write_text("years of work")
    done = drag("index", corpus, "-o", tmp_path / "site")
    assert (tmp_path / "site/thesis.tex").exists()
    assert done.code == 2


def test_a_trained_model_is_not_replaced_by_an_index(drag, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "sft").mkdir()
    (tmp_path / "sft/model.safetensors").write_text("a night of training")
    write_manifest(tmp_path / "sft", {"kind": "model", "fingerprint": {"command": "train sft"}})
    done = drag("index", corpus, "-o", tmp_path / "sft")
    assert (tmp_path / "sft/model.safetensors").exists()
    assert done.code == 2


def test_an_output_that_is_a_file_is_refused(drag, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "ix").write_text("mine")
    assert drag("index", corpus, "-o", tmp_path / "ix").code in (2, 4)


def test_unknown_fields_of_passages_are_counted_in_the_manifest(drag, corpus: Path, tmp_path: Path) -> None:
    drag("index", corpus, "-o", tmp_path / "ix")
    assert json.loads((tmp_path / "ix/manifest.json").read_text())["moved_to_meta"] == {"topic": 1}


def test_a_corpus_of_stop_words_is_an_input_error(drag, tmp_path: Path) -> None:
    done = drag("index", write(tmp_path / "c.jsonl", [{"id": "a", "title": "", "text": "the of"}]), "-o", tmp_path / "ix")
    assert done.code == 4
