"""The pictures of `drag report` for a terminal."""

from collections import Counter
from collections.abc import Mapping, Sequence

from rich.table import Table

from dynamicrag_cli.cli.console import one_line, say, show_table
from dynamicrag_cli.core.runs import Score, StageFacts, SystemResults, amount, flow
from dynamicrag_cli.stages import summary

_WIDTH = 40


def show_run(systems: Sequence[SystemResults], stages: Sequence[StageFacts], sizes: Mapping[str, Counter[int]]) -> None:
    """Print what there is of results, selections and stages."""
    for metric, title in (("headline", "answer score, percent"), ("selection_f1", "selection F1, percent")):
        rows = [(system, system.scores[metric]) for system in systems if metric in system.scores]
        if rows:
            _titled(title, [(system.name, interval_bar(score), _numbers(score)) for system, score in rows])
    if sizes:
        titles, shares = summary.size_shares(sizes)
        table = _table("passages chosen, percent of the selections", *titles)
        for name, row in shares.items():
            table.add_row(one_line(name), *(f"{100 * share:.0f}" if share else "." for share in row))
        _show(table)
    counted = [stage for stage in stages if stage.n_in is not None]
    most = max((max(stage.n_in or 0, sum(stage.out.values()) + stage.rejected) for stage in counted), default=0)
    if counted:
        _titled("records per stage", [(stage.name, flow_bar(stage, most), flow(stage)) for stage in counted])
    timed = [stage for stage in stages if stage.seconds is not None]
    slowest = max((stage.seconds or 0 for stage in timed), default=0)
    if timed:
        _titled("seconds per stage", [(s.name, bar(s.seconds or 0, slowest), amount(s.seconds or 0)) for s in timed])
    why = summary.reasons(stages)
    if why:
        table = _table(why.title.lower(), *why.head[1:])
        for cells in why.rows:
            table.add_row(*map(one_line, cells))
        _show(table)


def interval_bar(score: Score, width: int = _WIDTH) -> str:
    """A score on a line from 0 to 1: a point within its interval."""
    low, mean, high = (round(max(0.0, min(value, 1.0)) * (width - 1)) for value in (score.low, score.mean, score.high))
    return "".join("●" if place == mean else "━" if low <= place <= high else "·" for place in range(width))


def bar(value: float, most: float, width: int = _WIDTH) -> str:
    """A bar as long as the value's share of the most; what is above 0 is seen."""
    return "█" * (max(round(width * value / most), 1) if value > 0 and most > 0 else 0)


def flow_bar(stage: StageFacts, most: int) -> str:
    """What a stage wrote, and behind it what it rejected; of a stage that counts no output, what it took."""
    written = sum(stage.out.values()) if stage.out else stage.n_in or 0
    return bar(written, most) + "×" * len(bar(stage.rejected, most))


def _numbers(score: Score) -> str:
    return f"{100 * score.mean:.1f} [{100 * score.low:.0f}, {100 * score.high:.0f}]"


def _titled(title: str, rows: Sequence[tuple[str, str, str]]) -> None:
    table = _table(title, "", "")
    for name, picture, words in rows:
        table.add_row(one_line(name), picture, words)
    _show(table)


def _table(title: str, *others: str) -> Table:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for heading in (title, *others):
        table.add_column(heading, no_wrap=True)
    return table


def _show(table: Table) -> None:
    show_table(table)
    say("")
