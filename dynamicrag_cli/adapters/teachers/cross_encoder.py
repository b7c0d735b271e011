"""A sentence-transformers cross-encoder as teacher: sigmoid of its logit.

It ran on what `drag train reranker` makes of a small encoder; no published cross-encoder was at hand.
"""

from collections.abc import Sequence

import torch
from sentence_transformers import CrossEncoder

from dynamicrag_cli.adapters.pretrained import load, orders_only
from dynamicrag_cli.adapters.teachers.settings import TeacherSettings
from dynamicrag_cli.core.errors import InputError


class CrossEncoderTeacher:
    """Relevance is sigmoid(logit), in [0, 1]; the model must have one output.

    Of a model whose scores only order (`orders_only`) it is no probability: it has no threshold.
    """

    def __init__(self, model: str, settings: TeacherSettings) -> None:
        self.model = load("cross-encoder", model, CrossEncoder, device=settings.device)
        if self.model.config.num_labels != 1:
            raise InputError(f"the cross-encoder {model!r} has {self.model.config.num_labels} outputs; a teacher needs one")
        self.settings = settings
        self.threshold = None if orders_only(model) else 0.5

    def relevance(self, pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        """Relevance of each (question, title, text) in [0, 1]."""
        texts = [(question, f"{title} {text}".strip()) for question, title, text in pairs]
        scores = self.model.predict(
            texts, batch_size=self.settings.batch_size, activation_fn=torch.nn.Sigmoid(), show_progress_bar=False
        )
        return [float(score) for score in scores]
