"""`report`: the questions of a run as one small document that a page can search: who chose what, and what came of it.

A passage stands in it once, however many questions were offered it. If the document would become too large, texts are cut first,
then candidates that nobody chose lose their text, then questions are left out; the document says which.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from dynamicrag_cli.core.identifiers import WELL_FORMED
from dynamicrag_cli.core.records import Prediction, RetrievedQuestion, RewardedQuestion, Rollout
from dynamicrag_cli.core.runs import finite
from dynamicrag_cli.stages.evaluate import HEADLINE, score_rollout

ROLLOUTS = "rollouts"
# What can be wrong with an answer and its selection; several may hold at once.
OUTCOMES = {
    "all right": "none of these faults",
    "wrong answer": "the headline score is below 0.5",
    "no answer": "the reader gave none",
    "malformed": "the reply is no list of identifiers",
    "gold not retrieved": "a gold passage is not among the candidates",
    "gold not chosen": "a gold passage that was offered was not chosen",
    "needless passages": "a passage that is not gold was chosen",
}
# Characters of a passage's text, from the most that is shown to none.
TEXT_STEPS = (600, 300, 150, 80, 0)
_ANSWER = 400
_LONG_FIELD = 1000
# What a passage costs besides its texts, in bytes.
_OVERHEAD = 12
MAX_BYTES = 24 * 10**6


@dataclass
class _Entry:
    """One question as it stands in the document, with its candidates (places by number of the passage) and attempts."""

    fields: dict[str, Any]
    gold: list[str] | None
    docs: dict[int, int] = field(default_factory=dict)
    attempts: list[dict[str, Any]] = field(default_factory=list)


@dataclass
class _Kept:
    """Questions of the document, and where in it each of their passages stands, by its number."""

    questions: list[dict[str, Any]] = field(default_factory=list)
    places: dict[int, int] = field(default_factory=dict)


class Browser:
    """Collects predictions and rewarded rollouts, and gives the document.

    Attributes:
        chosen_sizes: By system, how many selections have each number of passages.
        terms: All values of each reward term, and of the total.
        failed_terms: How often each term is null.
    """

    def __init__(self) -> None:
        self.systems: list[str] = []
        self.chosen_sizes: dict[str, Counter[int]] = {}
        self.terms: dict[str, list[float]] = {}
        self.failed_terms: Counter[str] = Counter()
        self._entries: dict[str, _Entry] = {}
        self._numbers: dict[str, int] = {}
        self._passages: list[tuple[str, str, str]] = []
        self._wanted: set[int] = set()

    def add(self, prediction: Prediction, system: str) -> None:
        """Add what a system made of a question."""
        scores = score_rollout(prediction, prediction.rollout, system).scores
        shown = {name: round(value, 3) for name, value in scores.items() if name != HEADLINE}
        self._attempt(prediction, prediction.rollout, system, shown, scores.get(HEADLINE))

    def add_rewarded(self, record: RewardedQuestion) -> None:
        """Add the rollouts of a question with the terms of their rewards."""
        for made, reward in zip(record.rollouts, record.rewards, strict=True):
            values = {**reward.terms, "total": reward.total}
            for name, value in values.items():
                number = finite(value)
                if number is None:
                    self.failed_terms[name] += 1
                else:
                    self.terms.setdefault(name, []).append(number)
            shown = {name: None if value is None else round(value, 3) for name, value in values.items()}
            headline = score_rollout(record, made, ROLLOUTS).scores.get(HEADLINE)
            self._attempt(record, made, ROLLOUTS, shown, headline)

    def _entry(self, record: RetrievedQuestion) -> _Entry:
        if record.id not in self._entries:
            answers = [answer[:_ANSWER] for answer in record.answers[:10]]
            fields = {"id": record.id, "q": record.question[:_LONG_FIELD], "g": answers, "d": record.dataset}
            self._entries[record.id] = _Entry(fields, record.gold_passage_ids)
        entry = self._entries[record.id]
        for doc in record.docs:
            if doc.id not in self._numbers:
                self._numbers[doc.id] = len(self._passages)
                self._passages.append((doc.id, doc.title[:_LONG_FIELD], doc.text[: TEXT_STEPS[0] + 1]))
            entry.docs.setdefault(self._numbers[doc.id], len(entry.docs))
        return entry

    def _attempt(
        self, record: RetrievedQuestion, made: Rollout, system: str, scores: Mapping[str, float | None], headline: float | None
    ) -> None:
        entry = self._entry(record)
        self.chosen_sizes.setdefault(system, Counter())[len(made.selection)] += 1
        if system not in self.systems:
            self.systems.append(system)
        numbers = [self._numbers[name] for name in made.selection]
        self._wanted.update(numbers)
        attempt = {
            "s": self.systems.index(system),
            "c": [entry.docs[number] for number in numbers],
            "t": made.status,
            "a": None if made.answer is None else made.answer[:_ANSWER],
            "v": scores,
            "f": [*outcomes(record, made, headline)],
        }
        entry.attempts.append(attempt | ({"e": made.error[:_ANSWER]} if made.error else {}))

    def document(self, max_bytes: int = MAX_BYTES) -> dict[str, Any]:
        """The questions, at most about `max_bytes` of JSON, with what was cut or left out to get there."""
        entries = list(self._entries.values())
        kept, fixed = self._within(entries, max_bytes)
        limit, only_chosen = self._text_limit(max_bytes - fixed, kept.places)
        passages = []
        for number in kept.places:
            name, title, text = self._passages[number]
            cut = text if len(text) <= limit else f"{text[:limit]} …" if limit else ""
            passages.append((name, title, cut if not only_chosen or number in self._wanted else ""))
        was_cut = any(len(self._passages[number][2]) > limit for number in kept.places)
        return {
            "systems": self.systems,
            "outcomes": OUTCOMES,
            "passages": passages,
            "questions": kept.questions,
            "limits": {
                "text": limit if was_cut else None,
                "only_chosen": only_chosen,
                "left_out": len(entries) - len(kept.questions),
            },
        }

    def _within(self, entries: list[_Entry], max_bytes: int) -> tuple["_Kept", int]:
        """The first questions that fit without the texts of their passages, and the bytes that they need."""
        kept, used = _Kept(), 0
        for entry in entries:
            question = _question(entry, self._numbers)
            names = [self._passages[number][:2] for number in entry.docs if number not in kept.places]
            used += _size_of(question) + sum(_size(name) + _size(title) + _OVERHEAD for name, title in names)
            if used > max_bytes:
                return kept, max_bytes
            question["p"] = [kept.places.setdefault(number, len(kept.places)) for number in entry.docs]
            kept.questions.append(question)
        return kept, used

    def _text_limit(self, space: int, numbers: Iterable[int]) -> tuple[int, bool]:
        """The longest cut of the texts that fits; where none does, the same for chosen passages only."""
        for only_chosen in (False, True):
            texts = [self._passages[number][2] for number in numbers if not only_chosen or number in self._wanted]
            for limit in TEXT_STEPS[:-1]:
                if sum(_size(text[:limit]) + 4 for text in texts) <= space:
                    return limit, only_chosen
        return 0, False


def outcomes(record: RetrievedQuestion, made: Rollout, headline: float | None) -> Iterator[str]:
    """The words in `OUTCOMES` that hold for an attempt; `all right` stands alone. No headline: no gold answer is known."""
    found = []
    if made.status not in WELL_FORMED:
        found.append("malformed")
    if made.answer is None:
        found.append("no answer")
    elif headline is not None and headline < 0.5:
        found.append("wrong answer")
    if record.gold_passage_ids is not None:
        gold, offered, chosen = {*record.gold_passage_ids}, {doc.id for doc in record.docs}, {*made.selection}
        found += ["gold not retrieved"] * bool(gold - offered) + ["gold not chosen"] * bool(gold & offered - chosen)
        found += ["needless passages"] * bool(chosen - gold)
    yield from found or ["all right"]


def _question(entry: _Entry, numbers: dict[str, int]) -> dict[str, Any]:
    made = {**entry.fields, "p": [*entry.docs], "r": entry.attempts}
    if entry.gold is not None:
        places = [entry.docs.get(numbers.get(name, -1)) for name in entry.gold]
        made |= {"k": [place for place in places if place is not None], "m": places.count(None)}
    return made


def _size(text: str) -> int:
    """Bytes of a text in the page, where `<`, `>` and `&` are written as six."""
    return len(text.encode("utf-8", "replace")) + 5 * sum(map(text.count, "<>&"))


def _size_of(value: object) -> int:
    """Bytes of a part of the document, roughly and rather too many than too few."""
    if isinstance(value, str):
        return _size(value) + 4
    if isinstance(value, dict):
        return sum(len(key) + 4 + _size_of(part) for key, part in value.items()) + 2
    if isinstance(value, list):
        return sum(map(_size_of, value)) + 2
    return 8
