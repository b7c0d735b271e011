"""Reward terms of a rollout and their weighted total (DynamicRAG, equation for r; weights 0.2 each in the paper).

All terms are in [0, 1]. A term that could not be computed is None and makes the total None if it has a weight: a failure is
never a zero.
"""

import re
from collections.abc import Sequence

from dynamicrag_cli.core.errors import UsageError, unknown_name

PURE_TERMS = ("em", "rouge", "length", "length_tokens", "length_answer")
MODEL_TERMS = ("bertscore", "judge")
TERMS = PURE_TERMS + MODEL_TERMS
# What RRPO may reward on every prefix: all of them, and two of its paper; its `hit` is in {-1, 1}, all others are in [0, 1].
READER_TERMS = ("f1", "hit", *TERMS)
MAX_JUDGEMENT_TOKENS = 16


def parse_weights(text: str, known: Sequence[str] = TERMS) -> dict[str, float]:
    """Read `em=0.4 rouge=0.4 length=0.2` (spaces or commas between); `known` are the terms there are.

    Raises:
        UsageError: An unknown term, a term without a number, a negative weight, or no positive weight at all.
    """
    weights: dict[str, float] = {}
    for part in re.split(r"[\s,]+", text.strip()):
        name, _, value = part.partition("=")
        if name not in known:
            raise unknown_name("reward term", name, known)
        try:
            weights[name] = float(value)
        except ValueError:
            raise UsageError(f"reward weight {part!r} is not NAME=NUMBER, such as em=0.2") from None
        if not 0 <= weights[name] < float("inf"):
            raise UsageError(f"the weight of {name!r} is {value}; a weight is a finite number of at least 0")
    if not any(weights.values()):
        raise UsageError("every reward weight is 0; at least one must be above 0")
    return weights


_TOKENS = 100


def length_reward(n: float) -> float:
    """1/(1+n), in (0, 1]: with n the number k of chosen passages it is 1 for none, falling with each that the reader must read.

    The paper writes the length of the answer but credits the term with lowering k; the released code counts the samples, a
    constant. Here `length` takes the chosen passages, and two other terms take other lengths (`length_terms`).
    """
    return 1.0 / (1 + n)


def length_terms(n_chosen: int, n_reader_tokens: int | None, answer: str) -> dict[str, float | None]:
    """1/(1+n) for three lengths n.

    `length`: chosen passages. `length_tokens`: hundreds of tokens of the reader's prompt, question and instruction included; None
    where the engine did not count them. `length_answer`: words of the answer, the paper's formula.
    """
    return {
        "length": length_reward(n_chosen),
        "length_tokens": None if n_reader_tokens is None else length_reward(n_reader_tokens / _TOKENS),
        "length_answer": length_reward(len(answer.split())),
    }


def total(terms: dict[str, float | None], weights: dict[str, float]) -> float | None:
    """Weighted sum; None if a term with a weight above 0 is None or was not computed."""
    value = 0.0
    for name, weight in weights.items():
        if weight:
            term = terms.get(name)
            if term is None:
                return None
            value += weight * term
    return value


# A number that is no part of a longer one, with the denominator that may follow it.
_GRADE = re.compile(r"(?<![\d.,/-])(\d+(?:\.\d+)?)(?:\s*/\s*(\d+))?(?![\d/]|\.\d)")


def parse_judgement(reply: str | None) -> float | None:
    """The judge's 0-100 as [0, 1]: the first number after the last `score` or `total`, else the only number; else None."""
    text = reply or ""
    after = re.split(r"(?i)\b(?:total|score)\b", text)[-1]
    found = _GRADE.findall(after) or _GRADE.findall(text)
    if not found or (after == text and len(found) > 1):
        return None
    number, denominator = found[0]
    value = float(number)
    return value / 100 if value <= 100 and denominator in ("", "100") else None
