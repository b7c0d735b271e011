"""A bi-encoder as teacher: the cosine of question and passage, made a probability by a logistic fit."""

from collections.abc import Sequence

import numpy as np
from scipy.special import expit

from dynamicrag_cli.adapters.encoder import encode, load_encoder
from dynamicrag_cli.adapters.teachers.settings import TeacherSettings
from dynamicrag_cli.core.errors import InputError

# Vectors kept at a time: about 150 MB at 768 dimensions.
_MEMORY = 50_000
_THRESHOLD = 0.5


class BiEncoder:
    """Relevance is sigmoid(slope * cosine + offset); both numbers are fitted on train questions with gold ids.

    Without `calibrate` it is (1 + cosine) / 2, which orders passages all the same but is no probability: it has no threshold.
    """

    threshold: float | None = None

    def __init__(self, model: str, settings: TeacherSettings) -> None:
        self.encoder = load_encoder(model, settings.device)
        self.settings = settings
        self.memory: dict[str, np.ndarray] = {}
        self.fit: tuple[float, float] | None = None

    def calibrate(self, pairs: Sequence[tuple[str, str, str]], labels: Sequence[bool]) -> dict[str, float]:
        """Fit slope and offset by logistic regression; returns them for the manifest.

        Raises:
            InputError: The labels are all equal, so nothing can be fitted.
        """
        if len(set(labels)) < 2:
            raise InputError(
                "the bi-encoder teacher calibrates on train questions with gold_passage_ids, and there are none with gold and "
                "other candidates; "
                "use --no-calibrate, or --teacher llm, cross-encoder or answer-match on data without gold ids"
            )
        from sklearn.linear_model import LogisticRegression

        fit = LogisticRegression(C=1e3).fit(self._cosines(pairs)[:, None], np.asarray(labels))
        slope, offset = float(fit.coef_[0, 0]), float(fit.intercept_[0])
        self.fit, self.threshold = (slope, offset), _THRESHOLD
        return {"slope": slope, "offset": offset, "n_pairs": len(labels), "n_gold": int(sum(labels))}

    def relevance(self, pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        """Relevance of each (question, title, text) in [0, 1]."""
        if not pairs:
            return []
        cosines = self._cosines(pairs)
        values = (1 + cosines) / 2 if self.fit is None else expit(self.fit[0] * cosines + self.fit[1])
        # Rounding may bring the cosine of equal texts above 1.
        return [float(value) for value in values.clip(0, 1)]

    def _cosines(self, pairs: Sequence[tuple[str, str, str]]) -> np.ndarray:
        questions = self._embed([question for question, _, _ in pairs])
        passages = self._embed([f"{title} {text}".strip() for _, title, text in pairs])
        return np.asarray((questions * passages).sum(axis=1))

    def _embed(self, texts: list[str]) -> np.ndarray:
        """Unit vectors, shape (n_texts, dimension); a text that was met lately is not encoded again (candidates recur)."""
        new = [text for text in dict.fromkeys(texts) if text not in self.memory]
        if len(self.memory) + len(new) > _MEMORY:
            self.memory.clear()
            new = list(dict.fromkeys(texts))
        self.memory.update(zip(new, encode(self.encoder, new, self.settings.batch_size), strict=True) if new else ())
        return np.stack([self.memory[text] for text in texts])
