"""`report`: the tables of a run as texts, the same for the page and the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.runs import SHARES, TITLES, Score, StageFacts, SystemResults, amount, metric_order
from dynamicrag_cli.core.study_results import StudyResults

_FIRST = ("headline", "selection_f1")
_DASH = "–"


@dataclass(frozen=True)
class TextTable:
    """A table for people.

    Attributes:
        rows: The first cell of a row names it.
        n_words: So many columns, from the first, hold words, not numbers.
        folded: It is shown only where it is asked for.
    """

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""
    n_words: int = 1
    folded: bool = False


def results(systems: Sequence[SystemResults]) -> TextTable:
    """One row per system: what counts most, passages and tokens read, and the shares of what went wrong."""
    metrics = [name for name in metric_order(systems) if name in _FIRST]
    rows = [
        [
            system.name,
            *(_score(system.scores.get(name)) for name in metrics),
            _number(system.passages, 2),
            _number(system.tokens, 0),
            *(_percent(system.shares[name]) for name in SHARES),
            _DASH if system.missing is None else str(system.missing),
        ]
        for system in systems
    ]
    head = ["system", *(TITLES.get(name, name) for name in metrics), "passages", "reader tokens", *SHARES.values(), "missing"]
    counts = sorted({system.questions for system in systems if system.questions is not None})
    questions = f"{' to '.join(map(str, counts[:1] + counts[1:][-1:]))} questions. " if counts else ""
    note = f"{questions}Percent, with 95 % intervals in brackets; 'answer' is the headline metric of each question's task."
    return TextTable("Systems", head, rows, f"{note} A question without a usable prediction counts as a failure.")


def metrics(systems: Sequence[SystemResults]) -> TextTable | None:
    """All other metrics of the systems; None where there are none."""
    names = [name for name in metric_order(systems) if name not in _FIRST]
    rows = [[system.name, *(_score(system.scores.get(name)) for name in names)] for system in systems]
    note = "Percent, with 95 % intervals, over the questions that have the metric."
    return TextTable("Other metrics", ["system", *(TITLES.get(name, name) for name in names)], rows, note) if names else None


def by_dataset(systems: Sequence[SystemResults]) -> TextTable | None:
    """The headline score per system and data set; None where there is one data set."""
    names = sorted({name for system in systems for name in system.by_dataset})
    if len(names) < 2:
        return None
    rows = [[system.name, *(_score(system.by_dataset.get(name, {}).get("headline")) for name in names)] for system in systems]
    return TextTable("Answer by data set", ["system", *names], rows, "Headline metric in percent, with 95 % intervals.")


def stages(facts: Sequence[StageFacts]) -> TextTable:
    """One row per finished stage: records in, out and rejected, time and memory."""
    rows = [
        [
            stage.name,
            _DASH if stage.n_in is None else str(stage.n_in),
            ", ".join(f"{count} {file}".rstrip() for file, count in stage.out.items()) or _DASH,
            str(stage.rejected),
            _DASH if stage.seconds is None else amount(stage.seconds),
            _DASH if stage.memory is None else amount(stage.memory),
        ]
        for stage in facts
    ]
    return TextTable("Records and costs", ["stage", "in", "out", "rejected", "seconds", "peak MiB"], rows)


def reasons(facts: Sequence[StageFacts]) -> TextTable | None:
    """Why records were rejected, and what the stages noted about those they kept; None where there is nothing to tell."""
    rows = [
        [stage.name, kind, text, str(count)]
        for stage in facts
        for kind, counts in (("rejected", stage.reasons), ("noted", stage.notes))
        for text, count in sorted(counts.items(), key=lambda item: (-item[1], item[0]))
    ]
    folded = not any(stage.reasons for stage in facts)
    title = "Notes" if folded else "Rejects and notes"
    return TextTable(title, ["stage", "", "reason", "records"], rows, n_words=3, folded=folded) if rows else None


def study(found: StudyResults) -> TextTable:
    """One row per system of a study, and the oracle: what it reads, what that brings and costs."""
    rows = [
        [
            one.name,
            one.family,
            _score(one.answer),
            _number(one.passages, 2) + (" *" if "passages" in one.leads else ""),
            _number(one.tokens, 0) + (" *" if "tokens" in one.leads else ""),
            _percent(one.none_share),
            " / ".join(map(_percent, one.none_right)) if one.none_share else _DASH,
            _number(one.calls, 1),
            _number(one.seconds, 2),
        ]
        for one in found.contenders
    ]
    if found.oracle:
        answer, passages = found.oracle
        rows.append(["oracle k", "upper bound", _score(answer), _number(passages, 2), *[_DASH] * 5])
    head = ["system", "kind", "answer", "passages", "reader tokens", "None", "None right", "calls", "s/question"]
    note = (
        "* on the Pareto front: no other answers as well with fewer passages, or tokens. None right: answered right after None"
        " / no gold passage to choose. The oracle looks at the answers."
    )
    return TextTable("Selectors", head, rows, note, n_words=2)


def orders(found: StudyResults) -> TextTable | None:
    """What another order of the same passages changes; None where no system has a partner in another order."""
    rows = [
        [name, partner, str(n), _percent(changed), f"{100 * gain.mean:+.1f} [{100 * gain.low:+.1f}, {100 * gain.high:+.1f}]"]
        for name, partner, n, changed, gain in found.orders
    ]
    head = ["system", "against", "same passages", "answers changed", "points"]
    return TextTable("The same passages in another order", head, rows, n_words=2) if rows else None


def said(rows: Sequence[tuple[str, Score]]) -> str:
    """Scores in words, for who cannot see the picture."""
    return "; ".join(f"{name} {_score(score)}" for name, score in rows)


def _score(score: Score | None) -> str:
    return _DASH if score is None else f"{100 * score.mean:.1f} [{100 * score.low:.0f}, {100 * score.high:.0f}]"


def _number(value: float | None, digits: int) -> str:
    return _DASH if value is None else f"{value:.{digits}f}"


def _percent(value: float | None) -> str:
    return _DASH if value is None else f"{100 * value:.0f} %"


def size_shares(sizes: Mapping[str, Counter[int]], columns: int = 10) -> tuple[list[str], dict[str, list[float]]]:
    """The distribution of k by system: titles of the columns and one share per column; 0 has a column of its own."""
    largest = max((size for counts in sizes.values() for size in counts), default=0)
    width = max(-(-largest // columns), 1)
    starts = range(1, largest + 1, width)
    titles = ["0", *(str(start) if width == 1 else f"{start}-{start + width - 1}" for start in starts)]
    shares = {}
    for system, counts in sizes.items():
        row = [0] * len(titles)
        for size, count in counts.items():
            row[(size - 1) // width + 1 if size else 0] += count
        shares[system] = [count / max(sum(row), 1) for count in row]
    return titles, shares
