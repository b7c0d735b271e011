"""Parts that several formats share: questions, passages and answers under the names that other projects give them."""

import hashlib
from typing import Any

from dynamicrag_cli.core.records import Candidate
from dynamicrag_cli.core.tasks import DEFAULT_TASK

Item = dict[str, Any]
# What a task's metrics need besides the answers; the door keeps it in `meta`.
_EXTRAS = ("qa_pairs", "claims", "long_answers")


def question_fields(item: Item, name: str, dataset: str | None) -> Item:
    """The fields of a question; an item without an id gets `name`.

    Raises:
        ValueError: There is no question.
    """
    question = next((item[key] for key in ("question", "retrieved_question", "query") if isinstance(item.get(key), str)), None)
    if question is None:
        raise ValueError("no question (looked for question, retrieved_question, query)")
    meta = {key: item[key] for key in _EXTRAS if item.get(key)}
    long_answers = [note["long_answer"] for note in item.get("annotations") or [] if note.get("long_answer")]
    if long_answers:
        meta.setdefault("long_answers", long_answers)
    found = next((str(item[key]) for key in ("id", "qid", "sample_id") if item.get(key) is not None), name)
    dataset = dataset or item.get("dataset") or DEFAULT_TASK
    return {"id": found, "question": question, "answers": _answers(item), "dataset": dataset, "meta": meta}


def _answers(item: Item) -> list[str]:
    """Gold answers; where there are only question-answer pairs, all their short answers."""
    for key in ("answers", "answer", "golden_answers"):
        value = item.get(key)
        if isinstance(value, str):
            return [value]
        if isinstance(value, list) and value:
            # Some sets list several spellings per answer.
            return [str(text) for entry in value for text in (entry if isinstance(entry, list) else [entry])]
    return list(dict.fromkeys(str(text) for pair in item.get("qa_pairs") or [] for text in pair.get("short_answers") or []))


def extras(meta: Item) -> Item:
    """The fields of `meta` that stand beside the question in other projects' files."""
    return {key: meta[key] for key in _EXTRAS if key in meta}


def candidate(doc: object) -> Candidate:
    """A passage; one without an id is known by its text, one of FlashRAG has its title on the first line of `contents`.

    Raises:
        ValueError: It has no text.
    """
    if not isinstance(doc, dict):
        raise ValueError(f"expected a passage, found {type(doc).__name__}")
    title, text = doc.get("title"), doc.get("text")
    if text is None and isinstance(doc.get("contents"), str):
        first, _, rest = doc["contents"].partition("\n")
        title, text = (title or first.strip('"'), rest) if rest else (title, first)
    if not isinstance(text, str):
        raise ValueError("a passage has no text")
    title = str(title or "")
    name = next((str(doc[key]) for key in ("id", "docid", "_id", "passage_id", "psg_id") if doc.get(key) is not None), None)
    score = doc.get("score")
    return Candidate(
        id=name or "text-" + hashlib.sha256(f"{title}\n{text}".encode()).hexdigest()[:16],
        title=title,
        text=text,
        score=float(score) if isinstance(score, int | float | str) and str(score).strip() else None,
    )


def candidates(docs: object) -> list[Candidate]:
    """All passages of a list, a repeated one too.

    Raises:
        ValueError: It is no list of passages.
    """
    if not isinstance(docs, list):
        raise ValueError("no list of passages (looked for ctxs, docs)")
    return [candidate(doc) for doc in docs]


def unique(docs: list[Candidate]) -> list[Candidate]:
    """Each passage once, where it stands first."""
    found: dict[str, Candidate] = {}
    for doc in docs:
        found.setdefault(doc.id, doc)
    return list(found.values())


def passage(doc: Candidate) -> Item:
    """A passage as other projects write it."""
    return {"id": doc.id, "title": doc.title, "text": doc.text, **({} if doc.score is None else {"score": doc.score})}


def first_text(value: object) -> str | None:
    """A text, or the first of a list of them."""
    if isinstance(value, list):
        value = value[0] if value else None
    return value if isinstance(value, str) else None
