"""The closed set of replies: `None`, or unique identifiers of 1..N in the form of `format_selection`, and nothing else.

`Grammar` is an automaton over characters. `Vocabulary` lifts it to the tokens of any tokenizer: a token may come next if all of
its characters keep the automaton alive, which needs no assumption about how the tokenizer cuts a reply. `Walk` follows one reply.

After every whole identifier a reply decides whether to stop, and before the first one whether to say `None`. Where tokens join
the bracket with the comma (`],`), that decision falls with the bracket: `]` alone is on its way to the end, `],` goes on.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain, compress
from math import exp, inf, log

from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.identifiers import NONE_REPLY

STOP, GO, NEITHER = 1, -1, 0
INVALID = ("drop", "strict", "retry-once")
_DIGITS = "0123456789"
ALPHABET = tuple(sorted({*"[], ", *_DIGITS, *NONE_REPLY}))
# What a token may hold of a reply, as far as it is written without superfluous spaces.
_PIECE = re.compile(r" ?N?o?n?e?|\d*\]?,? ?(?:\[\d*)?")


@dataclass(frozen=True)
class Constraint:
    """What the reply to a prompt with `n` candidates may be.

    Attributes:
        n: Candidates, identifiers 1..n.
        min_k: Fewest identifiers (as far as there are candidates); above 0 there is no `None`.
        max_k: Most identifiers, at least 1; None for n.
        stop_bias: Added to the log-odds of stopping at every decision; above 0 chooses fewer, below 0 more.
    """

    n: int
    min_k: int = 0
    max_k: int | None = None
    stop_bias: float = 0.0

    @property
    def bounds(self) -> tuple[int, int]:
        """Fewest and most identifiers of a reply."""
        return min(self.min_k, self.n), self.n if self.max_k is None else min(self.max_k, self.n)


@dataclass(frozen=True)
class ChoiceRules:
    """How the selections of a run are decoded, what becomes of those that break the form, and how much of them is read.

    Attributes:
        constrained: Whether replies are decoded under a `Constraint`; without it the next three mean nothing.
        min_k: See `Constraint`.
        max_k: See `Constraint`.
        stop_bias: See `Constraint`.
        invalid: One of `INVALID`, for malformed replies: nothing of them is kept (`strict`), their valid identifiers are kept
            (`drop`), or they are sampled once more first, and their valid identifiers kept if that fails too (`retry-once`).
        max_context_tokens: Chosen passages beyond this many tokens, from the end, are not read; None for all that fit.
    """

    constrained: bool = False
    min_k: int = 0
    max_k: int | None = None
    stop_bias: float = 0.0
    invalid: str = "drop"
    max_context_tokens: int | None = None

    def constraint(self, n: int) -> Constraint | None:
        """The constraint of a prompt with `n` candidates; None for a free reply."""
        return Constraint(n, self.min_k, self.max_k, self.stop_bias) if self.constrained else None


@dataclass(frozen=True)
class State:
    """A place in a reply: the identifiers that are whole, and what was written since the last of their digits."""

    taken: frozenset[int] = frozenset()
    tail: str = ""


@dataclass(frozen=True)
class Grammar:
    """The automaton of one constraint. A state that it returns can always be completed.

    One space may stand in front of a reply: some chat templates end where a model would write it, and the parser drops it.
    """

    constraint: Constraint

    def step(self, state: State, character: str) -> State | None:
        """The state after one more character; None if no allowed reply begins so."""
        least, most = self.constraint.bounds
        written = state.tail + character
        if state.tail.startswith("["):
            if character == "]":
                whole = self._missing(state, state.tail[1:]) == 0
                return State(state.taken | {int(state.tail[1:])}, "]") if whole else None
            alive = character in _DIGITS and self._missing(state, written[1:]) < inf
        elif state.tail.startswith("]"):
            alive = "], [".startswith(written) and len(state.taken) < most
        elif not state.tail.strip():
            alive = {" ": not state.tail, NONE_REPLY[0]: least == 0, "[": most > 0}.get(character, False)
        else:
            alive = NONE_REPLY.startswith(written)
        # What stands before the start of an identifier or of None says nothing about what may follow it.
        return State(state.taken, character if character in ("[", NONE_REPLY[0]) else written) if alive else None

    def accepts(self, state: State) -> bool:
        """Whether the reply may end here."""
        return state.tail == NONE_REPLY or (state.tail == "]" and len(state.taken) >= self.constraint.bounds[0])

    def room(self, state: State) -> int:
        """Tokens that are enough to end the reply, its end included, where a token may be a single character."""
        tail, n_taken = state.tail, len(state.taken)
        if not tail.strip():
            lists = 3 + self._missing(state, "") + self._rest(1)
            return int(lists if self.constraint.bounds[0] else min(lists, len(NONE_REPLY) + 1))
        if tail == "]":
            return 1 + self._rest(n_taken)
        if tail[0] == "]":
            return int(6 - len(tail) + self._missing(state, "")) + self._rest(n_taken + 1)
        if tail[0] == "[":
            return int(2 + self._missing(state, tail[1:])) + self._rest(n_taken + 1)
        return len(NONE_REPLY) - len(tail) + 1

    def _rest(self, n_taken: int) -> int:
        """Characters of the identifiers that are still due, each with its comma, at their longest."""
        return max(self.constraint.bounds[0] - n_taken, 0) * (4 + len(str(self.constraint.n)))

    def _missing(self, state: State, digits: str) -> float:
        """Fewest digits that make `digits` an identifier not yet taken; infinite where there is none."""
        n = self.constraint.n
        if digits.startswith("0"):
            return inf
        for extra in range(len(str(n)) - len(digits) + 1):
            low = int(digits) * 10**extra if digits else 10 ** (extra - 1) if extra else 1
            high = min(low + 10**extra - 1 if digits else 10**extra - 1, n)
            if high - low + 1 > sum(low <= number <= high for number in state.taken):
                return extra
        return inf


@dataclass(frozen=True)
class Move:
    """A token that may come next.

    Attributes:
        token: Its id.
        state: Where it leads; None for a token that ends the reply.
        decision: `STOP` or `GO` if the choice between them is taken by this token, else `NEITHER`.
        room: Tokens that are enough after it.
    """

    token: int
    state: State | None
    decision: int
    room: int


class Vocabulary:
    """The tokens of a tokenizer that an allowed reply can hold, as a tree of their characters.

    Args:
        texts: Text of each token by its id, as it stands inside a reply; those with other characters are left out.
        ends: The tokens that end a reply.

    Raises:
        InputError: The tokenizer has no token of its own for a character, so that some reply could not be written.
    """

    def __init__(self, texts: Mapping[int, str], ends: Iterable[int]) -> None:
        self.ends = tuple(sorted(ends))
        self.ids: dict[str, list[int]] = {}
        for token, text in texts.items():
            # A bracket inside a token would take a decision that nobody sees; such tokens (`[1], `) hardly exist.
            if text and {*text} <= {*ALPHABET} and "]" not in text[1:-1]:
                self.ids.setdefault(text, []).append(token)
        lacking = [character for character in ALPHABET if character not in self.ids]
        if lacking or not self.ends:
            what = f"for {' '.join(map(repr, lacking))}" if lacking else "that ends a reply"
            raise InputError(f"the tokenizer has no token {what}, which a constrained reply needs; use --no-constrained")
        # What a reply can hold besides digits: the tokens whose logits `Walk` must know to tell `stop_probs`.
        pieces = (ids for text, ids in self.ids.items() if _PIECE.fullmatch(text) and not text.isdigit())
        self.deciding = tuple(sorted({*self.ends, *chain.from_iterable(pieces)}))
        self._prefixes = {text[:length] for text in self.ids for length in range(1, len(text) + 1)}
        self.moves = lru_cache(maxsize=4096)(self._moves)

    def _moves(self, constraint: Constraint, state: State) -> tuple[Move, ...]:
        """All tokens that may come next; never empty."""
        grammar = Grammar(constraint)
        found = []
        waiting: list[tuple[str, State]] = [("", state)]
        while waiting:
            text, place = waiting.pop()
            decision = _decision(grammar, state, text, place) if text in self.ids else NEITHER
            found += [Move(token, place, decision, grammar.room(place)) for token in self.ids.get(text, [])]
            for character in ALPHABET:
                after = grammar.step(place, character) if text + character in self._prefixes else None
                if after is not None:
                    waiting.append((text + character, after))
        if grammar.accepts(state):
            decision = STOP if state.tail == "]" else NEITHER
            found += [Move(token, None, decision, 0) for token in self.ends]
        return tuple(found)


def _decision(grammar: Grammar, before: State, text: str, after: State) -> int:
    """Whether a token with this text takes the decision to stop or to go on that `before` leaves open."""
    if not before.tail.strip():
        start = text.strip()
        return NEITHER if not start else GO if start[0] == "[" else STOP
    if before.tail == "]":
        return GO
    if before.tail[0] == "[" and text[0] == "]":
        return GO if text != "]" else STOP if grammar.accepts(after) else NEITHER
    return NEITHER


class Walk:
    """One reply, token by token.

    Args:
        vocabulary: The tokenizer's tokens.
        constraint: What the reply may be.
        max_new_tokens: Tokens for the whole reply, its end included; the walk closes the list in time.

    Attributes:
        stop_probs: Probability of stopping at each decision so far, in [0, 1], without the bias: of `None` before the first
            identifier, then of ending after each one. Their shares are of the allowed tokens alone.
    """

    def __init__(self, vocabulary: Vocabulary, constraint: Constraint, max_new_tokens: int) -> None:
        self.vocabulary, self.constraint, self.left = vocabulary, constraint, max_new_tokens
        self.state = State()
        self.stop_probs: list[float] = []
        self._chance = self._share = 1.0
        self._moves: tuple[Move, ...] = ()
        self._look()

    @property
    def tokens(self) -> list[int]:
        """The tokens that may come next; never empty before the end."""
        return [move.token for move in self._moves]

    def _look(self) -> None:
        moves = self.vocabulary.moves(self.constraint, self.state)
        in_time = [move.room < self.left for move in moves]
        # With too few tokens for any reply at all, the reply is cut and its status says so.
        self._moves = tuple(compress(moves, in_time)) if any(in_time) else moves

    def weigh(self, logits: Sequence[float]) -> list[float]:
        """The logits of `tokens` with the bias in them; notes how likely stopping is.

        At a decision with odds p : 1 - p of stopping the biased odds are p e^B : 1 - p. Tokens that decide nothing (a digit)
        keep their probability. B = 0 changes no logit.
        """
        stop = _log_sum(logit for move, logit in zip(self._moves, logits, strict=True) if move.decision == STOP)
        go = _log_sum(logit for move, logit in zip(self._moves, logits, strict=True) if move.decision == GO)
        self._chance = 1.0 if go == -inf else _sigmoid(stop - go)
        bias = self.constraint.stop_bias
        if not bias or -inf in (stop, go):
            return list(logits)
        both, biased = _log_sum((stop, go)), _log_sum((stop + bias, go))
        shift = {STOP: bias + both - biased, GO: both - biased, NEITHER: 0.0}
        return [logit + shift[move.decision] for move, logit in zip(self._moves, logits, strict=True)]

    def advance(self, token: int) -> None:
        """Go on with a token of `tokens`, which have been weighed; after the one that ends the reply nothing may come."""
        move = next(move for move in self._moves if move.token == token)
        if move.decision != NEITHER:
            self._share *= self._chance
        # A bracket alone is on its way to the end; whether it gets there is decided by the next token.
        if move.decision != NEITHER and not (move.state is not None and move.state.tail == "]" and move.decision == STOP):
            self.stop_probs.append(self._share)
            self._share = 1.0
        self.left -= 1
        if move.state is not None:
            self.state = move.state
            self._look()


def _log_sum(values: Iterable[float]) -> float:
    """The logarithm of the sum of exponentials; -inf of nothing."""
    known = [value for value in values if value > -inf]
    if not known:
        return -inf
    top = max(known)
    return top + log(sum(exp(value - top) for value in known))


def _sigmoid(value: float) -> float:
    return 1 / (1 + exp(-value)) if value >= 0 else exp(value) / (1 + exp(value))
