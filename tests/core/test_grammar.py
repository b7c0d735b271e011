import itertools
import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.errors import InputError
from dynamicrag_cli.core.grammar import ALPHABET, Constraint, Grammar, State, Vocabulary, Walk
from dynamicrag_cli.core.identifiers import format_selection, parse_selection
from tests.builders import quick

END = 10_000
# Single characters; with the joined tokens of byte-level BPEs; with numbers of several digits; with whole identifiers.
PIECES = {
    "characters": [*ALPHABET],
    "joined": [*ALPHABET, "],", " [", "None", " None", ", ", "], [", "x", "", "Ω"],
    "numbers": [*ALPHABET, "],", " [", "None", *map(str, range(10, 1000))],
    "whole": [*ALPHABET, "[1]", "[10]", " [2]", "0]", "No", "ne", ", [", "[1], "],
}
VOCABULARIES = {name: Vocabulary(dict(enumerate(pieces)), [END, END + 1]) for name, pieces in PIECES.items()}
TEXTS = {name: dict(enumerate(pieces)) for name, pieces in PIECES.items()}
constraints = st.builds(
    Constraint,
    n=st.integers(0, 120),
    min_k=st.integers(0, 4),
    max_k=st.one_of(st.none(), st.integers(4, 8)),
    stop_bias=st.sampled_from([0.0, 0.0, 2.0, -2.0]),
)


def accepted(constraint: Constraint, text: str) -> bool:
    grammar, state = Grammar(constraint), State()
    for character in text:
        following = grammar.step(state, character)
        if following is None:
            return False
        state = following
    return grammar.accepts(state)


def walk(name: str, constraint: Constraint, logit, limit: int = 10**6) -> tuple[str, Walk, bool]:
    """A greedy reply under `logit(written tokens, token)`; with whether it came to its end."""
    path = Walk(VOCABULARIES[name], constraint, limit)
    written: list[int] = []
    while len(written) < limit:
        weighed = path.weigh([logit(tuple(written), token) for token in path.tokens])
        token = path.tokens[max(range(len(weighed)), key=weighed.__getitem__)]
        path.advance(token)
        if token >= END:
            return "".join(TEXTS[name][token] for token in written), path, True
        written.append(token)
    return "".join(TEXTS[name][token] for token in written), path, False


def noise(seed: int):
    return lambda written, token: random.Random(f"{seed} {written} {token}").gauss(0, 3)


def test_small_sets_are_exactly_the_lists() -> None:
    """Every text over the alphabet of a small grammar, against the lists written out."""
    for constraint in (Constraint(3), Constraint(3, 1, 2), Constraint(0), Constraint(2, 5), Constraint(11, 1, 1)):
        least, most = constraint.bounds
        lists = itertools.chain.from_iterable(itertools.permutations(range(constraint.n), k) for k in range(least, most + 1))
        expected = {format_selection(positions) for positions in lists}
        found, waiting = set(), [("", State())]
        grammar = Grammar(constraint)
        while waiting:
            text, state = waiting.pop()
            if grammar.accepts(state):
                found.add(text.removeprefix(" "))
            following = [(text + character, grammar.step(state, character)) for character in ALPHABET]
            # Every state leads somewhere or is the end.
            assert grammar.accepts(state) or any(after for _, after in following)
            waiting += [(longer, after) for longer, after in following if after is not None]
        assert found == expected


@quick
@given(st.lists(st.integers(0, 119), unique=True), st.integers(0, 5), st.booleans())
def test_every_valid_list_is_accepted_with_a_space_in_front_too(positions, extra, spaced) -> None:
    n = max(positions, default=0) + 1 + extra
    assert accepted(Constraint(n), " " * spaced + format_selection(positions))


@pytest.mark.parametrize(
    "text",
    [
        "",
        " ",
        "none",
        "None.",
        "  [1]",
        "[1] ",
        "[1],",
        "[1],[2]",
        "[1], [1]",
        "[0]",
        "[01]",
        "[13]",
        "[1",
        "[]",
        "[1] [2]",
        "No",
    ],
)
def test_anything_else_is_refused(text) -> None:
    assert not accepted(Constraint(12), text)


def test_identifiers_that_begin_alike() -> None:
    for text in ("[1], [10]", "[10], [1]", "[1], [11], [10]"):
        assert accepted(Constraint(11), text)
    assert not accepted(Constraint(9), "[10]")
    # 1 is taken and 10 is left: the digit 1 still leads somewhere, but not at once to the bracket.
    grammar = Grammar(Constraint(10))
    state = State(frozenset({1}), "[1")
    assert grammar.step(state, "]") is None
    assert grammar.step(state, "0") is not None
    assert grammar.step(State(frozenset({1, 10}), "["), "1") is None


@quick
@given(st.sampled_from([*PIECES]), constraints, st.integers(0, 10**6))
def test_a_walk_over_random_logits_ends_in_an_accepted_reply(name, constraint, seed) -> None:
    text, path, ended = walk(name, constraint, noise(seed))
    assert ended
    assert accepted(constraint, text)
    parsed = parse_selection(text, constraint.n)
    least, most = constraint.bounds
    assert parsed.status == ("ok" if parsed.positions else "none")
    assert least <= len(parsed.positions) <= most
    assert len(path.stop_probs) == len(parsed.positions) + 1
    assert all(0 <= chance <= 1 for chance in path.stop_probs)


@quick
@given(st.sampled_from([*PIECES]), constraints, st.integers(0, 10**6), st.integers(0, 40))
def test_a_reply_is_closed_before_the_token_limit(name, constraint, seed, spare) -> None:
    limit = Grammar(constraint).room(State()) + spare
    text, _, ended = walk(name, constraint, noise(seed), limit)
    assert ended
    assert accepted(constraint, text)


def test_too_few_tokens_for_any_reply_cut_it() -> None:
    text, _, ended = walk("characters", Constraint(3, 2), noise(1), 3)
    assert (len(text), ended) == (3, False)


def scores(**weights: float):
    """Logits by the text of the token; END has the name `end`."""

    def logit(_written, token):
        return weights.get("end", 0.0) if token >= END else weights.get(TEXTS["joined"].get(token, ""), -9.0)

    return logit


def test_stop_probabilities_by_hand_where_the_comma_stands_alone() -> None:
    """P(None) = e^0 / (e^0 + e^1); after the first identifier the end has odds e^2 : e^1, two end tokens counted together."""
    weights = {"N": 0.0, "[": 1.0, "1": 5.0, "2": 4.0, "]": 0.0, ",": 1.0 + math.log(2), "end": 2.0, " ": -40.0}
    path = Walk(VOCABULARIES["characters"], Constraint(2), 99)
    written = ""
    while True:
        logits = [weights["end"] if token >= END else weights.get(ALPHABET[token], -40.0) for token in path.tokens]
        token = path.tokens[max(range(len(logits)), key=path.weigh(logits).__getitem__)]
        path.advance(token)
        if token >= END:
            break
        written += ALPHABET[token]
    assert written == "[1]"
    assert path.stop_probs == pytest.approx([1 / (1 + math.e), 1 / (1 + math.exp(-1))])


def test_stop_probabilities_by_hand_where_the_bracket_is_joined_with_the_comma() -> None:
    """After [1] the odds of `]` to `],` are 1 : 3; after [2] nothing is left, so the end is certain."""
    weights = {"[": 3.0, " [": 3.0, "1": 5.0, "2": 4.0, "]": 0.0, "],": math.log(3), "], [": -99.0, "None": 3.0, "end": 0.0}
    weights |= {"N": -99.0, " None": -99.0, " ": -99.0}
    text, path, _ = walk(
        "joined", Constraint(2), lambda w, t: scores(**weights)(w, t) + (t == [*PIECES["joined"]].index("[")) * 0.1
    )
    assert text == "[1], [2]"
    start = math.exp(3) + math.exp(3.1)
    assert path.stop_probs == pytest.approx([math.exp(3) / (math.exp(3) + start), 0.25, 1.0], abs=1e-6)


def test_a_forced_decision_has_probability_0_or_1() -> None:
    _, path, _ = walk("joined", Constraint(9, 2, 3), noise(5))
    assert path.stop_probs[:2] == [0.0, 0.0]
    assert all(walk("joined", Constraint(9, 2, 2), noise(seed))[1].stop_probs == [0.0, 0.0, 1.0] for seed in range(5))


def test_the_bias_shifts_the_log_odds_by_itself_and_leaves_other_digits_alone() -> None:
    def shares(bias: float) -> dict[str, float]:
        path = Walk(VOCABULARIES["joined"], Constraint(12, stop_bias=bias), 99)
        pieces = PIECES["joined"]
        for piece in ("[", "1"):
            path.weigh([0.0] * len(path.tokens))
            path.advance(pieces.index(piece))
        logits = {"]": 0.3, "],": 0.9, "], [": -1.0}
        weighed = path.weigh([logits.get(pieces[token], 0.5) for token in path.tokens])
        total = sum(map(math.exp, weighed))
        made = {pieces[token]: math.exp(value) / total for token, value in zip(path.tokens, weighed, strict=True)}
        made["stop"] = path._chance
        return made

    plain, biased = shares(0.0), shares(1.5)
    odds = [made["]"] / (made["],"] + made["], ["]) for made in (plain, biased)]
    assert math.log(odds[1] / odds[0]) == pytest.approx(1.5)
    assert biased["0"] == pytest.approx(plain["0"])
    # What is stored is the model's own probability.
    assert biased["stop"] == plain["stop"] == pytest.approx(odds[0] / (1 + odds[0]))


@quick
@given(st.integers(1, 9), st.integers(0, 10**6), st.floats(-6, 6), st.floats(0, 6))
def test_a_higher_bias_never_makes_a_greedy_list_longer(n, seed, bias, more) -> None:
    """Where one token takes each decision: the lists are equal until the higher bias stops."""

    def logit(written, token):
        return -99.0 if token < END and ALPHABET[token] == " " and not written else noise(seed)(written, token)

    longer, shorter = (
        parse_selection(walk("characters", Constraint(n, stop_bias=value), logit)[0], n).positions
        for value in (bias, bias + more)
    )
    assert shorter == longer[: len(shorter)]


@pytest.mark.parametrize(("pieces", "ends", "lacks"), [([*ALPHABET][1:], [99], "' '"), ([*ALPHABET], [], "ends a reply")])
def test_a_tokenizer_that_cannot_write_a_reply(pieces, ends, lacks) -> None:
    with pytest.raises(InputError, match=lacks):
        Vocabulary(dict(enumerate(pieces)), ends)
