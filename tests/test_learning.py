"""That the training stages teach what they are for: a tiny random model, a tiny problem, real steps of LLaMA-Factory.

A passage is three words, the last one a name; in the passage that is needed the second word is "signed", and its name answers the
question. Nothing else tells the passages apart, so a model that chooses right has learnt it from the examples.
"""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from tests.real_trainer import NEEDS_TRAINER, ROOT, TRAINER
from tests.samples import read, write
from tests.tiny_models import build_tiny_lm

# One word of the tokenizer each.
NAMES = [f"name{number}" for number in range(20)]
WORDS = [f"word{number}" for number in range(40)]
N_CANDIDATES = 4
CLONE = ("--learning-rate", "3e-3", "--max-steps", "600", "--batch-size", "32")
LOOSEN = ("--learning-rate", "1e-3", "--max-steps", "300", "--batch-size", "32")
SAMPLE = ("--rollouts", "8", "--top-p", "1", "--limit", "400")
PREFER = ("--learning-rate", "5e-5", "--max-steps", "60", "--batch-size", "16", "--sft-weight", "1")

pytestmark = [pytest.mark.slow, *NEEDS_TRAINER]


def question(number: int) -> dict:
    """A question with a marked passage among its candidates; a teacher finds it best, and every second other one good enough."""
    draw = random.Random(number)
    gold = draw.randrange(N_CANDIDATES)
    marks = ["signed" if place == gold else draw.choice(WORDS) for place in range(N_CANDIDATES)]
    texts = [f"{draw.choice(WORDS)} {mark} {draw.choice(NAMES)}" for mark in marks]
    return {
        "id": f"q{number}",
        "question": f"who signed {' '.join(draw.sample(WORDS, 4))}",
        "answers": [texts[gold].split()[-1]],
        "dataset": "qa",
        "split": "train" if number % 20 else "dev",
        "gold_passage_ids": [f"p{number}-{gold}"],
        "docs": [{"id": f"p{number}-{place}", "title": "", "text": text} for place, text in enumerate(texts)],
        "relevance": {
            "teacher": "gold",
            "model": None,
            "scores": [1.0 if place == gold else draw.choice([0.1, 0.9]) for place in range(N_CANDIDATES)],
            "threshold": 0.5,
        },
    }


class World:
    """A folder in which `drag` is called, and the scores of what it made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def drag(self, *arguments: object) -> None:
        environment = {**os.environ, "DRAG_TRAINER": str(TRAINER), "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dynamicrag_cli", *map(str, arguments)]
        done = subprocess.run(command, cwd=self.folder, capture_output=True, text=True, env=environment, check=False)
        assert done.returncode == 0, done.stderr[-3000:]

    def train(self, stage: str, data: str, output: str, model: str, *settings: str) -> None:
        common = ("--template", "smollm2", "--use-cpu", "--no-bf16", "--cutoff", 256, "--accumulation", 1, "--save-steps", 0)
        self.drag("train", stage, "--data", data, "-o", output, "--model", model, *common, *settings)

    def scores(self, model: str, *options: str) -> dict[str, float]:
        """Scores of a model's choices, read by that model, on the questions that no training saw."""
        self.drag("infer", "labelled.jsonl", "-o", f"{model}.jsonl", "--model", model, "--split", "dev", *options)
        self.drag("eval", f"{model}.jsonl", "--gold", "labelled.jsonl", "--split", "dev", "-o", f"{model}.json")
        (system,) = json.loads((self.folder / f"{model}.json").read_text())["systems"]
        return {name: score["mean"] for name, score in system["scores"].items()} | {"passages": system["mean_passages"]}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    found = World(tmp_path_factory.mktemp("learning"))
    write(found.folder / "labelled.jsonl", (question(number) for number in range(4000)))
    for target in ("evidence", "threshold"):
        found.drag("build-bc", "labelled.jsonl", "-o", f"bc-{target}", "--target", target)
    examples = [
        example for target in ("evidence", "threshold") for example in read(found.folder / f"bc-{target}/reranker_bc.jsonl")
    ]
    texts = ["\n".join(example[part] for part in ("system", "user", "assistant")) for example in examples[::10]]
    build_tiny_lm(found.folder / "random", texts, spread=0.05)
    return found


@pytest.fixture(scope="module")
def cloned(world: World) -> str:
    """The random model after cloning: the passage that is needed, and no other."""
    world.train("sft", "bc-evidence", "cloned", "random", *CLONE)
    return "cloned"


def test_cloning_teaches_to_choose_the_passage_that_is_needed(world: World, cloned: str) -> None:
    before, after = world.scores("random", "--max-selection-tokens", "16"), world.scores(cloned)
    assert before["selection_f1"] <= 1 / N_CANDIDATES
    assert after["selection_f1"] >= 0.9
    assert after["em"] >= 0.9


def test_preferences_with_the_length_reward_teach_to_stop_earlier_at_equal_accuracy(world: World, cloned: str) -> None:
    """First the model learns to choose also what the teacher finds good enough, then to leave it out."""
    world.train("sft", "bc-threshold", "loose", cloned, *LOOSEN)
    world.drag("sample", "bc-threshold/dpo_pool.jsonl", "-o", "sampled.jsonl", "--model", "loose", *SAMPLE)
    world.drag("reward", "sampled.jsonl", "-o", "rewarded.jsonl", "--weights", "em=0.5 length=0.5")
    world.drag("build-dpo", "rewarded.jsonl", "-o", "dpo-data", "--min-margin", 0.05)
    world.train("dpo", "dpo-data", "dpo", "loose", "--role", "reranker", *PREFER)
    before, after = (world.scores(model, "--temperature", "1", "--reader", "loose") for model in ("loose", "dpo"))
    assert before["passages"] > 2
    assert after["passages"] < before["passages"] - 0.8
    assert after["selection_recall"] > before["selection_recall"] - 0.02
    assert after["em"] > before["em"] - 0.02
