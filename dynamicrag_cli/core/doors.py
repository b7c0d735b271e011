"""The door: foreign records become ours once, here, and nowhere else.

Known foreign names are translated, unknown fields go to `meta`, and what is left is checked against the record type.
"""

from typing import Any, TypeVar

import msgspec

from dynamicrag_cli.core.records import Candidate, Passage, Question, Record, field_names
from dynamicrag_cli.core.tasks import DEFAULT_TASK

# Names that the same thing has in DynamicRAG's files, DPR, FlashRAG, BEIR and RankLLM.
ALIASES = {
    "question": ("query", "claim"),
    "answers": ("answer", "golden_answers", "gold_answers"),
    "docs": ("ctxs", "candidates", "contexts"),
    "id": ("_id", "qid", "docid"),
    "text": ("contents", "passage"),
    "gold_passage_ids": ("gold_ids", "positive_passage_ids"),
}

_DEV_NAMES = ("validation", "valid", "val", "development")

R = TypeVar("R", bound=Record)


def admit(raw: object, kind: type[R]) -> tuple[R, list[str]]:
    """Turn one decoded JSON value into a record; returns it with the names of the fields that went to `meta`.

    Raises:
        ValueError: The value cannot be this record; the message names the field.
    """
    fields, strange = translate(raw, kind)
    if strange and "meta" not in field_names(kind):
        raise ValueError(f"unknown fields {strange}")
    try:
        return msgspec.convert(fields, kind), strange
    except msgspec.ValidationError as error:
        raise ValueError(str(error)) from None


def translate(raw: object, kind: type[Record]) -> tuple[dict[str, Any], list[str]]:
    """The fields under our names, not yet checked, with the names of the unknown ones (in `meta`, where the record has one).

    Raises:
        ValueError: The value is no JSON object, or a part of it cannot be translated.
    """
    if not isinstance(raw, dict):
        raise ValueError(f"expected a JSON object, found {type(raw).__name__}")
    fields = _translate(raw, field_names(kind))
    if issubclass(kind, Question):
        fields = _admit_question(fields)
    elif kind is Passage:
        fields["title"] = fields.get("title") or ""
    strange = sorted(set(fields) - set(field_names(kind)))
    if strange and "meta" in field_names(kind):
        meta = fields.get("meta") or {}
        if not isinstance(meta, dict):
            raise ValueError(f"expected a table, found {type(meta).__name__} - at `$.meta`")
        fields = {name: value for name, value in fields.items() if name not in strange}
        fields["meta"] = {**meta, **{name: raw.get(name) for name in strange}}
    return fields, strange


def _translate(raw: dict[str, Any], names: tuple[str, ...]) -> dict[str, Any]:
    fields = dict(raw)
    for ours, theirs in ALIASES.items():
        if ours in names and ours not in fields:
            for name in theirs:
                if name in fields:
                    fields[ours] = fields.pop(name)
                    break
    if isinstance(fields.get("id"), int) and not isinstance(fields["id"], bool):
        fields["id"] = str(fields["id"])
    return fields


def _admit_question(fields: dict[str, Any]) -> dict[str, Any]:
    fields = {"answers": [], "dataset": DEFAULT_TASK, **fields}
    if isinstance(fields["answers"], str):
        fields["answers"] = [fields["answers"]]
    if fields.get("split") in _DEV_NAMES:
        fields["split"] = "dev"
    if isinstance(fields.get("docs"), list):
        fields["docs"] = [_admit_candidate(doc) for doc in fields["docs"]]
    return fields


def _admit_candidate(doc: object) -> object:
    if not isinstance(doc, dict):
        return doc
    names = field_names(Candidate)
    # Fields of a foreign candidate that have no place here (labels, ranks) are dropped: relevance has its own field.
    fields = {name: value for name, value in _translate(doc, names).items() if name in names}
    fields["title"] = fields.get("title") or ""
    if isinstance(fields.get("score"), str):
        try:
            fields["score"] = float(fields["score"])
        except ValueError:
            raise ValueError(f"expected a number, found {fields['score']!r} - at `$.docs[...].score`") from None
    return fields
