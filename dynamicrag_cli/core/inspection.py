"""Everything that can be said about the lines of a file that may be wrong: of which kind they are, and what is wrong with each.

A line with an error is one that every stage rejects. A warning is about a line that can be used, but perhaps not as it was meant.
"""

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, Literal, get_args, get_origin

import msgspec

from dynamicrag_cli.core.doors import translate
from dynamicrag_cli.core.identifiers import STATUSES
from dynamicrag_cli.core.labels import references
from dynamicrag_cli.core.records import (
    KINDS,
    BrokenRulesError,
    ChatExample,
    Passage,
    Prediction,
    PreferencePair,
    Question,
    QuestionScores,
    Record,
    Reject,
    RetrievedQuestion,
    Rollout,
    SampledQuestion,
    field_names,
)

# Control characters but tab and line ends, marks that turn the reading direction, halves of surrogate pairs. No text needs one.
CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
# Fields whose values are few, so that records can be counted by them.
GROUPS = ("dataset", "split", "role", "selector")
_PATH = re.compile(r" - at `\$\.?(.*)`$")
_PLACE = re.compile(r"\[(?:\d+|\.\.\.)\]")
_OUR_FIELDS = frozenset(name for kind in KINDS.values() for name in field_names(kind))


class Finding(msgspec.Struct, frozen=True):
    """One thing that is wrong: where in the record ("" is all of it), of what sort, and in words."""

    field: str
    sort: str
    reason: str
    severity: Literal["error", "warning"] = "error"


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """A finding with the line that it was made on; `id` is None where the line has none."""

    line: int
    id: str | None
    field: str
    sort: str
    reason: str
    severity: Literal["error", "warning"]


def guess_kind(lines: Iterable[bytes]) -> type[Record] | None:
    """The kind of record whose fields most of these lines have; None where they have those of none."""
    objects = [found for found in map(_object, lines) if found is not None]
    counts = Counter(name for found in objects for name in found)
    names = {name for name, count in counts.items() if 2 * count >= len(objects)}
    best: tuple[tuple[int, ...], type[Record]] | None = None
    for kind in KINDS.values():
        fields, strange = translate(dict.fromkeys(names), kind)
        required = {field.name for field in msgspec.structs.fields(kind) if field.required}
        # Fields that other kinds have too, or that the door fills in, tell nothing.
        telling = {name for name in required & {*fields} if name not in ("id", "title", "answers", "dataset")}
        key = (len(_OUR_FIELDS & {*strange}), len(required - {*fields}), len(strange), -len(telling))
        if telling and (best is None or key < best[0]):
            best = key, kind
    return best[1] if best else None


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = msgspec.json.decode(line)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


class Inspector:
    """Looks at the lines of one file, one after the other; it keeps ids and counts, never records.

    Attributes:
        n_lines: Lines seen.
        n_records: Lines that can be used.
        n_duplicates: Lines whose id was met before.
        strange: How often each unknown field was moved to `meta`.
        groups: Usable records by the value of each field in `GROUPS` that they have.
        sorts: Problems by severity, sort and field (places in lists left out).
    """

    def __init__(self, kind: type[Record]) -> None:
        self.kind = kind
        self.n_lines = self.n_records = self.n_duplicates = 0
        self.strange: Counter[str] = Counter()
        self.groups: dict[str, Counter[str]] = {}
        self.sorts: Counter[tuple[str, str, str]] = Counter()
        self._strict = msgspec.json.Decoder(kind)
        self._seen: set[str | tuple[str, str]] = set()

    def look(self, number: int, line: bytes) -> list[Problem]:
        """All problems of one line."""
        self.n_lines += 1
        record, name, findings = self.read(line)
        if record is not None:
            again = self._again(record)
            if not again:
                self.n_records += 1
                self._count(record)
            findings = [*again, *remarks(record)]
        for found in findings:
            self.sorts[found.severity, found.sort, _PLACE.sub("[]", found.field)] += 1
        return [Problem(line=number, id=name, **msgspec.structs.asdict(found)) for found in findings]

    def read(self, line: bytes) -> tuple[Record | None, str | None, list[Finding]]:
        """The record, its id, and why it is no record, if it is none."""
        try:
            record = self._strict.decode(line)
            return record, _name(getattr(record, "id", None)), []
        except msgspec.ValidationError:
            pass
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return None, None, [Finding("", "malformed JSON", str(error))]
        return self._read_foreign(line)

    def _read_foreign(self, line: bytes) -> tuple[Record | None, str | None, list[Finding]]:
        try:
            raw = msgspec.json.decode(line)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            return None, None, [Finding("", "malformed JSON", str(error))]
        name = _name(raw.get("id")) if isinstance(raw, dict) else None
        try:
            fields, strange = translate(raw, self.kind)
        except ValueError as error:
            return None, name, [_wrong_value(error, "")]
        name = _name(fields.get("id"))
        findings = [*_faults(fields, self.kind, "")]
        if not findings:
            try:
                record = msgspec.convert(fields, self.kind)
            except msgspec.ValidationError as error:
                return None, name, _broken(error)
            self.strange.update(strange)
            return record, name, []
        return None, name, findings

    def _again(self, record: Record) -> list[Finding]:
        """The finding of an id that was met before."""
        name = getattr(record, "id", None)
        if name is None or isinstance(record, Reject):
            return []
        # Files of examples may hold both roles, files of scores several systems.
        owner = record.system if isinstance(record, QuestionScores) else getattr(record, "role", None)
        key = name if owner is None else (name, owner)
        if key in self._seen:
            self.n_duplicates += 1
            return [Finding("id", "duplicate id", f"the id {name!r} was met before")]
        self._seen.add(key)
        return []

    def _count(self, record: Record) -> None:
        for group in GROUPS:
            if group in field_names(self.kind):
                self.groups.setdefault(group, Counter())[getattr(record, group) or "(none)"] += 1


def _name(value: object) -> str | None:
    return str(value) if isinstance(value, str | int) and not isinstance(value, bool) else None


def _wrong_value(error: Exception, place: str) -> Finding:
    """The finding of a decoder's message, which ends with the place below `place`."""
    text = str(error)
    inner = _PATH.search(text)
    below = inner.group(1) if inner else ""
    field = f"{place}.{below}" if place and below and not below.startswith("[") else place + below
    return Finding(field, "wrong value", _PATH.sub("", text))


def _broken(error: msgspec.ValidationError) -> list[Finding]:
    if isinstance(error.__cause__, BrokenRulesError):
        return [Finding(field, "broken rule", _PATH.sub("", reason)) for field, reason in error.__cause__.rules]
    return [_wrong_value(error, "")]


def _faults(value: object, wanted: Any, place: str) -> Iterator[Finding]:
    """Every part of a value that is not what its type wants; the decoder would stop at the first."""
    nested = wanted if _is_record(wanted) else next(filter(_is_record, get_args(wanted)), None)
    if get_origin(wanted) is list and isinstance(value, list):
        for number, part in enumerate(value):
            yield from _faults(part, get_args(wanted)[0], f"{place}[{number}]")
    elif nested is not None and isinstance(value, dict) and get_origin(wanted) is not list:
        yield from _field_faults(value, nested, f"{place}." if place else "")
    else:
        try:
            msgspec.convert(value, wanted)
        except msgspec.ValidationError as error:
            yield _wrong_value(error, place)


def _is_record(wanted: object) -> bool:
    return isinstance(wanted, type) and issubclass(wanted, Record)


def _field_faults(fields: dict[str, Any], kind: type[Record], prefix: str) -> Iterator[Finding]:
    for field in msgspec.structs.fields(kind):
        if field.name in fields:
            yield from _faults(fields[field.name], field.type, prefix + field.name)
        elif field.required:
            yield Finding(prefix + field.name, "missing field", "the field is missing")
    for name in fields:
        if name not in field_names(kind):
            yield Finding(prefix + name, "unknown field", f"{kind.__name__} has no field {name!r}")


def _warning(field: str, sort: str, reason: str) -> Finding:
    return Finding(field, sort, reason, "warning")


def remarks(record: Record) -> Iterator[Finding]:
    """What a decoder accepts and a person should know."""
    if isinstance(record, Question):
        yield from _question_remarks(record)
    if isinstance(record, RetrievedQuestion):
        yield from _candidate_remarks(record)
    if isinstance(record, SampledQuestion):
        if not record.rollouts:
            yield _warning("rollouts", "no rollouts", "there are no rollouts")
        for number, rollout in enumerate(record.rollouts):
            yield from _rollout_remarks(rollout, f"rollouts[{number}]")
    if isinstance(record, Prediction):
        yield from _rollout_remarks(record.rollout, "rollout")
    texts = {Passage: ("text",), ChatExample: ("user", "assistant"), PreferencePair: ("user", "chosen")}.get(type(record), ())
    for name in texts:
        if not getattr(record, name).strip():
            yield _warning(name, "empty text", "the text is empty")
    for place, value in _leaves(record, ""):
        yield from _leaf_remarks(place, value)


def _question_remarks(record: Question) -> Iterator[Finding]:
    try:
        if not references(record):
            yield _warning("answers", "no answers", "there are no answers: the question can be neither rewarded nor scored")
    except (AttributeError, TypeError) as error:
        yield _warning("meta", "unreadable meta", f"qa_pairs or long_answers cannot be read ({error})")
    for number, answer in enumerate(record.answers):
        if not answer.strip():
            yield _warning(f"answers[{number}]", "empty answer", "the answer is empty")


def _candidate_remarks(record: RetrievedQuestion) -> Iterator[Finding]:
    if not record.docs:
        yield _warning("docs", "no candidates", "there are no candidates")
        return
    for number, doc in enumerate(record.docs):
        if not doc.text.strip():
            yield _warning(f"docs[{number}].text", "empty text", "the text is empty")
    known = {doc.id for doc in record.docs}
    gold = record.gold_passage_ids or []
    missing = [name for name in gold if name not in known]
    if missing:
        reason = f"{len(missing)} of {len(gold)} gold ids are not among the candidates: {', '.join(map(repr, missing[:5]))}"
        yield _warning("gold_passage_ids", "gold not among candidates", reason)


def _rollout_remarks(rollout: Rollout, place: str) -> Iterator[Finding]:
    if rollout.status not in STATUSES:
        known = ", ".join(STATUSES)
        yield _warning(f"{place}.status", "unknown status", f"unknown status {rollout.status!r}; known: {known}")


def _leaves(value: object, place: str) -> Iterator[tuple[str, str | float]]:
    """Every text and number of a record but those of `meta`, with its place."""
    if isinstance(value, str | float):
        yield place, value
    elif isinstance(value, msgspec.Struct):
        for name in value.__struct_fields__:
            if name != "meta":
                yield from _leaves(getattr(value, name), f"{place}.{name}" if place else name)
    elif isinstance(value, list):
        for number, part in enumerate(value):
            yield from _leaves(part, f"{place}[{number}]")
    elif isinstance(value, dict):
        for name, part in value.items():
            yield from _leaves(part, f"{place}[{name}]")


def _leaf_remarks(place: str, value: str | float) -> Iterator[Finding]:
    if isinstance(value, float):
        if not math.isfinite(value):
            yield _warning(place, "score is no number", f"the number is {value}")
    elif found := CONTROL.findall(value):
        names = ", ".join(f"U+{ord(mark):04X}" for mark in sorted({*found}))
        yield _warning(place, "control characters", f"{len(found)} control character(s): {names}")
