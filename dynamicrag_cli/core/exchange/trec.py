"""TREC runs (`qid Q0 docid rank score tag`) and qrels (`qid 0 docid grade`): they hold only ids."""

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

from dynamicrag_cli.core.records import Candidate, Passage, Prediction, Question, RetrievedQuestion, extend

_TAG = "drag"


def run_lines(record: RetrievedQuestion) -> Iterator[str]:
    """The candidates in their order, or of a prediction what was chosen; scores fall strictly, as TREC sorts by them.

    Raises:
        ValueError: An id has white space, which a TREC file cannot hold.
    """
    by_name = {doc.id: doc for doc in record.docs}
    names = record.rollout.selection if isinstance(record, Prediction) else [doc.id for doc in record.docs]
    tag = record.selector if isinstance(record, Prediction) else _TAG
    for rank, (name, score) in enumerate(zip(names, _falling([by_name[n].score for n in names]), strict=True), start=1):
        yield _line(record.id, "Q0", name, str(rank), f"{score:.9g}", "_".join(tag.split()) or _TAG)


def _falling(scores: Sequence[float | None]) -> list[float]:
    """The scores if they fall strictly, else the number of places that are left."""
    known = [score for score in scores if score is not None]
    if len(known) == len(scores) and all(float(f"{one:.9g}") > float(f"{other:.9g}") for one, other in pairwise(known)):
        return known
    return [float(len(scores) - place) for place in range(len(scores))]


def qrels_lines(record: Question) -> Iterator[str]:
    """One line per graded passage, or of grade 1 per gold passage.

    Raises:
        ValueError: The question has no gold_passage_ids, or an id has white space.
    """
    if record.gold_passage_ids is None:
        raise ValueError("the question has no gold_passage_ids")
    grades = record.meta.get("grades") or dict.fromkeys(record.gold_passage_ids, 1)
    for name, grade in grades.items():
        yield _line(record.id, "0", name, str(grade))


def _line(*fields: str) -> str:
    for field in fields:
        if len(field.split()) != 1:
            raise ValueError(f"the id {field!r} has white space, or nothing, which a TREC file cannot hold")
    return " ".join(fields)


def parse_run_line(line: str) -> tuple[str, str, float]:
    """Question id, passage id and score.

    Raises:
        ValueError: The line is no line of a run.
    """
    fields = line.split()
    if len(fields) != 6:
        raise ValueError(f"expected 6 fields (qid Q0 docid rank score tag), found {len(fields)}")
    return fields[0], fields[2], _finite(fields[4])


def parse_qrels_line(line: str) -> tuple[str, str, float]:
    """Question id, passage id and grade.

    Raises:
        ValueError: The line is no line of qrels.
    """
    fields = line.split()
    if len(fields) != 4:
        raise ValueError(f"expected 4 fields (qid 0 docid grade), found {len(fields)}")
    return fields[0], fields[2], _finite(fields[3])


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"the number is {text}")
    return value


def read_run(question: Question, ranked: Mapping[str, float], passages: Mapping[str, Passage]) -> RetrievedQuestion:
    """The question with its candidates, the highest score first.

    Raises:
        ValueError: A passage is not known.
    """
    missing = [name for name in ranked if name not in passages]
    if missing:
        raise ValueError(f"{len(missing)} of {len(ranked)} passages are not in --passages, such as {missing[0]!r}")
    names = sorted(ranked, key=lambda name: -ranked[name])
    docs = [Candidate(id=name, title=passages[name].title, text=passages[name].text, score=ranked[name]) for name in names]
    made: RetrievedQuestion = extend(question, RetrievedQuestion, docs=docs)
    return made


def read_qrels(question: Question, grades: Mapping[str, float], least: int = 1) -> Question:
    """The question with the passages of at least the grade `least` as gold ones, and all grades in `meta.grades`.

    Raises:
        ValueError: A grade is no whole number.
    """
    strange = [grade for grade in grades.values() if grade != int(grade)]
    if strange:
        raise ValueError(f"the grade {strange[0]} is no whole number")
    whole = {name: int(grade) for name, grade in grades.items()}
    gold = [name for name, grade in whole.items() if grade >= least]
    made: Question = extend(question, Question, gold_passage_ids=gold, meta={**question.meta, "grades": whole})
    return made
