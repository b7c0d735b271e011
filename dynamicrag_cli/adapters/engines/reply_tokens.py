"""The tokens of a model's tokenizer that an allowed reply can hold (`core.grammar`), and its logits under a constraint."""

import re
from collections.abc import Iterable, Mapping, Sequence
from math import inf
from typing import Any

import torch

from dynamicrag_cli.core.grammar import ALPHABET, Vocabulary, Walk

# What such tokens look like inside a tokenizer: a space is Ġ (byte-level) or ▁ (sentencepiece), a single byte <0x5B>.
_SHAPE = re.compile(rf"[{re.escape(''.join(ALPHABET))}Ġ▁]+|<0x[0-9A-F]{{2}}>")


def reply_vocabulary(tokenizer: Any, ends: Iterable[int]) -> Vocabulary:
    """The vocabulary of replies of a tokenizer whose replies end with one of `ends`.

    The text of a token is what it adds behind another one: some tokenizers drop the space in front of a whole text.

    Raises:
        InputError: The tokenizer cannot write every reply.
    """
    ends = frozenset(ends)
    control = {*tokenizer.all_special_ids, *ends}
    anchor = list(tokenizer("[1", add_special_tokens=False)["input_ids"])

    def decoded(ids: list[int]) -> str:
        return str(tokenizer.decode(ids, clean_up_tokenization_spaces=False))

    def added(token: int) -> str:
        whole = decoded([*anchor, token])
        return whole[len(before) :] if whole.startswith(before) else ""

    before = decoded(anchor)
    pieces = tokenizer.convert_ids_to_tokens(list(range(len(tokenizer))))
    found = {
        token: added(token)
        for token, piece in enumerate(pieces)
        if piece is not None and token not in control and _SHAPE.fullmatch(piece)
    }
    return Vocabulary(found, ends)


def stop_probs(walk: Walk, tokens: Sequence[int], logprobs: Sequence[Mapping[int, float]]) -> tuple[float, ...]:
    """The `stop_probs` of a reply that is written already, from the log-probabilities of the deciding tokens at each place."""
    for token, known in zip(tokens, logprobs, strict=True):
        walk.weigh([known.get(allowed, -inf) for allowed in walk.tokens])
        walk.advance(token)
    return tuple(walk.stop_probs)


def weigh(walk: Walk, logits: torch.Tensor) -> torch.Tensor:
    """The logits of the next token, shape (vocabulary,): -inf for what may not come, the bias in the others."""
    tokens = walk.tokens
    allowed = torch.full_like(logits, float("-inf"))
    allowed[tokens] = logits.new_tensor(walk.weigh(logits[tokens].tolist()))
    return allowed
