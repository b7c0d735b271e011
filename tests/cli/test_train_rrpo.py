"""`drag train rrpo`: a tiny cross-encoder and a scripted reader."""

import json
from pathlib import Path

import msgspec
import pytest

from tests.samples import TOWNS, question, read, script, write
from tests.tiny_models import build_tiny_cross_encoder

FEW = ("--batch-size", 2, "--accumulation", 1, "--rollouts", 2, "--epochs", 2, "--device", "cpu", "--engine", "fake")


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return write(tmp_path / "in.jsonl", [question(number, split="train") for number in range(4)])


@pytest.fixture
def reader(tmp_path: Path) -> Path:
    """Says the first town whose passage it sees, in the order of the towns."""
    return script(tmp_path / "reader.json", default="unknown", **{f"{town} lies on": [town] for town in TOWNS})


@pytest.fixture
def call(data: Path, reader: Path, tiny_cross_encoder: Path) -> tuple[object, ...]:
    return ("train", "rrpo", "--data", data, "--model", tiny_cross_encoder, "--reader", reader, *FEW)


def weights(folder: Path) -> bytes:
    return (folder / "model.safetensors").read_bytes()


def test_a_run_leaves_a_model_a_curve_and_a_cache(drag, tmp_path: Path, call, data: Path, tiny_cross_encoder: Path) -> None:
    out = tmp_path / "rrpo"
    done = drag(*call, "-o", out, "--k", "0:2", "--passage-cost", 0.1)
    assert (done.code, done.out) == (0, b""), done.err
    assert "4 questions, 4 steps, reward" in done.err
    note = json.loads((out / "rrpo.json").read_text())
    assert (note["k"], len(note["stop"]), note["passage_cost"]) == ("0:2", 2, 0.1)
    assert any(note["stop"])
    curve = read(out / "curve.jsonl")
    assert [line["step"] for line in curve] == [1, 2, 3, 4]
    assert {"loss", "reward", "reference", "kl", "cached", "passages", "skipped", "learning_rate"} <= {*curve[0]}
    assert curve[-1]["cached"] > curve[0]["cached"]
    manifest = json.loads((out / "manifest.json").read_text())
    assert (manifest["kind"], manifest["stage"], manifest["counts"]["failed"]) == ("model", "rrpo", 0)
    start, end = manifest["stop_start"], manifest["stop"]
    assert start != end
    shown = " -> ".join(", ".join(f"{score:.2f}" for score in scores) for scores in (start, end))
    assert f"STOP scores by passages read: {shown}" in done.err
    assert weights(out) != weights(tiny_cross_encoder)
    assert (tmp_path / "rrpo.answers.sqlite").is_file()
    assert {path.name for path in out.iterdir()} >= {"config.json", "model.safetensors", "tokenizer.json"}
    assert not [*out.glob("checkpoint-*")]
    assert "up to date" in drag(*call, "-o", out, "--k", "0:2", "--passage-cost", 0.1).err
    scored = drag("rerank-teacher", data, "-o", tmp_path / "scored.jsonl", "--teacher", "cross-encoder", "--model", out)
    assert scored.code == 0, scored.err
    assert "threshold" not in read(tmp_path / "scored.jsonl")[0]["relevance"]


def test_a_second_run_asks_the_reader_nothing(drag, tmp_path: Path, call, reader: Path) -> None:
    more = ("--k", "2", "--cache", tmp_path / "answers.sqlite", "--seed", 1)
    assert drag(*call, "-o", tmp_path / "one", *more).code == 0
    done = drag(*call, "-o", tmp_path / "two", *more, "--weights", "em=1")
    assert done.code == 0, done.err
    assert {line["cached"] for line in read(tmp_path / "two/curve.jsonl")} == {1.0}
    reader.write_text(reader.read_text().replace("unknown", "none"))
    assert drag(*call, "-o", tmp_path / "three", *more).code == 0
    assert read(tmp_path / "three/curve.jsonl")[0]["cached"] == 0


def test_an_interrupted_run_goes_on_to_the_same_weights(drag, tmp_path: Path, call, monkeypatch: pytest.MonkeyPatch) -> None:
    from dynamicrag_cli.adapters.rrpo.trainer import Trainer

    more = ("--k", "0:2", "--save-steps", 1)
    assert drag(*call, "-o", tmp_path / "whole", *more).code == 0
    step = Trainer.train_step

    def interrupt(self: Trainer) -> dict[str, float]:
        if self.step == 3:
            raise KeyboardInterrupt
        return step(self)

    monkeypatch.setattr(Trainer, "train_step", interrupt)
    stopped = drag(*call, "-o", tmp_path / "out", *more)
    assert (stopped.code, "goes on from the last saved step" in stopped.err) == (130, True)
    assert [path.name for path in (tmp_path / "out.partial").glob("checkpoint-*")] == ["checkpoint-3"]
    monkeypatch.setattr(Trainer, "train_step", step)
    other = drag(*call, "-o", tmp_path / "out", *more, "--kl", 0.2)
    assert (other.code, "kl: 0.1 -> 0.2" in other.err) == (2, True), other.err
    done = drag(*call, "-o", tmp_path / "out", *more)
    assert (done.code, "going on after step 3" in done.err) == (0, True), done.err
    assert weights(tmp_path / "out") == weights(tmp_path / "whole")
    assert [line["step"] for line in read(tmp_path / "out/curve.jsonl")] == [1, 2, 3, 4]


def test_a_reader_that_fails_for_some_prompts(drag, tmp_path: Path, call, reader: Path) -> None:
    town = question(1)["docs"][0]["title"]
    script(reader, default="unknown", **{f"{town} lies on": {"error": "boom"}, "Linz lies on": ["Linz"]})
    # All questions in one step: some list of two begins without that town, whatever the weights.
    done = drag(*call, "-o", tmp_path / "out", "--k", "2", "--batch-size", 4)
    assert done.code == 0, done.err
    assert "prompts that the reader failed on" in done.err
    counts = json.loads((tmp_path / "out/manifest.json").read_text())["counts"]
    assert counts["failed"] > 0 < counts["skipped"]


def test_a_step_whose_prompts_all_fail_is_left_out_and_told(drag, tmp_path: Path, call, reader: Path) -> None:
    """A step of one question whose candidates the reader fails on does not end the run."""
    script(reader, default="unknown", **{"town number 1 ": {"error": "boom"}, "Linz lies on": ["Linz"]})
    done = drag(*call, "-o", tmp_path / "out", "--k", "1", "--batch-size", 1, "--epochs", 1)
    assert done.code == 0, done.err
    assert "mostly for: boom" in done.err
    unknown = [line for line in read(tmp_path / "out/curve.jsonl") if line["reward"] is None]
    assert unknown
    assert all(line["failed"] == line["asked"] for line in unknown)


def test_a_reader_that_always_fails_is_exit_5(drag, tmp_path: Path, call, reader: Path) -> None:
    script(reader, Danube={"error": "boom"})
    done = drag(*call, "-o", tmp_path / "out", "--k", "2")
    assert (done.code, done.error, "got a reward, mostly for: boom" in done.err) == (5, None, True), done.err


def test_terms_that_need_a_model(drag, tmp_path: Path, call, reader: Path, tiny_encoder: Path) -> None:
    """The judge is asked through the reader's engine, and its grades are kept with the answers."""
    judge = script(tmp_path / "judge.json", default="Score: 50")
    more = ("--k", "1", "--weights", "bertscore=1 judge=1", "--bertscore-model", tiny_encoder, "--judge", judge)
    done = drag(*call, "-o", tmp_path / "out", *more)
    assert done.code == 0, done.err
    curve = read(tmp_path / "out/curve.jsonl")
    assert all(0.5 <= line["reward"] <= 1.5 and line["failed"] == 0 for line in curve)
    script(judge, default="I cannot say")
    done = drag(*call, "-o", tmp_path / "two", *more)
    assert (done.code, "got a reward" in done.err) == (5, True), done.err


def test_equal_rewards_are_told(drag, tmp_path: Path, call, reader: Path) -> None:
    script(reader, default="unknown")
    done = drag(*call, "-o", tmp_path / "out", "--k", "2", "--max-steps", 1)
    assert (done.code, "all rewards were equal" in done.err) == (0, True), done.err


def test_training_goes_on_from_an_rrpo_model_with_its_stop(drag, tmp_path: Path, call) -> None:
    more = ("--stop-score", 3, "--stop-learning-rate", 0, "--temperature", 2)
    assert drag(*call, "-o", tmp_path / "one", "--k", "0:2", *more).code == 0
    again = [*call]
    again[again.index("--model") + 1] = tmp_path / "one"
    assert drag(*again, "-o", tmp_path / "two", "--k", "0:3", "--stop-learning-rate", 0).code == 0
    note = json.loads((tmp_path / "two/rrpo.json").read_text())
    assert (note["stop"], note["temperature"]) == ([3.0, 3.0, 3.0], 2.0)


def test_the_stop_starts_on_the_scale_of_the_references_scores(drag, tmp_path: Path, call, tiny_cross_encoder: Path) -> None:
    from dynamicrag_cli.adapters.rrpo.scorer import CrossEncoderScorer, load_cross_encoder
    from dynamicrag_cli.core.policy import Bounds, balanced_stop
    from dynamicrag_cli.core.records import RetrievedQuestion

    assert drag(*call, "-o", tmp_path / "out", "--k", "0:2", "--stop-learning-rate", 0, "--temperature", 2).code == 0
    scorer = CrossEncoderScorer(load_cross_encoder("model", str(tiny_cross_encoder), "cpu"))
    records = [msgspec.convert(line, RetrievedQuestion) for line in read(tmp_path / "in.jsonl")]
    tables = [scores.detach().double().numpy() / 2 for scores in scorer(records)]
    expected = [2 * score for score in balanced_stop(tables, Bounds(0, 2))]
    assert json.loads((tmp_path / "out/rrpo.json").read_text())["stop"] == pytest.approx(expected, abs=1e-4)


def test_an_expanded_query_and_another_reader_need_no_new_training(drag, tmp_path: Path, call, toy_bm25: Path) -> None:
    """A checkpoint trained with one reader chooses, for another, among what a Query2Doc query found; the study compares."""
    model = tmp_path / "rrpo"
    assert drag(*call, "-o", model, "--k", "0:2").code == 0
    asked = write(tmp_path / "q.jsonl", [{"id": "1", "question": "Which animal?", "answers": ["the snow leopard"]}])
    expander = script(tmp_path / "expander.json", "The snow leopard cannot roar and wraps its tail around its face.")
    found = tmp_path / "found.jsonl"
    expansion = ("--expand", "query2doc", "--engine", "fake", "--model", expander)
    assert drag("retrieve", asked, "-o", found, "--index", toy_bm25, "--top-k", 3, *expansion).code == 0
    other = script(tmp_path / "other.json", default="unknown", **{"snow leopard": ["the snow leopard"]})
    rows = {"rrpo": ("rrpo", "--stop-bias", -50), "fixed": ("rrpo:1",), "first": ("cross-encoder:1",)}
    for name, (selector, *more) in rows.items():
        chooser = ("--selector", selector, "--selector-model", model, "--device", "cpu", *more)
        done = drag("infer", found, "-o", tmp_path / f"{name}.jsonl", "--engine", "fake", "--reader", other, *chooser)
        assert done.code == 0, done.err
    made = {name: read(tmp_path / f"{name}.jsonl")[0]["rollout"] for name in rows}
    assert (len(made["rrpo"]["selection"]), len(made["fixed"]["selection"])) == (2, 1)
    assert made["fixed"]["selection"] == made["first"]["selection"] == made["rrpo"]["selection"][:1]
    files = [tmp_path / f"{name}.jsonl" for name in rows]
    study = drag("eval", *files, "--gold", asked, "--study", "-o", tmp_path / "report.json")
    assert study.code == 0, study.err
    assert "dynamic k" in study.err + study.out.decode()


def test_a_reference_with_another_head(drag, tmp_path: Path, call, tiny_encoder: Path) -> None:
    three = build_tiny_cross_encoder(tmp_path / "three", outputs=3)
    for model, words in ((three, "has 3 outputs"), (tiny_encoder, "drag train reranker"), (tmp_path / "no", "no such reference")):
        arguments = [*call]
        arguments[arguments.index("--model") + 1] = model
        done = drag(*arguments, "-o", tmp_path / "out")
        assert (done.code, done.error, words in done.err) == (4, None, True), done.err


@pytest.mark.parametrize(
    ("more", "code", "words"),
    [
        (["--k", "5:2"], 2, "such as 0:5"),
        (["--epochs", "0"], 2, "--epochs"),
        (["--weights", "jugde=1"], 2, "Did you mean 'judge'"),
        (["--weights", "em=1 judge=1"], 2, "needs --judge"),
        (["--weights", "bertscore=1"], 2, "needs --bertscore-model"),
        (["--advantage", "papre"], 2, "Did you mean 'paper'"),
        (["--data", "-"], 2, "give --data a file"),
        (["--data", "nowhere.jsonl"], 4, "no such file"),
        (["--split", "dev"], 4, "4 question of another split"),
    ],
)
def test_wrong_calls(drag, tmp_path: Path, call, more: list[str], code: int, words: str) -> None:
    done = drag(*call, "-o", tmp_path / "out", *more)
    assert (done.code, done.error, words in done.err) == (code, None, True), done.err


def test_questions_that_cannot_be_used_are_counted(drag, tmp_path: Path, call, data: Path) -> None:
    write(data, [question(1, split="train"), question(2, split="train", docs=[]), question(4, split="train", answers=[])])
    done = drag(*call, "-o", tmp_path / "out", "--k", "1")
    assert done.code == 0, done.err
    notes = json.loads((tmp_path / "out/manifest.json").read_text())["notes"]
    assert notes == {"left out: no candidates": 1, "left out: no gold answers to reward against": 1}
