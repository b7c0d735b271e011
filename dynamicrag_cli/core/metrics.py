"""Answer and selection metrics. All values are in [0, 1]; over several gold answers the best one counts.

Normalisation is SQuAD's (Rajpurkar et al. 2016): lower case, no punctuation, no articles, single spaces.
"""

import functools
import re
import string
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from dynamicrag_cli.core.tasks import Task

_ARTICLE_WORDS = frozenset({"a", "an", "the"})
_ARTICLES = re.compile(r"\b(a|an|the)\b")
_PUNCTUATION = string.punctuation.encode()
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# Answers repeat and every metric normalises them anew; passages do neither.
_SHORT = 256
# Words up to which counting each one is quicker than a table of counts.
_FEW = 16

AnswerMetric = Callable[[str, Sequence[str], dict[str, Any], Task], float]


def normalize(text: str) -> str:
    """SQuAD normalisation, after Unicode composition (NFC) so that equal letters are equal."""
    return _remembered(text) if len(text) <= _SHORT else _normalized(text)


def _normalized(text: str) -> str:
    if text.isascii() and text.isprintable():
        # Once the punctuation is gone, an article in plain text is a word between spaces: no need of the slower expression.
        words = text.lower().encode().translate(None, _PUNCTUATION).decode().split()
        return " ".join(words if _ARTICLE_WORDS.isdisjoint(words) else [word for word in words if word not in _ARTICLE_WORDS])
    return " ".join(_ARTICLES.sub(" ", _plain(text)).split())


_remembered = functools.lru_cache(2**16)(_normalized)


def _plain(text: str) -> str:
    """Lower case, without punctuation, single spaces; articles are kept."""
    return " ".join(unicodedata.normalize("NFC", text).lower().translate(_NO_PUNCTUATION).split())


def _key(text: str) -> str:
    """The normalised text; one that is made of articles alone ("The The", "A") keeps them."""
    return normalize(text) or _plain(text)


def exact_match(prediction: str, answers: Sequence[str]) -> float:
    """1 if the normalised prediction equals a normalised gold answer."""
    text = _key(prediction)
    return float(bool(text) and text in map(_key, answers))


def token_f1(prediction: str, answers: Sequence[str]) -> float:
    """Best token F1 (bags of normalised tokens) over the gold answers."""
    said = _key(prediction)
    return max([_bag_f1(said, _key(answer)) for answer in answers], default=0.0)


def _bag_f1(said: str, wanted: str) -> float:
    if said == wanted:
        return float(bool(said))
    predicted, gold = said.split(), wanted.split()
    common = {*predicted} & {*gold}
    if not common:
        return 0.0
    if len(predicted) > _FEW:
        shared = sum((Counter(predicted) & Counter(gold)).values())
    else:
        shared = sum([min(predicted.count(word), gold.count(word)) for word in common])
    return 2 * shared / (len(predicted) + len(gold))


def contains(prediction: str, answers: Sequence[str]) -> float:
    """1 if a normalised gold answer occurs as a token sequence in the normalised prediction."""
    whole = f" {normalize(prediction)} "
    return float(any(f" {needle} " in whole for needle in map(normalize, answers) if needle))


def parse_label(prediction: str, labels: Mapping[str, tuple[str, ...]]) -> str | None:
    """The one label that the reply names first, or None.

    The earliest spelling wins, of two at one place the longer, and a negated one does not count ("not supported" names no FEVER
    label). One-letter labels must stand as a capital of their own, or be the whole reply.
    """
    if all(len(label) == 1 for label in labels):
        return _parse_letter(prediction, labels)
    text = f" {_plain(prediction)} "
    found = []
    for label, spellings in labels.items():
        for spelling in {_plain(spelling) for spelling in (*spellings, label)}:
            for match in re.finditer(rf"(?<= ){re.escape(spelling)}(?= )", text):
                if not _NEGATED.search(text[: match.start()]):
                    found.append((match.start(), -len(spelling), label))
    return min(found)[2] if found else None


_NEGATED = re.compile(r"(?: not| never| neither| nor|n't|nt) $")


def _parse_letter(prediction: str, labels: Mapping[str, tuple[str, ...]]) -> str | None:
    whole = _plain(prediction)
    for label, spellings in labels.items():
        if whole in {_plain(spelling) for spelling in (*spellings, label)}:
            return label
    letters = re.findall(r"(?<![\w'])([A-Z])(?![\w'])", prediction)
    return next((letter for letter in letters if letter in labels), None)


def label_accuracy(prediction: str, answers: Sequence[str], labels: Mapping[str, tuple[str, ...]]) -> float:
    """1 if the label in the reply is the gold label; gold labels may be any spelling in the table."""
    said = parse_label(prediction, labels)
    return float(said is not None and said in {parse_label(answer, labels) for answer in answers})


def str_em(prediction: str, qa_pairs: Sequence[dict[str, Any]]) -> float:
    """ASQA's string EM (Stelmakh et al. 2022): the share of sub-questions with a short answer that occurs in the prediction."""
    groups = [pair["short_answers"] for pair in qa_pairs if pair.get("short_answers")]
    return sum(contains(prediction, group) for group in groups) / len(groups) if groups else 0.0


def _accuracy(prediction: str, answers: Sequence[str], _meta: dict[str, Any], task: Task) -> float:
    return label_accuracy(prediction, answers, task.labels or {})


def _str_em(prediction: str, answers: Sequence[str], meta: dict[str, Any], _task: Task) -> float:
    return str_em(prediction, meta.get("qa_pairs") or [{"short_answers": list(answers)}])


def _rouge_l(prediction: str, answers: Sequence[str], meta: dict[str, Any], _task: Task) -> float:
    return rouge_l(prediction, meta.get("long_answers") or answers)


class _Words:
    """rouge-score's tokenisation (lower case, Porter stems) for every script; its own drops all but a-z and 0-9."""

    def __init__(self) -> None:
        from nltk.stem.porter import PorterStemmer

        self.stem = functools.lru_cache(2**16)(PorterStemmer().stem)

    def tokenize(self, text: str) -> list[str]:
        """The tokens of a text."""
        words = re.findall(r"[^\W_]+", text.lower())
        return [self.stem(word) if len(word) > 3 and word.isascii() else word for word in words]


@functools.cache
def _rouge_scorer() -> Any:
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(["rougeL"], tokenizer=_Words())


def rouge_l(prediction: str, references: Sequence[str]) -> float:
    """Best ROUGE-L F over the references (Lin 2004), by Google's rouge-score."""
    scorer = _rouge_scorer()
    return float(max((scorer.score(reference, prediction)["rougeL"].fmeasure for reference in references), default=0.0))


METRICS: dict[str, AnswerMetric] = {
    "em": lambda prediction, answers, _meta, _task: exact_match(prediction, answers),
    "f1": lambda prediction, answers, _meta, _task: token_f1(prediction, answers),
    "contains": lambda prediction, answers, _meta, _task: contains(prediction, answers),
    "accuracy": _accuracy,
    "str_em": _str_em,
    "rouge_l": _rouge_l,
}


def selection_scores(selected: Collection[str], gold: Collection[str]) -> dict[str, float]:
    """Set precision, recall and F1 of the selected passage ids against the gold ones.

    Where no passage is gold, choosing none is right (all 1) and choosing any is wrong (all 0); an empty selection where some
    are gold scores 0.
    """
    chosen, wanted = set(selected), set(gold)
    if not wanted:
        value = float(not chosen)
        return {"precision": value, "recall": value, "f1": value}
    hits = len(chosen & wanted)
    if not hits:
        return {"precision": 0.0, "recall": 0.0, "f1": 0.0}
    precision, recall = hits / len(chosen), hits / len(wanted)
    return {"precision": precision, "recall": recall, "f1": 2 * precision * recall / (precision + recall)}
