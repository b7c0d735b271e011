"""The study in a report of `eval --study`, read for people: systems on their costs, the oracle, and the conclusion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamicrag_cli.core.runs import Score, finite

# Kinds of systems in a study, in words.
FAMILIES = {"fixed": "fixed k", "dynamic": "dynamic k", "ceiling": "knows gold", "order": "other order"}


@dataclass(frozen=True)
class Contender:
    """One system of a study.

    Attributes:
        answer: Headline score in [0, 1].
        passages, tokens: Means per question of what the reader read; tokens None where no manifest tells.
        leads: On the Pareto front of answers against passages.
    """

    name: str
    family: str
    answer: Score
    passages: float
    tokens: float | None
    leads: bool
    none_share: float
    calls: float
    seconds: float | None


@dataclass(frozen=True)
class StudyResults:
    """A study: its systems, the oracle's answer score and passages (None without a sweep of fixed k), and its sentence."""

    contenders: list[Contender]
    oracle: tuple[Score, float] | None
    sentence: str


def study_results(report: Mapping[str, Any]) -> StudyResults | None:
    """The study of a report; None where it has none.

    Raises:
        ValueError: It is not what `drag eval --study` writes.
    """
    study = report.get("study")
    if study is None:
        return None
    try:
        oracle = study["oracle_k"]
        return StudyResults(
            [_contender(entry) for entry in study["systems"]],
            None if oracle is None else (_score(oracle["answer"]), _number(oracle["passages"]["mean"])),
            str(study["conclusion"]["sentence"]),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"its study lacks what drag eval --study writes ({error})") from None


def _contender(entry: Mapping[str, Any]) -> Contender:
    tokens = entry["reader_tokens"]
    return Contender(
        name=str(entry["system"]),
        family=FAMILIES[entry["family"]],
        answer=_score(entry["answer"]),
        passages=_number(entry["passages"]["mean"]),
        tokens=None if tokens is None else finite(tokens["mean"]),
        leads=bool(entry["on_front_by_passages"]),
        none_share=_number(entry["none_share"]),
        calls=_number(entry["calls"]),
        seconds=finite(entry["seconds"]),
    )


def _score(entry: Mapping[str, Any]) -> Score:
    return Score(*(_number(entry[name]) for name in ("mean", "low", "high")))


def _number(value: object) -> float:
    number = finite(value)
    if number is None:
        raise TypeError(f"{value!r} is no number")
    return number
