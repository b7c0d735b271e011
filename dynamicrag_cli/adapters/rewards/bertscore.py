"""The bertscore term: BERTScore F1 (Zhang et al. 2020) with any encoder, unrescaled, clipped to [0, 1].

Greedy cosine matching of contextual token vectors (last layer, special tokens left out, no idf). The encoder is run once over
the distinct texts of a chunk, in batches by length. `bert-score` itself is not used: it can load only models that its table
lists, from a hub.
"""

from collections.abc import Sequence

import torch
from transformers import AutoModel, AutoTokenizer

from dynamicrag_cli.adapters.pretrained import load, pick_device
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.records import RetrievedQuestion

_MAX_TOKENS = 512


class BertScore:
    """BERTScore F1 against the best gold answer; 0 for an empty answer."""

    def __init__(self, model: str, device: str | None, batch_size: int) -> None:
        self.tokenizer = load("encoder", model, AutoTokenizer.from_pretrained)
        self.model = load("encoder", model, AutoModel.from_pretrained).to(pick_device(device)).eval()
        self.batch_size = batch_size
        positions = getattr(self.model.config, "max_position_embeddings", _MAX_TOKENS)
        self.max_tokens = min(_MAX_TOKENS, self.tokenizer.model_max_length, positions)

    def __call__(self, jobs: Sequence[tuple[RetrievedQuestion, str]]) -> list[float | None]:
        """BERTScore F1 of each answer in [0, 1], the best over its gold answers."""
        texts = {answer for _, answer in jobs} | {gold for record, _ in jobs for gold in references(record)}
        vectors = self._embed(sorted(text for text in texts if text.strip()))
        return [max((self._f1(vectors, answer, gold) for gold in references(record)), default=0.0) for record, answer in jobs]

    @torch.inference_mode()
    def _embed(self, texts: list[str]) -> dict[str, torch.Tensor]:
        """Unit token vectors of each text, shape (n_tokens, dimension)."""
        found: dict[str, torch.Tensor] = {}
        ordered = sorted(texts, key=len)
        for start in range(0, len(ordered), self.batch_size):
            batch = ordered[start : start + self.batch_size]
            inputs = self.tokenizer(
                batch,
                padding=True,
                truncation=True,
                max_length=self.max_tokens,
                return_tensors="pt",
                return_special_tokens_mask=True,
            )
            special = inputs.pop("special_tokens_mask").bool() | ~inputs["attention_mask"].bool()
            states = self.model(**inputs.to(self.model.device)).last_hidden_state.float().cpu()
            states = torch.nn.functional.normalize(states, dim=-1)
            found.update({text: states[row][~special[row]] for row, text in enumerate(batch)})
        return found

    def _f1(self, vectors: dict[str, torch.Tensor], answer: str, gold: str) -> float:
        one, other = vectors.get(answer), vectors.get(gold)
        if one is None or other is None or not len(one) or not len(other):
            return 0.0
        similarity = one @ other.T
        precision, recall = float(similarity.max(dim=1).values.mean()), float(similarity.max(dim=0).values.mean())
        return min(max(2 * precision * recall / (precision + recall), 0.0), 1.0) if precision + recall > 0 else 0.0
