"""`report`: the tables of a run as texts, the same for the page and the terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.runs import SHARES, TITLES, Score, StageFacts, SystemResults, amount, metric_order
from dynamicrag_cli.core.study_results import StudyResults

_WITH_INTERVAL = ("headline", "selection_f1")
_DASH = "–"


@dataclass(frozen=True)
class TextTable:
    """A table for people; the first cell of a row names it, and the first `n_words` columns hold words, not numbers."""

    title: str
    head: list[str]
    rows: list[list[str]]
    note: str = ""
    n_words: int = 1


def results(systems: Sequence[SystemResults]) -> TextTable:
    """One row per system: every metric, passages and tokens read, and the shares of what went wrong."""
    metrics = metric_order(systems)
    rows = [
        [
            system.name,
            *(_score(system.scores.get(name), interval=name in _WITH_INTERVAL) for name in metrics),
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


def by_dataset(systems: Sequence[SystemResults]) -> TextTable | None:
    """The headline score per system and data set; None where there is one data set."""
    names = sorted({name for system in systems for name in system.by_dataset})
    if len(names) < 2:
        return None
    rows = [
        [system.name, *(_score(system.by_dataset.get(name, {}).get("headline"), interval=True) for name in names)]
        for system in systems
    ]
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
    return TextTable("Rejects and notes", ["stage", "", "reason", "records"], rows, n_words=3) if rows else None


def study(found: StudyResults) -> TextTable:
    """One row per system of a study, and the oracle: what it reads, what that brings and costs."""
    rows = [
        [
            one.name,
            one.family,
            _score(one.answer, interval=True) + (" *" if one.leads else ""),
            _number(one.passages, 2),
            _number(one.tokens, 0),
            _percent(one.none_share),
            _number(one.calls, 1),
            _number(one.seconds, 2),
        ]
        for one in found.contenders
    ]
    if found.oracle:
        answer, passages = found.oracle
        rows.append(["oracle k", "upper bound", _score(answer, interval=True), _number(passages, 2), *[_DASH] * 4])
    head = ["system", "kind", "answer", "passages", "reader tokens", "None", "calls", "s/question"]
    note = "* on the Pareto front: no other system answers as well with fewer passages. The oracle looks at the answers."
    return TextTable("Selectors", head, rows, note, n_words=2)


def said(rows: Sequence[tuple[str, Score]]) -> str:
    """Scores in words, for who cannot see the picture."""
    return "; ".join(f"{name} {_score(score, interval=True)}" for name, score in rows)


def _score(score: Score | None, *, interval: bool) -> str:
    if score is None:
        return _DASH
    mean = f"{100 * score.mean:.1f}"
    return f"{mean} [{100 * score.low:.0f}, {100 * score.high:.0f}]" if interval else mean


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
