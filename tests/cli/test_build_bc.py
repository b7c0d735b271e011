"""`drag build-bc`: a folder of training files that LLaMA-Factory's registry names."""

import json
import re
from pathlib import Path

import pytest

from tests.samples import labelled, read, script, write


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", (labelled(number) for number in range(40)))


def test_the_folder_holds_both_roles_the_pool_and_the_registry(drag, source: Path, tmp_path: Path) -> None:
    done = drag("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0.5)
    assert done.code == 0, done.err
    rerank, answer, pool = (read(tmp_path / f"bc/{name}.jsonl") for name in ("reranker_bc", "generator_sft", "dpo_pool"))
    train = {record["id"] for record in read(source) if record["split"] == "train"}
    taught = {record["id"] for record in answer}
    assert taught | {record["id"] for record in pool} == train
    assert not taught & {record["id"] for record in pool}
    assert {record["id"].partition("#")[0] for record in rerank} == taught
    registry = json.loads((tmp_path / "bc/dataset_info.json").read_text())
    assert {*registry} == {"reranker_bc", "generator_sft"}
    for stem, entry in registry.items():
        assert (tmp_path / "bc" / entry["file_name"]).exists()
        assert {*entry["columns"].values()} <= {*read(tmp_path / f"bc/{stem}.jsonl")[0]}


def test_the_target_names_the_gold_passage_in_the_shown_order(drag, source: Path, tmp_path: Path) -> None:
    drag("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0)
    by_id = {record["id"]: record for record in read(source)}
    positions = set()
    for example in read(tmp_path / "bc/reranker_bc.jsonl"):
        town = by_id[example["id"].partition("#")[0]]["answers"][0]
        (block,) = [part for part in example["user"].split("\n\n") if f"{town} lies on the Danube" in part]
        assert [example["assistant"]] == re.findall(r"\[\d+\]", block)
        positions.add(example["assistant"])
    assert positions == {"[1]", "[2]", "[3]"}


def test_copies_show_the_candidates_in_other_orders(drag, source: Path, tmp_path: Path) -> None:
    drag("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0, "--copies", 3)
    examples = read(tmp_path / "bc/reranker_bc.jsonl")
    assert [e["id"].partition("#")[2] for e in examples[:3]] == ["0", "1", "2"]
    assert len({e["user"] for e in examples}) > len(examples) / 3
    assert len(read(tmp_path / "bc/generator_sft.jsonl")) == len(examples) / 3


def test_control_tokens_of_the_tokenizer_are_broken_in_the_data(drag, tmp_path: Path, tiny_lm: Path) -> None:
    """`<|im_end|>` is broken anyway, so a model of its own kind is needed: an added token that looks like a word."""
    import shutil

    shutil.copytree(tiny_lm, tmp_path / "lm")
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "lm")
    tokenizer.add_tokens(["@@turn@@"], special_tokens=True)
    tokenizer.save_pretrained(tmp_path / "lm")
    source = write(tmp_path / "in.jsonl", [labelled(1, question="Who says @@turn@@ here?", split="train")])
    for name, options in {"without": [], "with": ["--tokenizer", tmp_path / "lm"]}.items():
        done = drag("build-bc", source, "-o", tmp_path / name, "--dpo-share", 0, *options)
        assert done.code == 0, done.err
    assert "@@turn@@" in read(tmp_path / "without/reranker_bc.jsonl")[0]["user"]
    assert "@@turn@@" not in read(tmp_path / "with/reranker_bc.jsonl")[0]["user"]


def test_wrong_calls(drag, source: Path, tmp_path: Path) -> None:
    assert "Did you mean 'evidence'?" in drag("build-bc", source, "-o", tmp_path / "bc", "--target", "evidense").err
    assert drag("build-bc", source, "-o", tmp_path / "bc", "--tokenizer", tmp_path / "nowhere").code == 4
    assert drag("build-bc", source, "-o", "-").code == 2
    assert drag("build-bc", source).code == 2
    assert not (tmp_path / "bc").exists()


def test_questions_of_an_evaluation_file_are_left_out_and_counted(drag, source: Path, tmp_path: Path) -> None:
    train = [record for record in read(source) if record["split"] == "train"]
    asked = {name: train[0][name] for name in ("id", "answers", "dataset")} | {"question": train[0]["question"].upper()}
    foreign = write(tmp_path / "eval.jsonl", [asked])
    done = drag("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0, "--against", foreign)
    assert done.code == 0, done.err
    notes = json.loads((tmp_path / "bc/manifest.json").read_text())["notes"]
    assert notes["near-duplicate of a question of --against"] == 1
    assert notes["SFT part, target of 1"] == len(train) - 1
    assert train[0]["id"] not in {record["id"] for record in read(tmp_path / "bc/generator_sft.jsonl")}
    (tmp_path / "bad.jsonl").write_text("{}\n")
    bad = drag("build-bc", source, "-o", tmp_path / "other", "--against", tmp_path / "bad.jsonl")
    assert (bad.code, "bad.jsonl, line 1" in bad.err) == (4, True)


def test_lengths_are_balanced_by_leaving_questions_out(drag, tmp_path: Path) -> None:
    records = [labelled(number, split="train", **({"gold_passage_ids": []} if number < 20 else {})) for number in range(30)]
    source = write(tmp_path / "in.jsonl", records)
    done = drag("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0, "--max-none-share", 0.5, "--chunk", 7)
    assert done.code == 0, done.err
    notes = json.loads((tmp_path / "bc/manifest.json").read_text())["notes"]
    assert notes == {"SFT part, target None": 10, "SFT part, target of 1": 10, "left out to balance the lengths": 10}
    assert "10  SFT part, target None" in done.err


def test_the_reader_decides_and_is_asked_once(drag, source: Path, tmp_path: Path) -> None:
    fake = script(tmp_path / "fake.json", default="unknown", **{"Passau lies": ["Passau"], "Linz lies": {"error": "boom"}})
    call = ("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0, "--engine", "fake", "--max-reject-rate", 0.5)
    done = drag(*call, "--target", "reader", "--reader", fake, "--max-length-share", 1)
    assert done.code == 0, done.err
    notes = json.loads((tmp_path / "bc/manifest.json").read_text())["notes"]
    by_answer = [r["answers"][0] for r in read(source) if r["split"] == "train"]
    assert notes["SFT part, target of 1"] == by_answer.count("Passau") > 0
    assert "the reader failed: boom" in {r["reason"] for r in read(tmp_path / "bc/rejects.jsonl")}
    assert notes["no target: which passages are needed is not known, or they are more than --max-passages"] > 0


def test_calls_that_fit_no_target(drag, source: Path, tmp_path: Path) -> None:
    for wrong in (["--target", "reader"], ["--reader", "m"], ["--near-duplicates", 0.1]):
        assert drag("build-bc", source, "-o", tmp_path / "bc", *wrong).code == 2
    done = drag("build-bc", "-", "-o", tmp_path / "bc", stdin=b"")
    assert (done.code, "file instead of stdin" in done.err) == (2, True)
