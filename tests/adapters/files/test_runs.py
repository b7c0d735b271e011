"""A run folder as it is: finished, unfinished, damaged, or none at all."""

import shutil
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.files.runs import read_run
from dynamicrag_cli.core.errors import InputError
from tests.runs import system, write_report, write_run, write_small_run


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_stages_in_the_order_of_the_pipeline_and_systems_in_that_of_the_report(folder: Path) -> None:
    run = read_run(folder)
    names = [stage.name for stage in run.stages]
    assert names[:3] == ["retrieve", "rerank-teacher", "build-bc"]
    assert names[-2:] == ["infer gold", "infer sft"]
    assert [*run.predictions] == ["gold", "sft"] == [row.name for row in run.systems]
    write_report(folder, system("sft"), system("gold"))
    assert [*read_run(folder).predictions] == ["sft", "gold"]


def test_reject_reasons_are_counted(folder: Path) -> None:
    with (folder / "sampled.rejects.jsonl").open("a") as file:
        file.write('{"line":4,"id":null,"reason":"the id \'q-8\' was met before"}\nnonsense\n')
    (facts,) = [stage for stage in read_run(folder).stages if stage.name == "sample"]
    assert sorted(facts.reasons.values()) == [1, 2]


def test_what_is_missing_is_told_with_what_to_type(folder: Path) -> None:
    shutil.rmtree(folder / "dpo")
    (folder / "sampled.jsonl").unlink()
    (folder / "sampled.jsonl.partial").write_text("")
    (folder / "predictions/sft.jsonl.manifest.json").unlink()
    (folder / "report.json").unlink()
    told = read_run(folder).missing
    assert [line for line in told if "dense" in line] == []
    for words in (
        "index: bm25 is missing (make index)",
        "train dpo: dpo is missing (make train-dpo)",
        "sample: sampled.jsonl is unfinished (make sample)",
        "infer sft: sft.jsonl is unfinished (make infer)",
        "eval: report.json is missing (make eval)",
    ):
        assert words in told


def test_a_run_of_small_rerankers_misses_no_llm_and_has_their_curves(tmp_path: Path) -> None:
    folder = write_small_run(tmp_path / "small")
    run = read_run(folder)
    assert [stage.name for stage in run.stages] == ["train reranker", "train rrpo-fixed", "train rrpo-stop"]
    assert [stage.learning for stage in run.stages] == [(), (), ((1, 0.25, 0.5, 1.5), (2, 0.5, 0.5, 1.0))]
    assert [line.partition(":")[0] for line in run.missing] == ["index", "retrieve", "rerank-teacher", "infer", "eval"]
    (folder / "rrpo-stop/curve.jsonl").write_text('{"step": 1}\n{')
    assert any(line.startswith("train rrpo-stop:") for line in read_run(folder).missing)


@pytest.mark.parametrize("text", ["{", "[]", '{"systems": 3}', "[" * 100_000])
def test_a_report_that_cannot_be_read_is_missing(folder: Path, text: str) -> None:
    (folder / "report.json").write_text(text)
    run = read_run(folder)
    assert run.systems == []
    assert any("report.json cannot be read" in line for line in run.missing)


@pytest.mark.parametrize("text", ["{", '{"counts": {"in": "many"}}'])
def test_a_manifest_that_cannot_be_read_is_told_and_its_stage_is_shown(folder: Path, text: str) -> None:
    (folder / "sft/manifest.json").write_text(text)
    run = read_run(folder)
    assert any(line.startswith("train sft: manifest.json cannot be read") for line in run.missing)
    assert "train sft" in [stage.name for stage in run.stages]


def test_a_system_of_the_report_without_predictions_is_told(folder: Path) -> None:
    write_report(folder, system("sft"), system("lost"))
    assert "infer lost: in the report, but without predictions in this folder" in read_run(folder).missing


def test_a_folder_that_is_no_run(tmp_path: Path) -> None:
    (tmp_path / "notes.txt").write_text("x")
    with pytest.raises(InputError, match="no run folder; it has none of bm25"):
        read_run(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        read_run(tmp_path / "nowhere")
    with pytest.raises(InputError, match="no folder"):
        read_run(tmp_path / "notes.txt")
