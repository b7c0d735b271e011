"""monoT5 (Nogueira et al. 2020): probability of `true` against `false` in the first decoding step of a T5.

*Untested on real weights*: tested with a tiny random T5.
"""

from collections.abc import Sequence

import torch
from transformers import AutoTokenizer, T5ForConditionalGeneration

from dynamicrag_cli.adapters.pretrained import load, pick_device
from dynamicrag_cli.adapters.teachers.settings import TeacherSettings, in_length_order
from dynamicrag_cli.core.errors import InputError

_MAX_TOKENS = 512
_CUE = "Relevant:"


class MonoT5:
    """Relevance is softmax over the two logits, in [0, 1]; nothing is decoded to text."""

    threshold = 0.8

    def __init__(self, model: str, settings: TeacherSettings) -> None:
        self.tokenizer = load("monoT5 model", model, AutoTokenizer.from_pretrained)
        self.model = (
            load("monoT5 model", model, T5ForConditionalGeneration.from_pretrained).to(pick_device(settings.device)).eval()
        )
        self.settings = settings
        self.cue = self.tokenizer(_CUE)["input_ids"]
        self.true, self.false = (self.tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in ("true", "false"))
        if self.true == self.false:
            raise InputError(f"the tokenizer of {model!r} gives 'true' and 'false' the same first token; it is no monoT5")

    def relevance(self, pairs: Sequence[tuple[str, str, str]]) -> list[float]:
        """Relevance of each (question, title, text) in [0, 1]."""
        texts = [f"Query: {question} Document: {title} {text} {_CUE}" for question, title, text in pairs]
        return in_length_order(texts, self.settings.batch_size, self._score)

    @torch.inference_mode()
    def _score(self, texts: list[str]) -> list[float]:
        ids = self.tokenizer(texts)["input_ids"]
        # An over-long passage is cut before the cue that the model answers to, not with it.
        cut = _MAX_TOKENS - len(self.cue)
        ids = [row if len(row) <= _MAX_TOKENS else [*row[:cut], *self.cue] for row in ids]
        inputs = self.tokenizer.pad({"input_ids": ids}, return_tensors="pt").to(self.model.device)
        start = torch.full((len(texts), 1), self.model.config.decoder_start_token_id, device=self.model.device)
        logits = self.model(**inputs, decoder_input_ids=start).logits[:, 0, [self.false, self.true]]
        return [float(value) for value in logits.float().softmax(dim=-1)[:, 1]]
