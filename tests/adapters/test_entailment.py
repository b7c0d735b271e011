"""The NLI classifier on a tiny random BERT, against its logits read off directly."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dynamicrag_cli.adapters.entailment import Entailment
from dynamicrag_cli.core.errors import InputError
from tests.tiny_models import build_tiny_cross_encoder

PAIRS = [("The river Danube. " * (1 + i), claim) for i, claim in enumerate(("Ulm", "It rises.", "Vienna", "Io", "A river", "No"))]


@pytest.fixture(scope="module")
def classifier(tmp_path_factory) -> Path:
    folder = build_tiny_cross_encoder(tmp_path_factory.mktemp("nli") / "three", outputs=3)
    model = AutoModelForSequenceClassification.from_pretrained(folder)
    # Whatever label the random head prefers for the first pair is called entailment, so that both verdicts occur.
    model.config.id2label = {0: "contradiction", 1: "neutral", 2: "ENTAILMENT"}
    model.save_pretrained(folder)
    return folder


@pytest.mark.parametrize("size", [1, 4])
def test_entailment_is_the_likeliest_label(classifier: Path, size: int) -> None:
    tokenizer = AutoTokenizer.from_pretrained(classifier)
    model = AutoModelForSequenceClassification.from_pretrained(classifier).eval()
    verdicts = Entailment(str(classifier), "cpu", size)
    found = []
    with torch.inference_mode():
        for text, claim in PAIRS:
            found.append(int(model(**tokenizer(text, claim, return_tensors="pt")).logits.argmax()))
    for label in range(3):
        verdicts.entailment = label
        assert verdicts(PAIRS) == [other == label for other in found]


def test_nothing_to_judge_and_texts_that_are_too_long(classifier: Path) -> None:
    verdicts = Entailment(str(classifier), "cpu")
    assert verdicts([]) == []
    assert len(verdicts([("Danube " * 5000, "It rises.")])) == 1


def test_models_that_cannot_judge_are_input_errors(tmp_path: Path, tiny_cross_encoder: Path) -> None:
    with pytest.raises(InputError, match="needs one called 'entailment'"):
        Entailment(str(tiny_cross_encoder))
    with pytest.raises(InputError, match="no such NLI model folder"):
        Entailment(str(tmp_path / "nowhere"))
