"""BERTScore with the tiny encoder, against the definition written out."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModel, AutoTokenizer

from dynamicrag_cli.adapters.rewards.bertscore import BertScore
from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.records import SampledQuestion


def asked(*answers: str) -> SampledQuestion:
    return SampledQuestion(id="a", question="Where?", answers=list(answers), dataset="qa", docs=[], rollouts=[])


@pytest.fixture(scope="module")
def score(tiny_encoder: Path) -> BertScore:
    return BertScore(str(tiny_encoder), None, 2)


def by_definition(folder: Path, answer: str, gold: str) -> float:
    """Greedy matching without padding or batches, token by token."""
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder).eval()

    def vectors(text: str) -> list[torch.Tensor]:
        with torch.inference_mode():
            states = model(**tokenizer(text, return_tensors="pt")).last_hidden_state[0]
        return list(states[1:-1])

    one, other = vectors(answer), vectors(gold)

    def best(side: list[torch.Tensor], against: list[torch.Tensor]) -> float:
        return sum(max(float(torch.cosine_similarity(v, w, dim=0)) for w in against) for v in side) / len(side)

    precision, recall = best(one, other), best(other, one)
    return 2 * precision * recall / (precision + recall)


def test_the_score_is_that_of_the_definition(score: BertScore, tiny_encoder: Path) -> None:
    pairs = [("a town on the Danube", "Ulm"), ("Vienna", "the river Danube in Vienna, Austria"), ("moons", "Io is a moon")]
    expected = [by_definition(tiny_encoder, answer, gold) for answer, gold in pairs]
    assert score([(asked(gold), answer) for answer, gold in pairs]) == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 3) for value in expected}) == 3


def test_equal_texts_score_one_and_empty_ones_zero(score: BertScore) -> None:
    found = score([(asked("Ulm"), "Ulm"), (asked("Ulm"), ""), (asked("Ulm"), "  "), (asked(""), "Ulm"), (asked(), "Ulm")])
    assert found == [pytest.approx(1, abs=1e-5), 0.0, 0.0, 0.0, 0.0]


def test_the_best_gold_answer_counts_and_every_score_is_in_range(score: BertScore) -> None:
    answer = "the town of Ulm"
    single = [score([(asked(gold), answer)])[0] for gold in ("moons of Jupiter", "Ulm", "17")]
    assert score([(asked("moons of Jupiter", "Ulm", "17"), answer)])[0] == pytest.approx(max(single), abs=1e-5)
    assert all(0 <= value <= 1 for value in single)


def test_a_score_does_not_depend_on_the_batch(score: BertScore) -> None:
    texts = ["Ulm", "the river Danube " * 5, "Io", "a b c d e", "moons"]
    together = score([(asked("Vienna"), text) for text in texts])
    assert together == pytest.approx([score([(asked("Vienna"), text)])[0] for text in texts], abs=1e-4)


def test_texts_over_the_encoders_length_are_cut(score: BertScore) -> None:
    (found,) = score([(asked("Ulm"), "Danube " * 200)])
    assert 0 <= found <= 1


def test_texts_over_a_short_encoders_length_are_cut_there(score: BertScore) -> None:
    (found,) = score([(asked("Ulm"), "Danube " * 600)])
    assert 0 <= found <= 1


def test_a_model_that_is_nowhere_is_an_input_error(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="encoder"):
        BertScore(str(tmp_path / "nowhere"), None, 2)
