"""`drag index`: an index folder that is whole or not there, and that costs nobody their files."""

import json
import shutil
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.manifest import write_manifest
from dynamicrag_cli.cli.index import open_index
from dynamicrag_cli.core.errors import InputError
from tests.samples import PASSAGES, read, write


def test_an_index_holds_its_passages_and_says_what_made_it(drag, corpus: Path, tmp_path: Path) -> None:
    done = drag("index", corpus, "-o", tmp_path / "ix")
    assert (done.code, done.out) == (0, b"")
    assert "3 passages, bm25" in done.err
    manifest = json.loads((tmp_path / "ix/manifest.json").read_text())
    assert (manifest["kind"], manifest["counts"]) == ("index", {"in": 3, "out": 3, "rejected": 0})
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
        (
            '{"id":"a","title":"","text":"x"}\n\n{"id":"a","title":"","text":"y"}\n',
            "line 3: the id 'a' was met before, in line 1",
        ),
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


BROKEN = [*PASSAGES, {"id": "d"}, {"id": "a", "title": "", "text": "Another."}, {"id": "e", "title": "", "text": "The end."}]


def test_passages_that_cannot_be_used_are_left_out_up_to_a_share(drag, tmp_path: Path) -> None:
    corpus = write(tmp_path / "corpus.jsonl", BROKEN)
    call = ("index", corpus, "-o", tmp_path / "ix")
    done = drag(*call)
    assert (done.code, "line 4: " in done.err, "--max-reject-rate" in done.err) == (4, True, True)
    done = drag(*call, "--max-reject-rate", 0.3)
    assert (done.code, "2 of 6 passages were rejected" in done.err) == (6, True)
    assert not (tmp_path / "ix").exists()
    assert len(read(tmp_path / "ix.partial/rejects.jsonl")) == 2
    done = drag(*call, "--max-reject-rate", 0.4)
    assert (done.code, "2 rejected" in done.err) == (0, True)
    rejects = {(reject["line"], reject["id"]) for reject in read(tmp_path / "ix/rejects.jsonl")}
    assert rejects == {(4, None), (5, "a")}
    manifest = json.loads((tmp_path / "ix/manifest.json").read_text())
    assert manifest["counts"] == {"in": 6, "out": 4, "rejected": 2}
    index = open_index(tmp_path / "ix")
    assert [p.id for p in index.store] == ["a", "b", "c", "e"]
    assert index.search(["an end"], 1)[0].tolist() == [[3]]
    # The index is the same one whatever share was allowed, and still says what it lacks.
    assert "up to date" in drag(*call, "--max-reject-rate", 0.4).err
    done = drag(*call)
    assert ("up to date" in done.err, done.code) == (True, 6)


def test_a_folder_of_documents_is_indexed_anew_when_one_has_changed(drag, tmp_path: Path) -> None:
    (tmp_path / "docs").mkdir()
    (tmp_path / "docs/rivers.md").write_text("# Rivers\n\nThe Danube flows through Ulm. The Rhine does not.")
    call = ("index", tmp_path / "docs", "-o", tmp_path / "ix")
    assert drag(*call).code == 0
    (passage,) = open_index(tmp_path / "ix").store
    assert (passage.id, passage.title) == ("rivers.md#1", "Rivers")
    assert "up to date" in drag(*call, "--format", "text").err
    (tmp_path / "docs/moons.txt").write_text("Io is a moon.")
    assert drag(*call).code == 0
    assert [p.id for p in open_index(tmp_path / "ix").store] == ["moons.txt#1", "rivers.md#1"]


def test_an_index_of_an_earlier_version_is_to_be_built_again(drag, corpus: Path, tmp_path: Path) -> None:
    drag("index", corpus, "-o", tmp_path / "ix")
    manifest = json.loads((tmp_path / "ix/manifest.json").read_text())
    (tmp_path / "ix/passages.arrow").rename(tmp_path / "ix/passages.jsonl")
    del manifest["files"]["passages.arrow"]
    (tmp_path / "ix/manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match="an earlier version"):
        open_index(tmp_path / "ix")


def test_wrong_calls(drag, corpus: Path, tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    for arguments, code in (
        ([tmp_path / "nowhere.jsonl"], 4),
        ([tmp_path / "sub"], 4),
        ([tmp_path / "sub", "--format", "drag"], 4),
        ([corpus, "--format", "tsb"], 2),
        ([corpus, "--format", "tsv"], 4),
        ([corpus, "--retriever", "bm52"], 2),
        ([corpus, "--retriever", "dense"], 2),
        ([corpus, "--retriever", "dense", "--model", tmp_path / "nowhere"], 4),
    ):
        done = drag("index", *arguments, "-o", tmp_path / "ix")
        assert (done.code, done.error) == (code, None), done.err
        assert not (tmp_path / "ix").exists()
        # What a call lacks is told before a corpus is read.
        assert code == 4 or "reading" not in done.err


def test_workers_are_for_encoding(drag, corpus: Path, tmp_path: Path, tiny_encoder: Path) -> None:
    dense_call = ("--retriever", "dense", "--model", tiny_encoder, "--device", "cuda:0,cuda:1")
    for more in ((), dense_call):
        done = drag("index", corpus, "-o", tmp_path / "ix", "--runner", "ray", *more)
        assert (done.code, done.error) == (2, None)
        assert "--runner ray is for --retriever dense, with one --device" in done.err


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
    corpus = write(tmp_path / "c.jsonl", [{"id": "a", "title": "", "text": "the of"}])
    assert drag("index", corpus, "-o", tmp_path / "ix").code == 4
    assert drag("index", corpus, "-o", tmp_path / "ix", "--stopwords", "none").code == 0


def test_the_index_keeps_how_words_are_made(drag, corpus: Path, tmp_path: Path) -> None:
    call = ("index", corpus, "-o", tmp_path / "ix")
    assert drag(*call, "--stemmer", "none").code == 0
    assert open_index(tmp_path / "ix").search(["a volcano", "the volcanoes"], 1)[0].tolist() == [[-1], [1]]
    assert "up to date" not in drag(*call).err
    assert open_index(tmp_path / "ix").search(["a volcano", "the volcanoes"], 1)[0].tolist() == [[1], [1]]
    assert drag(*call, "--stemmer", "klingon").code == 2


FILES = {
    "bm25": ("passages.arrow", "bm25/data.csc.index.npy", "bm25/vocab.index.json", "bm25/params.index.json"),
    "dense": ("passages.arrow", "dense.faiss", "vectors/00000.npy", "vectors/shards.json"),
}


@pytest.mark.parametrize(("retriever", "file"), [(kind, file) for kind, files in FILES.items() for file in files])
@pytest.mark.parametrize("damage", ["cut", "longer", "gone", "swapped"])
def test_a_file_that_is_not_the_one_that_was_built_is_named_and_left_alone(
    drag, corpus: Path, pair: dict[str, Path], retriever: str, file: str, damage: str
) -> None:
    folder, other = pair[f"own-{retriever}"], pair[f"other-{retriever}"]
    whole = (folder / file).read_bytes()
    if damage == "swapped" and (other / file).read_bytes() == whole:
        pytest.skip("the other index has an equal file")
    wrong = {"cut": whole[:-1], "longer": whole + b" ", "gone": None, "swapped": (other / file).read_bytes()}[damage]
    (folder / file).unlink()
    if wrong is not None:
        (folder / file).write_bytes(wrong)
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    with pytest.raises(InputError) as caught:
        open_index(folder)
    assert str(folder / file) in str(caught.value)
    assert f"drag index CORPUS -o {folder} --retriever {retriever} --fresh" in str(caught.value)
    # The same command again does not call it up to date, and does not write over it either.
    extra = ["--model", json.loads((folder / "manifest.json").read_text())["settings"]["model"]] if retriever == "dense" else []
    again = drag("index", corpus, "-o", folder, "--retriever", retriever, *extra)
    assert again.code == 4
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert drag("index", corpus, "-o", folder, "--retriever", retriever, *extra, "--fresh").code == 0
    open_index(folder)


def test_an_index_from_before_there_were_seals_opens(pair: dict[str, Path]) -> None:
    path = pair["own-bm25"] / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["files"]
    path.write_text(json.dumps(manifest))
    assert len(open_index(pair["own-bm25"]).store) == 3
