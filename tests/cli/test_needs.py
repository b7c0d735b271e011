"""What is read off a pipeline file: extras, models, data, and how far the run has come."""

import shutil
from pathlib import Path

import pytest
import typer

from dynamicrag_cli.adapters.files.manifest import write_manifest
from dynamicrag_cli.cli.main import app
from dynamicrag_cli.cli.needs import OUTPUTS, Needs, read_needs
from tests.conftest import ROOT

RUN = "run: {dir: runs/x, corpus: c.jsonl, questions: q.jsonl, model: models/lm}\n"


@pytest.fixture
def read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The needs of a pipeline file with this text, in an empty working folder without a hub."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")

    def look(text: str) -> Needs:
        Path("p.yaml").write_text(text)
        return read_needs(Path("p.yaml"), typer.main.get_command(app))

    return look


def states(needs: Needs) -> dict[str, str]:
    return {fact.name: fact.state for fact in needs.facts if fact.part == "pipeline"}


@pytest.mark.parametrize(
    ("section", "extras"),
    [
        ("index: {}", set()),
        ("index: {retriever: bm25}", {"retrieval"}),
        ("retrieve: {top-k: 3}", {"retrieval"}),
        ("rerank-teacher: {teacher: gold}", set()),
        ("rerank-teacher: {teacher: bi-encoder, model: m}", {"local"}),
        ("rerank-teacher: {teacher: llm, model: m, engine: vllm}", {"local", "vllm"}),
        ("build-bc: {target: evidence}", set()),
        ("build-bc: {tokenizer: m}", {"local"}),
        ("sample: {model: m}", {"local"}),
        ("sample: {model: m, engine: openai}", {"openai"}),
        ("sample: {model: m, engine: openai, runner: ray}", {"openai", "ray"}),
        ("reward: {weights: em=1, engine: vllm}", set()),
        ("reward: {weights: judge=1, engine: vllm}", {"vllm"}),
        ("reward: {weights: bertscore=1, engine: vllm}", {"local"}),
        ("reward: {weights: em=much}", set()),
        ("infer: {a: {engine: fake, model: f}, b: {engine: vllm, model: m}}", {"vllm"}),
        ("infer: {engine: openai, model: m}", {"openai"}),
        ("sample: {model: m, engine: no-such}", set()),
    ],
)
def test_extras_follow_from_what_a_section_does(read, section: str, extras: set[str]) -> None:
    assert read(RUN + section + "\n").extras == extras


def test_training_and_cuda_are_needed_where_a_section_says_so(read) -> None:
    plain = read(RUN + "index: {retriever: bm25}\n")
    assert (plain.trainer, plain.cuda) == (False, False)
    found = read(RUN + "train: {dpo: {beta: 0.1}}\nsample: {device: 'cuda:1', model: m}\n")
    assert (found.trainer, found.cuda) == (True, True)


def test_what_stands_beside_the_trainer_follows_from_its_options(read) -> None:
    assert read(RUN + "train: {sft: {epochs: 1}}\n").train_extras == set()
    sections = "train: {sft: {deepspeed: zero3.json}, dpo: {finetuning: lora, quantization-bit: 4}}\n"
    assert read(RUN + sections).train_extras == {"deepspeed", "bitsandbytes"}


def test_data_and_models_are_looked_for(read, tmp_path: Path) -> None:
    found = read(RUN)
    assert states(found) == {"corpus": "missing", "questions": "missing", "model": "missing"}
    assert all(fact.lacking for fact in found.facts if fact.part == "pipeline")
    assert [fact.remedy for fact in found.facts if fact.name == "model"] == ["make models"]
    (tmp_path / "c.jsonl").write_text("")
    (tmp_path / "models/lm").mkdir(parents=True)
    assert states(read(RUN)) == {"corpus": "ok", "questions": "missing", "model": "broken"}
    (tmp_path / "models/lm/config.json").write_text("{}")
    assert states(read(RUN))["model"] == "ok"


def test_what_the_pipeline_makes_itself_is_not_missing(read) -> None:
    found = read(RUN + "train: {dpo: {model: '${dir}/sft'}}\ninfer: {model: '${dir}/dpo', reader: '${dir}/sft'}\n")
    rows = {fact.name: fact for fact in found.facts if fact.state == "later" and fact.part == "pipeline"}
    assert {name: fact.remedy for name, fact in rows.items()} == {
        "infer.model": "make train-dpo CONFIG=p.yaml",
        "infer.reader": "make train-sft CONFIG=p.yaml",
    }
    assert not any(fact.lacking for fact in rows.values())


def test_each_name_is_shown_once(read) -> None:
    found = read(RUN + "build-bc: {tokenizer: '${model}'}\ntrain: {sft: {model: '${model}'}}\n")
    assert sum("models/lm" in fact.found for fact in found.facts) == 1


def test_a_models_name_at_an_endpoint_and_a_script_are_no_folders(read, tmp_path: Path) -> None:
    found = read(RUN + "sample: {engine: openai, model: some/thing}\ninfer: {engine: fake, model: s.json}\n")
    assert "sample.model" not in states(found)
    assert states(found)["infer.model"] == "missing"
    (tmp_path / "s.json").write_text("{}")
    assert states(read(RUN + "infer: {engine: fake, model: s.json}\n"))["infer.model"] == "ok"


def test_the_encoder_of_a_dense_index_that_lies_elsewhere_is_looked_for(read, tmp_path: Path) -> None:
    text = RUN + "retrieve: {index: '${dir}/dense', encoder: minilm}\n"
    assert states(read(text))["retrieve.encoder"] == "missing"
    (tmp_path / "minilm").mkdir()
    assert states(read(text))["retrieve.encoder"] == "ok"


def test_a_model_that_the_selector_does_not_use_is_not_asked_for(read) -> None:
    assert "infer.model" not in states(read(RUN + "infer: {selector: none, model: org/m, reader: org/r}\n"))


def test_a_hub_model_is_cached_or_fetched_or_out_of_reach(read, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = RUN + "sample: {model: org/m}\n"
    (row,) = [fact for fact in read(text).facts if fact.name == "sample.model"]
    assert (row.state, row.remedy) == ("later", "hf download org/m")
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    (row,) = [fact for fact in read(text).facts if fact.name == "sample.model"]
    assert (row.state, row.lacking) == ("missing", True)
    (tmp_path / "hub/models--org--m/snapshots/abc").mkdir(parents=True)
    assert states(read(text))["sample.model"] == "ok"


def test_variables_that_are_not_set_are_rows_of_their_own(read) -> None:
    found = read("run: {dir: r, corpus: '${NO_SUCH_PLACE}/c.jsonl', questions: q.jsonl, model: m/n/o}\n")
    assert [fact.name for fact in found.facts if fact.lacking] == ["file", "questions", "model"]
    assert "NO_SUCH_PLACE" in found.facts[0].found


def test_outputs_are_made_begun_or_not_yet(read, tmp_path: Path) -> None:
    folder = tmp_path / "runs/x"
    (folder / "bm25").mkdir(parents=True)
    write_manifest(folder / "bm25", {})
    (folder / "candidates.jsonl").write_text("")
    write_manifest(folder / "candidates.jsonl", {})
    (folder / "labelled.jsonl.partial").write_text("")
    rows = {fact.name: fact for fact in read(RUN).facts if fact.part == "run"}
    assert [rows[name].found.rpartition(": ")[2] for name in ("index", "retrieve", "rerank-teacher", "build-bc")] == [
        "made", "made", "begun", "not made yet"
    ]  # fmt: skip
    assert rows["build-bc"].remedy == "make build-bc CONFIG=p.yaml"
    assert not any(fact.lacking for fact in rows.values())


@pytest.mark.parametrize(
    ("policies", "train", "left_out"),
    [
        ("", "{sft: {}}", {"reranker"}),
        ("", "{sft: {}, reranker: {}}", set()),
        ("stop fixed", "{rrpo: {}, reranker: {}}", {"bc", "sft", "sampled.jsonl", "rewarded.jsonl", "dpo-data", "dpo"}),
        ("stop", "{rrpo: {}}", {"bc", "sft", "sampled.jsonl", "rewarded.jsonl", "dpo-data", "dpo", "reranker", "labelled.jsonl"}),
    ],
)
def test_what_a_pipeline_never_makes_is_no_next_step(read, policies: str, train: str, left_out: set[str]) -> None:
    found = read(f"{RUN.rstrip()[:-1]}, policies: {policies or 'null'}}}\ntrain: {train}\n")
    shown = {fact.found.removeprefix("runs/x/").partition(":")[0] for fact in found.facts if fact.part == "run"}
    assert shown == {*OUTPUTS} - left_out - {"dense"} | {f"rrpo-{name}" for name in policies.split()}


def test_every_target_that_is_named_is_one_of_the_makefile() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    for output, target in OUTPUTS.items():
        assert f"\n{target}: " in makefile
        assert f"$(RUN)/{output}" in makefile


@pytest.mark.parametrize("path", sorted((ROOT / "pipelines").glob("*.yaml")), ids=lambda path: path.stem)
def test_the_pipelines_that_ship_need_what_they_name(path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAG_DATA", "/nowhere")
    monkeypatch.setenv("SMOKE", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(ROOT / "examples", tmp_path / "examples")
    found = read_needs(path, typer.main.get_command(app))
    assert found.trainer is not path.stem.startswith("rrpo")
    assert "retrieval" in found.extras
    assert ("vllm" in found.extras) is (found.cuda) is (path.stem == "llama3_8b")
    assert not [fact for fact in found.facts if "${" in fact.found]
