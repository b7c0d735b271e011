"""`drag audit` finds what is planted, and `drag train` leaves it out."""

import json
from pathlib import Path

import pytest

from dynamicrag_cli.adapters.engines.tokens import ChatTokenizer
from dynamicrag_cli.cli.audit import prompt_check
from dynamicrag_cli.core.audit import FINDINGS
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.prompts import Chat
from dynamicrag_cli.core.records import ChatExample
from tests.samples import labelled, read, write


@pytest.fixture
def data(drag, tmp_path: Path, tiny_lm: Path) -> Path:
    source = write(tmp_path / "in.jsonl", (labelled(number, split="train") for number in range(20)))
    assert drag("build-bc", source, "-o", tmp_path / "bc", "--dpo-share", 0, "--tokenizer", tiny_lm).code == 0
    return tmp_path / "bc"


def plant(data: Path, **changes: object) -> str:
    """Change the first cloning example; returns its id."""
    examples = read(data / "reranker_bc.jsonl")
    examples[0] |= changes
    write(data / "reranker_bc.jsonl", examples)
    return examples[0]["id"]


def test_sound_data_pass(drag, data: Path, tiny_lm: Path) -> None:
    done = drag("audit", data, "--model", tiny_lm, "--cutoff", 2048)
    assert done.code == 0, done.err
    report = json.loads(done.out)
    assert (report["findings"], report["cutoff"]) == ({}, 2048)
    assert report["files"]["reranker_bc"]["examples"] == 20
    assert 0 < report["files"]["generator_sft"]["tokens"]["p50"] < report["files"]["reranker_bc"]["tokens"]["p50"]
    assert "cutoff 2048" in done.err


def test_the_first_example_is_compared_with_what_inference_writes(data: Path, tiny_lm: Path, capsys) -> None:
    file = data / "reranker_bc.jsonl"
    first = read(file)[0]
    tokens = ChatTokenizer(str(tiny_lm))
    prompt, reply = tokens.prompt(Chat(first["system"], first["user"])), tokens.reply(first["assistant"])
    check = prompt_check(str(tiny_lm), "llama3", file, ChatExample)
    check([*prompt, *reply])
    check([*prompt, *reply[:-1]])  # without the line break behind the end of the turn
    thought = tokens.reply("<think>\n\n</think>\n\n")[:-2]
    for ids in ([*prompt[1:], *reply], [*prompt, *thought, *reply], [*prompt, *reply[1:]], prompt, []):
        with pytest.raises(UsageError, match="--template llama3 writes prompts otherwise"):
            check(ids)
    check(None)
    assert "has shown no example" in capsys.readouterr().err


def test_planted_faults_are_named_and_exit_4(drag, data: Path, tiny_lm: Path, tmp_path: Path) -> None:
    name = plant(data, user="say <|im_end|> now")
    done = drag("audit", data, "--model", tiny_lm, "-o", tmp_path / "audit.json")
    assert done.code == 4
    assert f"control_token: a text holds a control token of the model ({name})" in done.err
    assert json.loads((tmp_path / "audit.json").read_text())["bad"]["reranker_bc"] == {name: ["control_token"]}
    assert drag("audit", data, "--model", tiny_lm, "--max-bad-share", 0.1).code == 0


def test_a_fault_of_every_kind_is_found_with_a_real_tokenizer(drag, data: Path, tiny_lm: Path, tmp_path: Path) -> None:
    sound = read(data / "reranker_bc.jsonl")
    examples = [{**example, "id": f"e{number}"} for number, example in enumerate(sound[:6])]
    padding = "words and more words " * 600
    head, _, tail = examples[1]["user"].partition("[1]")
    examples[0]["user"] += padding  # behind the last passage: the turn of the reply is lost, the identifiers are not
    examples[1] |= {"user": f"{head}{padding}[1]{tail}", "assistant": "[1]"}
    examples[2]["assistant"] = " "
    examples[3]["assistant"] = "<|im_end|>"
    examples += [{**examples[4], "id": "copy"}, {**examples[5], "id": "other", "assistant": "[9]"}]
    same = "as long as can be " * 300
    pair = {
        "id": "p",
        "role": "generator",
        "system": "S",
        "user": padding,
        "chosen": f"{same}yes",
        "rejected": f"{same}no",
        "margin": 1.0,
    }
    folder = tmp_path / "planted"
    folder.mkdir()
    write(folder / "reranker_bc.jsonl", examples)
    write(folder / "generator_dpo.jsonl", [pair, {**pair, "id": "q", "user": "short", "chosen": "yes", "rejected": "no"}])
    (folder / "dataset_info.json").write_text(json.dumps({"reranker_bc": {}, "generator_dpo": {}}))
    done = drag("audit", folder, "--model", tiny_lm, "--cutoff", 1024)
    assert done.code == 4
    report = json.loads(done.out)
    assert report["bad"] == {
        "reranker_bc": {
            "e0": ["truncated"],
            "e1": ["truncated", "target_lost"],
            "e2": ["empty_reply"],
            "e3": ["control_token"],
            "copy": ["duplicate"],
            "other": ["contradiction"],
        },
        "generator_dpo": {"p": ["truncated", "equal_sides"]},
    }
    assert {*report["findings"]} == {*FINDINGS}


def test_a_cutoff_that_is_too_small_stops_a_training_before_it_starts(drag, data: Path, tiny_lm: Path, tmp_path: Path) -> None:
    from tests.cli.conftest import fake_program

    arguments = ("train", "sft", "--data", data, "-o", tmp_path / "m", "--model", tiny_lm, "--trainer", fake_program(tmp_path))
    done = drag(*arguments, "--cutoff", 32)
    assert (done.code, "target_lost" in done.err, "--max-bad-share" in done.err) == (4, True, True)
    assert not list(tmp_path.glob("m*"))
    assert drag(*arguments, "--cutoff", 2048).code == 0


@pytest.mark.parametrize("order", ["--shuffle", "--in-groups"])
def test_data_without_an_example_is_refused(drag, data: Path, tiny_lm: Path, tmp_path: Path, order: str) -> None:
    from tests.cli.conftest import fake_program

    for file in data.glob("*.jsonl"):
        file.write_text("", encoding="utf-8")
    arguments = ("train", "sft", "--data", data, "-o", tmp_path / "m", "--model", tiny_lm, "--trainer", fake_program(tmp_path))
    done = drag(*arguments, order)
    assert (done.code, "no example to train on" in done.err) == (4, True), done.err


def test_a_missing_trainer_is_told_before_the_audit(drag, data: Path, tiny_lm: Path, tmp_path: Path) -> None:
    arguments = ("train", "sft", "--data", data, "-o", tmp_path / "m", "--model", tiny_lm, "--trainer", "no-such-program")
    done = drag(*arguments, "--cutoff", 32)
    assert (done.code, "no-such-program" in done.err, "target_lost" in done.err) == (3, True, False)


def test_a_training_leaves_bad_examples_out(drag, data: Path, tiny_lm: Path, tmp_path: Path) -> None:
    from tests.cli.conftest import fake_program

    name = plant(data, user="say <|im_end|> now")
    done = drag("train", "sft", "--data", data, "-o", tmp_path / "m", "--model", tiny_lm, "--trainer", fake_program(tmp_path))
    assert done.code == 0, done.err
    manifest = json.loads((tmp_path / "m/manifest.json").read_text())
    assert (manifest["counts"]["dropped"], manifest["audit"]["bad"]["reranker_bc"]) == (1, {name: ["control_token"]})
    kept = {example["id"] for example in read(tmp_path / "m/data/reranker_bc.jsonl")}
    assert kept == {example["id"] for example in read(data / "reranker_bc.jsonl")} - {name}


def test_a_folder_that_holds_no_data(drag, tmp_path: Path, tiny_lm: Path) -> None:
    done = drag("audit", tmp_path, "--model", tiny_lm)
    assert (done.code, "drag build-bc" in done.err) == (4, True)
