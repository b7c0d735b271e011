"""The cross-encoder teacher on a tiny random BERT, against its logit read off directly."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dynamicrag_cli.adapters.teachers.cross_encoder import CrossEncoderTeacher
from dynamicrag_cli.adapters.teachers.settings import TeacherSettings
from dynamicrag_cli.core.errors import InputError
from tests.tiny_models import build_tiny_cross_encoder

PAIRS = [("Which town?", title, "The river Danube. " * (1 + i)) for i, title in enumerate(("Ulm", "", "Vienna", "Io"))]


def test_relevance_is_the_sigmoid_of_the_logit(tiny_cross_encoder: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_cross_encoder)
    model = AutoModelForSequenceClassification.from_pretrained(tiny_cross_encoder).eval()
    expected = []
    for question, title, text in PAIRS:
        with torch.inference_mode():
            logit = model(**tokenizer(question, f"{title} {text}".strip(), return_tensors="pt")).logits[0, 0]
        expected.append(float(torch.sigmoid(logit)))
    for size in (1, 32):
        teacher = CrossEncoderTeacher(str(tiny_cross_encoder), TeacherSettings(batch_size=size))
        assert teacher.relevance(PAIRS) == pytest.approx(expected, abs=1e-4)
    assert len({round(value, 4) for value in expected}) == len(PAIRS)


def test_nothing_to_score(tiny_cross_encoder: Path) -> None:
    assert CrossEncoderTeacher(str(tiny_cross_encoder), TeacherSettings()).relevance([]) == []


def test_models_that_are_no_teacher_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cross-encoder"):
        CrossEncoderTeacher(str(tmp_path / "nowhere"), TeacherSettings())
    with pytest.raises(InputError, match="has 3 outputs; a teacher needs one"):
        CrossEncoderTeacher(str(build_tiny_cross_encoder(tmp_path / "three", outputs=3)), TeacherSettings())
