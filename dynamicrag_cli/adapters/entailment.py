"""Natural-language inference with any sequence classifier that has a label `entailment`, for claim recall.

*Untested on real weights*: tested with a tiny random encoder. ALCE (Gao et al. 2023) uses the same question with an 11B T5.
"""

from collections.abc import Sequence

import torch
from transformers import AutoModelForSequenceClassification, AutoTokenizer

from dynamicrag_cli.adapters.pretrained import load, pick_device
from dynamicrag_cli.core.errors import InputError

_MAX_TOKENS = 512


class Entailment:
    """Says of (text, claim) whether the text entails the claim: `entailment` is the classifier's likeliest label."""

    def __init__(self, model: str, device: str | None = None, batch_size: int = 32) -> None:
        self.tokenizer = load("NLI model", model, AutoTokenizer.from_pretrained)
        self.model = load("NLI model", model, AutoModelForSequenceClassification.from_pretrained).to(pick_device(device)).eval()
        labels = {str(label).lower(): int(index) for index, label in self.model.config.id2label.items()}
        if "entailment" not in labels:
            raise InputError(f"the model {model!r} has the labels {', '.join(labels)}; --nli needs one called 'entailment'")
        self.entailment = labels["entailment"]
        self.batch_size = batch_size
        positions = getattr(self.model.config, "max_position_embeddings", _MAX_TOKENS)
        self.max_tokens = min(_MAX_TOKENS, self.tokenizer.model_max_length, positions)

    @torch.inference_mode()
    def __call__(self, pairs: Sequence[tuple[str, str]]) -> list[bool]:
        """Whether each text entails its claim; a text that is too long is cut, never the claim."""
        order = sorted(range(len(pairs)), key=lambda index: -len(pairs[index][0]))
        found = [False] * len(pairs)
        for start in range(0, len(order), self.batch_size):
            batch = order[start : start + self.batch_size]
            inputs = self.tokenizer(
                [pairs[index][0] for index in batch],
                [pairs[index][1] for index in batch],
                padding=True,
                truncation="only_first",
                max_length=self.max_tokens,
                return_tensors="pt",
            )
            likeliest = self.model(**inputs.to(self.model.device)).logits.argmax(dim=-1)
            for index, label in zip(batch, likeliest.tolist(), strict=True):
                found[index] = label == self.entailment
        return found
