"""The selectors with a small model of their own: `cross-encoder:K`, `cross-encoder:threshold=T` and `rrpo`."""

from collections.abc import Sequence

import numpy as np
import torch

from dynamicrag_cli.adapters.rrpo.scorer import NOTE, CrossEncoderScorer, load_cross_encoder, read_note
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.policy import Scores, chosen, most_likely, parse_bounds
from dynamicrag_cli.core.records import RetrievedQuestion
from dynamicrag_cli.core.selectors import Positions, Selector


class ModelSelector:
    """Chooses positions by the scores of a cross-encoder; `stop_bias` is added to the log-odds of RRPO's STOP."""

    def __init__(self, selector: Selector, model: str, device: str | None, stop_bias: float = 0.0) -> None:
        self.selector, self.stop_bias = selector, stop_bias
        self.note = read_note(model)
        self.bounds = selector.bounds
        if selector.name == "rrpo":
            if not self.note:
                raise InputError(f"{model}: no {NOTE}, so it was not made by drag train rrpo; use --selector cross-encoder:K")
            self.bounds = selector.bounds or parse_bounds(self.note["k"])
            if stop_bias and not self.bounds.stops:
                raise UsageError(
                    f"{selector} with {model} reads {self.bounds} passages of every question, so --stop-bias acts on nothing; "
                    "leave it away, or give bounds such as rrpo:0:5"
                )
            if self.bounds.stops and not self.note["stop"]:
                raise InputError(f"{model} was trained with a fixed k and has no stop; use --selector rrpo or rrpo:K")
        self.scorer = CrossEncoderScorer(load_cross_encoder("selector model", model, device))

    @torch.inference_mode()
    def __call__(self, records: Sequence[RetrievedQuestion]) -> list[Positions]:
        """The chosen positions of each record, in the order in which they are read."""
        return [self._choose(values.cpu().double().numpy()) for values in self.scorer(records)]

    def _choose(self, scores: Scores) -> Positions:
        if self.bounds is not None:
            heat = self.note["temperature"]
            return chosen(most_likely(scores / heat, np.array(self.note["stop"]) / heat, self.bounds, self.stop_bias))
        order = sorted(range(len(scores)), key=lambda position: -scores[position])
        if self.selector.threshold is None:
            return tuple(order[: self.selector.k])
        # sigmoid(score) >= T, written so that no score overflows
        cut = self.selector.threshold
        lowest = -np.inf if cut == 0 else np.inf if cut == 1 else np.log(cut / (1 - cut))
        return tuple(position for position in order if scores[position] >= lowest)
