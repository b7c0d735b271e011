"""The policy's weights: a cross-encoder that scores passages, and STOP scores; and the folder in which they live.

The folder is a cross-encoder like any other (a teacher, a reference, a selector), with `rrpo.json` beside its weights.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from sentence_transformers import CrossEncoder

from dynamicrag_cli.adapters.pretrained import load, pick_device
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.policy import Bounds, Scores, balanced_stop, parse_bounds
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.reranking import passage_text

NOTE = "rrpo.json"


def load_cross_encoder(what: str, name: str, device: str | None, max_tokens: int | None = None) -> CrossEncoder:
    """A cross-encoder with one output; a plain encoder is none, since its head would be random.

    Raises:
        InputError: There is no such model, or it has another head or another model's tokenizer.
    """
    model = load(what, name, CrossEncoder, device=pick_device(device))
    architectures = getattr(model.config, "architectures", None) or [""]
    if model.num_labels != 1:
        raise InputError(f"the {what} {name!r} has {model.num_labels} outputs; drag needs a cross-encoder with one")
    if not architectures[0].endswith(("ForSequenceClassification", "ForCausalLM")) or _is_encoder(name):
        raise InputError(f"the {what} {name!r} is an encoder without a scoring head; make one of it with drag train reranker")
    known, rows = len(model.tokenizer), getattr(model.config, "vocab_size", None)
    if rows is not None and known > rows:
        raise InputError(f"the tokenizer of the {what} {name!r} has {known} tokens and its model {rows}: it is another model's")
    if model.tokenizer.pad_token is None:
        raise InputError(f"the tokenizer of the {what} {name!r} has no padding token, so it cannot score several passages")
    if max_tokens is not None:
        model.max_seq_length = min(max_tokens, model.max_seq_length or max_tokens)
    return model


def _is_encoder(name: str) -> bool:
    """Whether a folder is a sentence encoder: it has pooling among its modules."""
    modules = Path(name) / "modules.json"
    return modules.is_file() and "Pooling" in modules.read_text(encoding="utf-8")


def pairs_of(record: RetrievedQuestion) -> list[tuple[str, str]]:
    """(question, passage) of every candidate, as the cross-encoder teacher writes them."""
    return [(record.question, passage_text(doc)) for doc in record.docs]


class CrossEncoderScorer(torch.nn.Module):  # type: ignore[misc]
    """Logits of a cross-encoder for all candidates of questions; dropout is off, so that equal weights give equal scores."""

    def __init__(self, model: CrossEncoder, *, bf16: bool = False, batch_size: int = 64) -> None:
        super().__init__()
        self.model, self.bf16, self.batch_size = model.eval(), bf16, batch_size

    def forward(self, records: Sequence[RetrievedQuestion]) -> list[torch.Tensor]:
        """One tensor of logits per record, shape (n_docs,), float32."""
        pairs = [pair for record in records for pair in pairs_of(record)]
        if not pairs:
            return [torch.zeros(0) for _ in records]
        order = sorted(range(len(pairs)), key=lambda place: -len(pairs[place][1]))
        parts = [self._logits([pairs[place] for place in part]) for part in _parts(order, self.batch_size)]
        logits = torch.cat(parts)[torch.tensor(order, device=parts[0].device).argsort()]
        return list(logits.split([len(record.docs) for record in records]))

    def _logits(self, pairs: list[tuple[str, str]]) -> torch.Tensor:
        device = self.model.device
        inputs = {k: v.to(device) if hasattr(v, "to") else v for k, v in self.model.preprocess(pairs).items()}
        with torch.autocast(device.type, dtype=torch.bfloat16, enabled=self.bf16):
            scores: torch.Tensor = self.model(inputs)["scores"]
        return scores.view(-1).float()

    def save(self, folder: Path) -> None:
        """Write weights and tokenizer."""
        self.model.save_pretrained(str(folder), create_model_card=False)


def _parts(items: list[int], size: int) -> Iterator[list[int]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


class Policy(torch.nn.Module):  # type: ignore[misc]
    """A scorer with the STOP scores b_0..b_{most-1} (none where k is fixed); its softmax has temperature `temperature`.

    A scorer is a module from records to one tensor of scores each. Without `stop`, its scores are 0 until `balance` is called.
    """

    def __init__(
        self, scorer: torch.nn.Module, bounds: Bounds, stop: Sequence[float] | None = None, temperature: float = 1.0
    ) -> None:
        super().__init__()
        self.scorer, self.bounds, self.temperature, self.stop_is_set = scorer, bounds, temperature, stop is not None
        known = stop or (0.0,)
        values = [known[min(step, len(known) - 1)] for step in range(bounds.most)] if bounds.stops else []
        device = next((parameter.device for parameter in scorer.parameters()), None)
        self.stop = torch.nn.Parameter(torch.tensor(values, dtype=torch.float32, device=device))

    @torch.no_grad()
    def balance(self, tables: Sequence[Scores]) -> None:
        """Start the STOP scores, unless some were given, by `balanced_stop`; `tables` are as `scores` makes them."""
        if not self.stop_is_set:
            self.stop.copy_(torch.tensor(balanced_stop(tables, self.bounds)) * self.temperature)
            self.stop_is_set = True

    def scores(self, records: Sequence[RetrievedQuestion]) -> list[torch.Tensor]:
        """Scores of all candidates over the temperature, shape (n_docs,) per record."""
        return [values / self.temperature for values in self.scorer(records)]

    def stops(self) -> torch.Tensor:
        """STOP scores over the temperature, shape (most,) or (0,)."""
        return self.stop / self.temperature

    def note(self) -> dict[str, Any]:
        """What `rrpo.json` says beside the weights."""
        return {"k": str(self.bounds), "stop": self.stop.tolist(), "temperature": self.temperature}


def read_note(folder: str) -> dict[str, Any]:
    """`rrpo.json` of a folder: bounds `k`, `stop` scores, `temperature`; empty for a cross-encoder that has none.

    Raises:
        InputError: It is there and not what RRPO writes.
    """
    path = Path(folder) / NOTE
    if not path.is_file():
        return {}
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        parse_bounds(found["k"])
        return {"k": found["k"], "stop": [float(b) for b in found["stop"]], "temperature": float(found["temperature"])}
    except (ValueError, KeyError, TypeError, UsageError) as error:
        raise InputError(f"{path}: not written by drag train rrpo ({error})") from error
