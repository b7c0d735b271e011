"""The study in a report of `eval --study`, read for people: systems on their costs, the oracle, and the conclusion."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from dynamicrag_cli.core.runs import Score, finite

# Kinds of systems in a study, in words.
FAMILIES = {"fixed": "fixed k", "dynamic": "dynamic k", "ceiling": "knows gold", "order": "other order"}
_FRONTS = {"passages": "on_front_by_passages", "tokens": "on_front_by_reader_tokens"}


@dataclass(frozen=True)
class Contender:
    """One system of a study.

    Attributes:
        answer: Headline score in [0, 1].
        passages, tokens: Means per question of what the reader read; tokens None where no manifest tells.
        leads: The costs (`passages`, `tokens`) on whose Pareto front it is.
        none_right: Shares of the None replies after which the answer was right, and which had no gold passage to choose.
    """

    name: str
    family: str
    answer: Score
    passages: float
    tokens: float | None
    leads: frozenset[str]
    none_share: float
    none_right: tuple[float | None, float | None]
    calls: float
    seconds: float | None


@dataclass(frozen=True)
class StudyResults:
    """A study.

    Attributes:
        oracle: The oracle's answer score and passages; None without a sweep of fixed k.
        sentences: What is to be known beside the conclusion, and the conclusion, last.
        groups: Titles of the groups of questions, by passages needed and by data set.
        mean_k: Passages read on average, per system and group; None where a group is empty.
        orders: Per system in another order: its partner, questions, share of answers that changed, and the difference.
    """

    contenders: list[Contender]
    oracle: tuple[Score, float] | None
    sentences: list[str]
    groups: list[str]
    mean_k: dict[str, list[float | None]]
    orders: list[tuple[str, str, int, float, Score]]

    @property
    def families(self) -> dict[str, str]:
        """The kind of each system."""
        return {one.name: one.family for one in self.contenders}


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
            sentences(study),
            *_spread(study),
            [
                (
                    str(found["system"]),
                    str(found["compared_with"]),
                    int(_number(found["questions"])),
                    _number(found["changed_share"]),
                    _score(found["difference"]),
                )
                for found in study["order"]
            ],
        )
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"its study lacks what drag eval --study writes ({error})") from None


def sentences(study: Mapping[str, Any]) -> list[str]:
    """The study in words: different readers, what a perfect choice of k would win, and the conclusion last.

    Raises:
        KeyError, TypeError, AttributeError: It is not what `drag eval --study` writes.
    """
    told = []
    readers = study.get("readers") or {}
    if len(readers) > 1:
        groups = "; ".join(", ".join(names) for names in readers.values())
        told.append(f"The files were answered by {len(readers)} different readers ({groups}): differences may be theirs.")
    oracle = study["oracle_k"]
    if oracle is not None:
        gain = _score(oracle["gain"])
        told.append(
            f"A perfect choice among {', '.join(oracle['over'])} would answer {100 * _score(oracle['answer']).mean:.1f},"
            f" {100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}] points above {oracle['best_fixed']}, with"
            f" {_number(oracle['passages']['mean']):.2f} passages: no choice of k in retrieval order can win more."
        )
    return [*told, str(study["conclusion"]["sentence"])]


def _spread(study: Mapping[str, Any]) -> tuple[list[str], dict[str, list[float | None]]]:
    """Titles of the groups, and the mean k per system and group."""
    counts = study["difficulty"]
    needs = sorted(counts, key=lambda need: (not need.isdecimal(), int(need) if need.isdecimal() else 0))
    datasets = sorted({name for groups in study["k_by_dataset"].values() for name in groups})
    titles = [f"needs {need}\n{counts[need]} q." if need.isdecimal() else f"no k right\n{counts[need]} q." for need in needs]
    found = {}
    for entry in study["systems"]:
        name = str(entry["system"])
        shares = [study["k_by_difficulty"][name].get(need) for need in needs]
        shares += [study["k_by_dataset"][name].get(dataset) for dataset in datasets] if len(datasets) > 1 else []
        found[name] = [part and sum(int(k) * _number(share) for k, share in part.items()) for part in shares]
    return titles + (datasets if len(datasets) > 1 else []), found


def _contender(entry: Mapping[str, Any]) -> Contender:
    tokens = entry["reader_tokens"]
    return Contender(
        name=str(entry["system"]),
        family=FAMILIES[entry["family"]],
        answer=_score(entry["answer"]),
        passages=_number(entry["passages"]["mean"]),
        tokens=None if tokens is None else finite(tokens["mean"]),
        leads=frozenset(cost for cost, key in _FRONTS.items() if entry[key]),
        none_share=_number(entry["none_share"]),
        none_right=(finite(entry["none_answered"]), finite(entry["none_justified"])),
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
