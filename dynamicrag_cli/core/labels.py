"""Relevance without a model: from gold passage ids or from answer strings."""

import functools
import unicodedata
from collections.abc import Callable, Sequence

from dynamicrag_cli.core.metrics import normalize
from dynamicrag_cli.core.records import Candidate, Question, RetrievedQuestion
from dynamicrag_cli.core.tasks import task_of

THRESHOLD = 0.5
_NO_SPAN = frozenset({"yes", "no", "true", "false", "unknown"})


def short_answers(question: Question) -> list[str]:
    """The answer strings that may occur in a passage: none for labels, long answers, yes/no and unknown."""
    field = task_of(question.dataset).short_answers
    if field is None:
        return []
    pairs = question.meta.get("qa_pairs") or []
    strings = question.answers if field == "answers" else [a for pair in pairs for a in pair.get("short_answers", [])]
    return [answer for answer in strings if _answer_tokens(answer) and normalize(answer) not in _NO_SPAN]


def references(question: Question) -> list[str]:
    """The texts that a good answer is like: the long answers where there are some, else the answers, else all short ones."""
    long_answers = [str(answer) for answer in question.meta.get("long_answers") or []]
    return long_answers or question.answers or short_answers(question)


def has_answer(doc: Candidate, answers: list[str]) -> bool:
    """Whether title and text hold one of the answers as a sequence of whole tokens; an empty answer is held by none.

    Tokens are those of DPR's `has_answer` (Karpukhin et al. 2020): runs of letters, digits and their marks, in lower case. DPR
    compares the punctuation between them as well; here it only separates: "north-western" is "north western".
    """
    text = f" {_tokens(f'{doc.title} {doc.text}')} "
    return any(f" {tokens} " in text for tokens in map(_answer_tokens, answers) if tokens)


class _Separators(dict[int, str]):
    """For `str.translate`: a letter, digit or mark is itself, everything else is a space; filled as characters are met."""

    def __missing__(self, code: int) -> str:
        character = chr(code)
        self[code] = kept = character if unicodedata.category(character)[0] in "LNM" else " "
        return kept


_SEPARATORS = _Separators()


def _tokens(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", text).lower().translate(_SEPARATORS).split())


# The same answers are looked for in all candidates of a question.
_answer_tokens = functools.lru_cache(2**12)(_tokens)


def may_hold_evidence(question: Question, docs: Sequence[Candidate]) -> bool:
    """Whether the gold answer can follow from these passages.

    So it is where one of them is gold or holds an answer string, where none is needed, and where nobody knows.
    """
    gold, answers = question.gold_passage_ids, short_answers(question)
    if gold == [] or (gold is None and not answers):
        return True
    return any(doc.id in (gold or ()) or has_answer(doc, answers) for doc in docs)


def gold_relevance(record: RetrievedQuestion) -> list[float]:
    """1 for the gold passages, else 0; shape (n_docs,).

    Raises:
        ValueError: The question has no gold_passage_ids.
    """
    if record.gold_passage_ids is None:
        raise ValueError("the question has no gold_passage_ids, which the teacher 'gold' needs")
    gold = set(record.gold_passage_ids)
    return [float(doc.id in gold) for doc in record.docs]


def answer_match_relevance(record: RetrievedQuestion) -> list[float]:
    """1 for passages that hold an answer as a token sequence, else 0 (a weak label); shape (n_docs,).

    Raises:
        ValueError: The question has no answer that could stand in a passage.
    """
    answers = short_answers(record)
    if not answers:
        raise ValueError("the question has no short answers, which the teacher 'answer-match' needs")
    return [float(has_answer(doc, answers)) for doc in record.docs]


LABELLERS: dict[str, Callable[[RetrievedQuestion], list[float]]] = {
    "gold": gold_relevance,
    "answer-match": answer_match_relevance,
}
