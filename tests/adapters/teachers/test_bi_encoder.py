"""The bi-encoder teacher: a probability that rises with the cosine, fitted on what is given and on nothing else."""

from pathlib import Path

import numpy as np
import pytest

from dynamicrag_cli.adapters.retrievers.dense import encode
from dynamicrag_cli.adapters.teachers import bi_encoder as module
from dynamicrag_cli.adapters.teachers.bi_encoder import BiEncoder
from dynamicrag_cli.adapters.teachers.settings import TeacherSettings
from dynamicrag_cli.core.errors import InputError

WORDS = ["danube", "river", "vienna", "ulm", "moon", "io", "lava", "tiger", "stripe", "bridge", "castle", "opera", "mozart"]
PAIRS = [
    (f"{WORDS[i % 13]} {WORDS[i * 5 % 13]}?", WORDS[i * 3 % 13], f"{WORDS[i % 13]} and {WORDS[i * 7 % 13]}") for i in range(40)
]


@pytest.fixture
def teacher(tiny_encoder: Path) -> BiEncoder:
    return BiEncoder(str(tiny_encoder), TeacherSettings())


def cosines(teacher: BiEncoder, pairs: list[tuple[str, str, str]]) -> np.ndarray:
    asked = encode(teacher.encoder, [q for q, _, _ in pairs], 8)
    found = encode(teacher.encoder, [f"{title} {text}".strip() for _, title, text in pairs], 8)
    return (asked * found).sum(axis=1)


def test_the_fit_is_monotone_and_tells_gold_from_other_passages(teacher: BiEncoder) -> None:
    truth = cosines(teacher, PAIRS)
    cut = float(np.median(truth))
    facts = teacher.calibrate(PAIRS, [bool(value > cut) for value in truth])
    assert facts["slope"] > 0
    assert (facts["n_pairs"], facts["n_gold"]) == (40, int((truth > cut).sum()))
    scores = np.asarray(teacher.relevance(PAIRS))
    assert (np.diff(scores[np.argsort(truth, kind="stable")]) >= -1e-6).all()
    assert scores[truth > cut].mean() > scores[truth <= cut].mean()
    assert scores.min() >= 0
    assert scores.max() <= 1
    assert scores == pytest.approx(1 / (1 + np.exp(-(facts["slope"] * truth + facts["offset"]))), abs=1e-3)


def test_without_a_fit_the_cosine_is_only_moved_into_range(teacher: BiEncoder) -> None:
    assert teacher.relevance(PAIRS) == pytest.approx((1 + cosines(teacher, PAIRS)) / 2, abs=1e-4)
    assert teacher.threshold is None


def test_labels_that_fall_with_the_cosine_turn_the_slope(teacher: BiEncoder) -> None:
    truth = cosines(teacher, PAIRS)
    assert teacher.calibrate(PAIRS, [bool(value < np.median(truth)) for value in truth])["slope"] < 0


def test_equal_calls_give_equal_fits_and_scores(tiny_encoder: Path) -> None:
    labels = [i % 3 == 0 for i in range(40)]
    made = []
    for size in (1, 32):
        teacher = BiEncoder(str(tiny_encoder), TeacherSettings(batch_size=size))
        made.append((teacher.calibrate(PAIRS, labels)["slope"], teacher.relevance(PAIRS[:5])))
    assert made[0][0] == pytest.approx(made[1][0], rel=1e-3)
    assert made[0][1] == pytest.approx(made[1][1], abs=1e-4)


def test_a_full_memory_changes_no_score(teacher: BiEncoder, monkeypatch: pytest.MonkeyPatch) -> None:
    teacher.calibrate(PAIRS, [i % 3 == 0 for i in range(40)])
    wanted = teacher.relevance(PAIRS)
    monkeypatch.setattr(module, "_MEMORY", 3)
    assert [teacher.relevance([pair])[0] for pair in PAIRS] == pytest.approx(wanted, abs=1e-4)
    assert teacher.relevance(PAIRS) == pytest.approx(wanted, abs=1e-4)


@pytest.mark.parametrize("labels", [[True] * 40, [False] * 40])
def test_labels_of_one_kind_cannot_be_fitted(teacher: BiEncoder, labels: list[bool]) -> None:
    with pytest.raises(InputError, match="answer-match"):
        teacher.calibrate(PAIRS, labels)
    with pytest.raises(InputError, match="answer-match"):
        teacher.calibrate([], [])


def test_nothing_to_score(teacher: BiEncoder) -> None:
    teacher.calibrate(PAIRS, [i % 3 == 0 for i in range(40)])
    assert teacher.relevance([]) == []
