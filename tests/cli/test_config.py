"""Pipeline files: flag > environment > file > default, variants, `${…}`, and every mistake named."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from dynamicrag_cli.cli import config
from dynamicrag_cli.core.errors import InputError, UsageError
from tests.conftest import ROOT
from tests.samples import prediction, question, script, write


@pytest.fixture
def pipeline(tmp_path: Path) -> Path:
    (tmp_path / "pipeline.yaml").write_text(
        """
        run: {dir: runs/x, model: fake.json, corpus: "${CORPORA}/p.jsonl", questions: q.jsonl}
        infer:
          selector: top-k:2
          reader: ${model}
          engine: fake
          seed: 7
          k1: {selector: "top-k:1"}
          everything: {selector: all, seed: 9}
        train:
          sft: {cutoff: 512, model: "${dir}/base", learning-rate: 1.0e-4}
        index: {retriever: bm25}
        """,
        encoding="utf-8",
    )
    return tmp_path / "pipeline.yaml"


@pytest.fixture
def options(tmp_path: Path, drag, pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict]:
    """The options that `drag infer` used."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORPORA", "/data")
    write(tmp_path / "in.jsonl", [question(1)])
    script(tmp_path / "fake.json")

    def run(*arguments: object) -> dict:
        done = drag("infer", "in.jsonl", "-o", "out.jsonl", "--fresh", *arguments)
        assert done.code == 0, done.err
        return json.loads(Path("out.jsonl.manifest.json").read_text())["fingerprint"]["options"]

    return run


def test_a_flag_beats_the_environment_beats_the_file_beats_the_default(options, monkeypatch: pytest.MonkeyPatch) -> None:
    made = options("--config", "pipeline.yaml")
    assert (made["selector"], made["seed"], made["temperature"]) == ("top-k:2", 7, 0.0)
    monkeypatch.setenv("DRAG_INFER_SEED", "8")
    monkeypatch.setenv("DRAG_INFER_TEMPERATURE", "0.5")
    made = options("--config", "pipeline.yaml")
    assert (made["selector"], made["seed"], made["temperature"]) == ("top-k:2", 8, 0.5)
    made = options("--config", "pipeline.yaml", "--seed", 11, "--selector", "none")
    assert (made["selector"], made["seed"]) == ("none", 11)
    # --reader and --engine have no default that works, so they must have come from the file.
    assert made["engine"] == "fake"


def test_one_word_is_enough_for_an_option_that_may_be_repeated(tmp_path: Path, drag, toy_bm25: Path) -> None:
    questions = write(tmp_path / "q.jsonl", [{"id": "q1", "question": "Where does the Danube rise?"}])
    file = tmp_path / "one.yaml"
    for written in (str(toy_bm25), [str(toy_bm25)]):
        file.write_text(yaml.safe_dump({"retrieve": {"index": written}}))
        assert drag("retrieve", questions, "--config", file, "-o", tmp_path / "out.jsonl", "--fresh").code == 0
        assert "retrieve.index" not in drag("check", file).err


def test_a_key_is_the_name_of_the_flag(tmp_path: Path, drag) -> None:
    source, file = write(tmp_path / "in.jsonl", [question(1)]), tmp_path / "p.yaml"
    file.write_text("rerank-teacher: {teacher: gold, json: true}")
    done = drag("rerank-teacher", source, "-o", tmp_path / "out.jsonl", "--config", file)
    assert (done.code, json.loads(done.out.splitlines()[0])["event"]) == (0, "start")


def test_the_file_itself_may_be_named_by_the_environment(options, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DRAG_INFER_CONFIG", "pipeline.yaml")
    monkeypatch.setenv("DRAG_INFER_VARIANT", "k1")
    assert options()["selector"] == "top-k:1"


@pytest.mark.parametrize(
    "order", [("--config", "pipeline.yaml", "--variant", "everything"), ("--variant", "everything", "--config", "pipeline.yaml")]
)
def test_a_variant_is_laid_over_the_section(options, order: tuple[str, ...]) -> None:
    made = options(*order)
    assert (made["selector"], made["seed"], made["engine"]) == ("all", 9, "fake")


def test_sections_of_commands_with_two_words(tmp_path: Path, drag, pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CORPORA", "/data")
    Path("data").mkdir()
    Path("data/dataset_info.json").write_text('{"reranker_bc": {}}')
    call = ("train", "sft", "--data", "data", "-o", "sft", "--dry-run", "--config", pipeline)
    monkeypatch.setenv("DRAG_TRAIN_SFT_CUTOFF", "256")
    settings = yaml.safe_load(drag(*call).out)
    assert (settings["cutoff_len"], settings["model_name_or_path"], settings["learning_rate"]) == (256, "runs/x/base", 0.0001)
    assert yaml.safe_load(drag(*call, "--cutoff", 128).out)["cutoff_len"] == 128
    monkeypatch.delenv("DRAG_TRAIN_SFT_CUTOFF")
    assert yaml.safe_load(drag(*call).out)["cutoff_len"] == 512


def test_names_are_filled_in_from_the_run_section_and_the_environment(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORPORA", "/data")
    monkeypatch.setenv("model", "the run section wins")
    content = config.load(pipeline)
    assert content["run"]["corpus"] == "/data/p.jsonl"
    assert content["infer"]["reader"] == "fake.json"
    assert content["train"]["sft"]["model"] == "runs/x/base"


def test_a_run_key_may_itself_name_an_environment_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE", "/srv")
    (tmp_path / "p.yaml").write_text("run: {dir: '${HOUSE}/runs'}\nindex: {model: ['${dir}/m', 3]}\n")
    assert config.load(tmp_path / "p.yaml")["index"]["model"] == ["/srv/runs/m", 3]


def test_a_name_that_is_nowhere_is_a_usage_error_that_says_where(pipeline: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORPORA", raising=False)
    with pytest.raises(UsageError, match=r"run.corpus: \$\{CORPORA\} is neither"):
        config.load(pipeline)


def test_two_dollars_are_one_dollar(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("index: {model: 'a$$b'}\n")
    assert config.load(tmp_path / "p.yaml")["index"]["model"] == "a$b"


def test_a_dollar_in_a_value_of_the_environment_is_text(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOUSE", "/srv/$100")
    (tmp_path / "p.yaml").write_text("index: {model: '${HOUSE}/m'}\n")
    assert config.load(tmp_path / "p.yaml")["index"]["model"] == "/srv/$100/m"


@pytest.mark.parametrize("content", ["", "- a\n", "run: [\n", "just words", "\x00"])
def test_a_file_that_is_no_table_is_an_input_error(tmp_path: Path, content: str) -> None:
    (tmp_path / "p.yaml").write_text(content)
    with pytest.raises(InputError, match=r"p\.yaml"):
        config.load(tmp_path / "p.yaml")


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["--config", "nowhere.yaml"], 4, "cannot read the pipeline file nowhere.yaml"),
        (["--config", "pipeline.yaml", "--variant", "everythin"], 2, "no variant 'everythin'. Did you mean 'everything'?"),
        (["--config", "typo.yaml"], 2, "unknown key 'selektor'. Did you mean 'selector'?"),
        (["--config", "output.yaml"], 2, "unknown key 'output'"),
        (["--config", "value.yaml"], 2, "--seed"),
        (["--variant", "k1", "--selector", "all", "--reader", "fake.json", "--engine", "fake"], 2, "--config"),
        (["--config", "number.yaml"], 2, "selector"),
    ],
)
def test_a_mistake_is_named(options, tmp_path: Path, drag, arguments: list[str], code: int, words: str) -> None:
    Path("typo.yaml").write_text("infer: {selektor: all}\n")
    Path("output.yaml").write_text("infer: {output: x.jsonl}\n")
    Path("value.yaml").write_text("infer: {seed: many, selector: all, reader: fake.json, engine: fake}\n")
    Path("number.yaml").write_text("infer: {selector: 3, reader: fake.json, engine: fake}\n")
    done = drag("infer", "in.jsonl", "-o", "out.jsonl", *arguments)
    assert (done.code, done.error) == (code, None), done.err
    assert words in done.err
    assert not Path("out.jsonl").exists()


@pytest.mark.parametrize("command", [["eval", "p.jsonl", "--gold", "q.jsonl"], ["infer", "in.jsonl", "--selector", "all"]])
def test_a_variant_without_a_file_is_a_mistake_everywhere(options, drag, command: list[str]) -> None:
    write(Path("q.jsonl"), [{k: v for k, v in question(1).items() if k != "docs"}])
    write(Path("p.jsonl"), [prediction(1)])
    more = ["--reader", "fake.json", "--engine", "fake"] if command[0] == "infer" else []
    done = drag(*command, *more, "--variant", "k1")
    assert (done.code, "--config" in done.err) == (2, True)


def test_python_m_reads_the_pipeline_file_like_the_program(tmp_path: Path) -> None:
    write(tmp_path / "in.jsonl", [question(1)])
    script(tmp_path / "fake.json")
    (tmp_path / "p.yaml").write_text("infer: {selector: all, reader: fake.json, engine: fake}\n")
    call = [sys.executable, "-m", "dynamicrag_cli", "infer", "in.jsonl", "-o", "out.jsonl", "--config", "p.yaml"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(call, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    manifest = json.loads((tmp_path / "out.jsonl.manifest.json").read_text())
    assert manifest["fingerprint"]["command"] == "infer"
