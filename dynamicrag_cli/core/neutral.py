"""Text of others made harmless for a prompt: it forges no identifier, no control token, no line.

Matching is done on a folded copy of the text (compatibility forms, case, accents, look-alike brackets and other digits reduced to
ASCII), because tokenizers normalise and readers forgive; the edits are made in the text itself and are small: a space inside a
control token, round brackets for square ones, a space for a line break, nothing for what cannot be seen.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from functools import lru_cache

# Control tokens of the chat families in use, whatever the tokenizer at hand, in folded form: <|im_end|> and <｜User｜>, <s>,
# <start_of_turn>, <think>, [INST], [TOOL_CALLS], <<SYS>>.
_WORDS = r"inst|system_prompt|available_tools|tool_(?:calls|results|content)|args|call_id|img(?:_break|_end)?|think|control_\d+"
_COMMON = re.compile(
    r"(?=(<\|[^<>|]{1,60}\|>|</?s>|<(?:bos|eos|pad|unk|mask|unused\d+)>|</?(?:start|end)_of_(?:turn|image)>"
    rf"|</?(?:think|tool_call|tool_response)>|\[/?(?:{_WORDS}|prefix|suffix|middle)\]|<</?sys>>))"
)
_LINE_BREAKS = re.compile(r"[\r\n\v\f\x1c-\x1e\x85\u2028\u2029]+")
# Control characters, zero-width characters (but the two joiners, which scripts and emoji need), soft hyphens, marks that turn the
# reading direction, variation selectors, and the tag characters in which a hidden text can be spelt.
_INVISIBLE = re.compile(
    r"[\x00-\x08\x0e-\x1b\x1f\x7f\xad\u034f\u061c\u180b-\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff"
    r"\ufff9-\ufffb\U000e0000-\U000e01ef]"
)
_LOOK_ALIKES = dict.fromkeys("【〔〖〘〚⟦⁅❲⦋⦍⦏", "[") | dict.fromkeys("】〕〗〙〛⟧⁆❳⦌⦎⦐", "]")
_UNSEEN = ("Mn", "Me", "Cf")


def neutralize(text: str, control_tokens: Iterable[str] = ()) -> str:
    """The text as it may stand in a prompt; `control_tokens` are the added tokens of the model's tokenizer."""
    tokens = _prepared(frozenset(control_tokens))
    text = _LINE_BREAKS.sub(" ", _INVISIBLE.sub("", text))
    while (calm := _edited(text, tokens)) != text:
        # Once more: a token may hold a space, and then breaking one can make another.
        text = calm
    return text.strip()


@lru_cache(maxsize=64)
def _prepared(control_tokens: frozenset[str]) -> tuple[str, ...]:
    """The tokens in folded form. White space is layout, and a single letter or digit is text, whatever a tokenizer calls it."""
    folded = ("".join(map(_fold, token)) for token in sorted(control_tokens) if token.strip())
    return tuple(dict.fromkeys(token for token in folded if token.strip() and not (len(token) == 1 and token.isalnum())))


@lru_cache(maxsize=2**16)
def _fold(letter: str) -> str:
    """A character as a lenient reader or a normalising tokenizer takes it: none, one, or several characters."""
    parts = (_LOOK_ALIKES.get(part, part) for part in unicodedata.normalize("NFKD", letter).casefold())
    return "".join(
        part if (digit := unicodedata.digit(part, None)) is None else str(digit)
        for part in parts
        if unicodedata.category(part) not in _UNSEEN
    )


def _folded(text: str) -> tuple[str, Sequence[int]]:
    """The folded text, and for each of its characters the place in the text that it comes from."""
    if text.isascii():
        return text.lower(), range(len(text))
    letters: list[str] = []
    places: list[int] = []
    for place, letter in enumerate(text):
        folded = _fold(letter)
        letters.append(folded)
        places += [place] * len(folded)
    return "".join(letters), places


def _edited(text: str, tokens: tuple[str, ...]) -> str:
    """The text with a space in every control token and round brackets around what is no word."""
    folded, places = _folded(text)
    edits: dict[int, str] = {}
    for start, end in _control_tokens(folded, tokens):
        seen = [at for at in range(start, end) if not folded[at].isspace()]
        second = next((places[at] for at in seen if places[at] != places[seen[0]]), None)
        if second is None:
            # One character that is a token all by itself cannot be broken.
            edits[places[seen[0]]] = " "
        else:
            edits[second] = " " + text[second]
    for left, right in _forged_brackets(folded):
        if left is not None and right is not None:
            inner = folded[left + 1 : right]
            blank = len(inner) - len(inner.lstrip()), len(inner.rstrip())
            for at in [*range(blank[0]), *range(blank[1], len(inner))]:
                edits[places[left + 1 + at]] = ""
        if left is not None:
            edits[places[left]] = "("
        if right is not None:
            edits[places[right]] = ")"
    return "".join(edits.get(place, letter) for place, letter in enumerate(text)) if edits else text


def _control_tokens(folded: str, tokens: tuple[str, ...]) -> Iterator[tuple[int, int]]:
    """Start and end of every control token, overlapping ones too."""
    yield from (match.span(1) for match in _COMMON.finditer(folded))
    for token in tokens:
        start = folded.find(token)
        while start >= 0:
            yield start, start + len(token)
            start = folded.find(token, start + 1)


def _forged_brackets(folded: str) -> Iterator[tuple[int | None, int | None]]:
    """First and last character of every pair of square brackets that holds a digit and no letter, nested ones too.

    A bracket without a partner, and with no letter between it and the end of the text, counts as well: the partner could stand in
    the text that comes next, behind a title for example.
    """
    if "[" not in folded and "]" not in folded:
        return
    opened: list[tuple[int, bool, bool]] = []
    word_before = False
    for at, letter in enumerate(folded):
        if letter == "[":
            opened.append((at, False, False))
            continue
        digit, word = letter.isdigit(), letter.isalpha()
        if letter == "]" and opened:
            start, digit, word = opened.pop()
            if digit and not word:
                yield start, at
        elif letter == "]" and not word_before:
            yield None, at
        if opened and (digit or word):
            start, digit_before, word_there = opened.pop()
            opened.append((start, digit_before or digit, word_there or word))
        word_before = word_before or word
    word = False
    for start, _, word_there in reversed(opened):
        word = word or word_there
        if not word:
            yield start, None
