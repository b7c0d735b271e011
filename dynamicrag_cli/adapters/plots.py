"""The pictures of a report as SVG that can stand in a page: text stays text, and colours are the page's own CSS variables."""

import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from dynamicrag_cli.core.runs import Score, StageFacts, SystemResults, amount, flow
from dynamicrag_cli.core.study_results import FAMILIES, StudyResults

# Colours that stand for the page's, and are replaced when the picture is done.
_INK, _MUTED, _GRID, _MAIN, _SECOND, _BAD, _GOOD, _CARD = (f"#01020{number}" for number in range(1, 9))
_VARIABLES = {
    _INK: "ink",
    _MUTED: "muted",
    _GRID: "grid",
    _MAIN: "main",
    _SECOND: "second",
    _BAD: "bad",
    _GOOD: "good",
    _CARD: "card",
}
# The kinds of systems have the same colour in every picture.
_COLOURS = {FAMILIES["fixed"]: _MAIN, FAMILIES["dynamic"]: _SECOND, FAMILIES["ceiling"]: _GOOD, FAMILIES["order"]: _MUTED}
_WIDTH = 5.4
_ROW = 0.3
_LEGEND = 0.25
# Of a label beside a point, in points: the width of a letter, and its height.
_LETTER, _LINE = 4.6, 10
_LABEL = 26
# Any: the names of all settings are a type of their own.
_SETTINGS: Any = {
    "svg.fonttype": "none",
    "svg.hashsalt": "drag",
    # A dollar sign in a name is no mathematics.
    "text.parse_math": False,
    "font.family": "sans-serif",
    "font.size": 9,
    "text.color": _INK,
    "axes.edgecolor": _GRID,
    "axes.labelcolor": _MUTED,
    "axes.titlesize": 9,
    "axes.titlecolor": _INK,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.spines.left": False,
    "grid.color": _GRID,
    "grid.linewidth": 0.6,
    "xtick.color": _MUTED,
    "ytick.color": _INK,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
    "legend.frameon": False,
}


def intervals(rows: Sequence[tuple[str, Score]], families: Mapping[str, str]) -> str:
    """A point with its interval per row, in percent; coloured by kind of system where `families` tells it."""

    def paint(figure: Figure) -> None:
        axes = _rows(figure.subplots(), [name for name, _ in rows])
        for place, (name, score) in enumerate(rows):
            low, mean, high = (100 * value for value in (score.low, score.mean, score.high))
            colour = _COLOURS.get(families.get(name, ""), _MAIN)
            axes.plot([low, high], [place, place], color=colour, linewidth=2.5, alpha=0.45, solid_capstyle="round")
            axes.plot(mean, place, "o", color=colour, markersize=6)
        _legend(figure, [families[name] for name, _ in rows if name in families])
        axes.set_xlim(-2, 102)
        axes.set_xlabel("percent, with 95 % interval")

    return _drawn(_ROW * len(rows) + 0.6 + _LEGEND * bool(families), paint)


def accuracy_by_passages(systems: Sequence[SystemResults]) -> str:
    """The headline score against the mean number of passages read, a point with its interval per system."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        for system in systems:
            score, passages = system.scores["headline"], system.passages or 0.0
            axes.plot([passages] * 2, [100 * score.low, 100 * score.high], color=_MAIN, linewidth=2, alpha=0.3)
            axes.plot(passages, 100 * score.mean, "o", color=_MAIN, markersize=6)
        axes.margins(x=0.12)
        # Round the scores there are, but never so close that nothing looks like a difference.
        low, high = min(system.scores["headline"].low for system in systems), max(s.scores["headline"].high for s in systems)
        axes.set_ylim(max(100 * low - 5, -3), min(max(100 * high, 100 * low + 10) + 5, 103))
        axes.set_xlabel("passages read per question")
        axes.set_ylabel("answer, percent")
        _label_points(
            figure, axes, [(system.passages or 0.0, 100 * system.scores["headline"].mean, system.name) for system in systems]
        )

    return _drawn(3.2, paint)


def trade(study: StudyResults, cost: str) -> str:
    """The headline score against a mean cost per question (`passages` or `tokens`): systems, the Pareto front and the oracle."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        shown = [(one, float(getattr(one, cost))) for one in study.contenders if getattr(one, cost) is not None]
        for one, place in shown:
            colour = _COLOURS[one.family]
            axes.plot([place] * 2, [100 * one.answer.low, 100 * one.answer.high], color=colour, linewidth=2, alpha=0.3)
            axes.plot(place, 100 * one.answer.mean, "o", color=colour, markersize=6)
        points = [(place, 100 * one.answer.mean, one.name) for one, place in shown]
        front = sorted((place, 100 * one.answer.mean) for one, place in shown if cost in one.leads)
        axes.step([x for x, _ in front], [y for _, y in front], where="post", color=_MUTED, linewidth=1, linestyle=":")
        if cost == "passages" and study.oracle:
            answer, place = study.oracle
            axes.plot(place, 100 * answer.mean, "D", color=_MUTED, markersize=6, fillstyle="none")
            points.append((place, 100 * answer.mean, "oracle k"))
        axes.margins(x=0.12)
        axes.set_ylim(bottom=min(-3, *(100 * one.answer.low for one, _ in shown)))
        axes.set_xlabel("passages read per question" if cost == "passages" else "prompt tokens of the reader per question")
        axes.set_ylabel("answer, percent, with 95 % interval")
        _legend(figure, [one.family for one, _ in shown], Line2D([], [], color=_MUTED, linestyle=":", label="Pareto front"))
        _label_points(figure, axes, points)

    return _drawn(3.6, paint)


def _legend(figure: Figure, families: Sequence[str], *more: Line2D) -> None:
    """What the colours mean, above the picture; nothing where systems have no kind."""
    dots = [Line2D([], [], color=c, marker="o", linestyle="", label=name) for name, c in _COLOURS.items() if name in families]
    if dots:
        handles = [*dots, *more]
        figure.legend(
            handles=handles, loc="outside upper left", ncols=len(handles), fontsize=8, handletextpad=0.3, columnspacing=1.2
        )


def _label_points(figure: Figure, axes: Axes, points: list[tuple[float, float, str]]) -> None:
    """Names beside points, right or left of them, higher or lower where that is taken; points at one place share a label."""
    merged: dict[tuple[float, float], list[str]] = {}
    for x, y, name in points:
        merged.setdefault((x, y), []).append(name)
    figure.draw_without_rendering()
    scale = 72 / figure.dpi
    centres = {point: tuple(scale * axes.transData.transform(point)) for point in merged}
    inside = [scale * edge for edge in (axes.get_window_extent().x0, axes.get_window_extent().x1)]
    # Left, low, right, high in points; the markers stand already.
    taken = [(x - 4, y - 4, x + 4, y + 4) for x, y in centres.values()]
    for point in sorted(merged, reverse=True):
        text, (x, y) = _short(", ".join(merged[point])), centres[point]
        width = _LETTER * len(text)
        sides = [side for side in (6, -6 - width) if inside[0] < x + side and x + side + width < inside[1] + 8] or [6]
        tries = [(side, step * sign) for step in range(0, 120, 2) for side in sides for sign in (1, -1)]
        boxes = {(side, up): (x + side, y + up - 4, x + side + width, y + up + _LINE - 4) for side, up in tries}
        side, up = next((place for place, box in boxes.items() if not _meets(box, taken)), tries[0])
        taken.append(boxes[side, up])
        line = {"arrowstyle": "-", "color": _MUTED, "linewidth": 0.5, "shrinkA": 0, "shrinkB": 3} if abs(up) > _LINE else None
        ground = {"facecolor": _CARD, "edgecolor": "none", "alpha": 0.75, "pad": 0.5}
        axes.annotate(text, point, xytext=(side, up - 3), textcoords="offset points", fontsize=8, arrowprops=line, bbox=ground)


def _meets(box: tuple[float, float, float, float], others: Sequence[tuple[float, float, float, float]]) -> bool:
    """Whether the box (left, low, right, high) lies over one of the others."""
    return any(box[0] < right and left < box[2] and box[1] < high and low < box[3] for left, low, right, high in others)


def sizes(titles: Sequence[str], shares: Mapping[str, Sequence[float]]) -> str:
    """One row per system, one cell per number of chosen passages; the darker, the more selections."""
    rows = {name: [(share, f"{100 * share:.0f}" if share >= 0.005 else "") for share in row] for name, row in shares.items()}
    return _cells(titles, rows, "passages chosen; percent of the system's selections")


def means(study: StudyResults) -> str:
    """One row per system that chooses, one cell per group of questions; the darker, the more passages are read."""
    chosen = [one.name for one in study.contenders if one.family == FAMILIES["dynamic"]] or list(study.mean_k)
    most = max((k for name in chosen for k in study.mean_k[name] if k), default=1.0)
    rows = {name: [(0.0, "") if k is None else (k / most, f"{k:.1f}") for k in study.mean_k[name]] for name in chosen}
    return _cells(
        [_short(title) for title in study.groups], rows, "questions by passages needed and data set; mean passages read"
    )


def _cells(titles: Sequence[str], rows: Mapping[str, Sequence[tuple[float, str]]], xlabel: str) -> str:
    """A table in shades: a share of the darkest and a text per cell."""

    def paint(figure: Figure) -> None:
        axes = _rows(figure.subplots(), list(rows))
        axes.grid(visible=False)
        for row, values in enumerate(rows.values()):
            for column, (share, text) in enumerate(values):
                alpha = 0.06 + 0.6 * share
                axes.add_patch(Rectangle((column - 0.47, row - 0.44), 0.94, 0.88, color=_MAIN, alpha=alpha, linewidth=0))
                axes.text(column, row, text, ha="center", va="center", fontsize=8)
        axes.set_xlim(-0.6, len(titles) - 0.4)
        axes.set_xticks(range(len(titles)), titles)
        axes.set_xlabel(xlabel)

    return _drawn(_ROW * len(rows) + 0.7, paint)


def loss(points: Sequence[tuple[float, float]]) -> str:
    """A training's loss by step, and its mean over the last tenth of the steps."""

    def paint(figure: Figure) -> None:
        axes: Axes = figure.subplots()
        steps, values = [step for step, _ in points], [value for _, value in points]
        axes.plot(steps, values, color=_MAIN, linewidth=0.8, alpha=0.4, marker="o" if len(points) == 1 else None)
        width = max(len(values) // 10, 1)
        axes.plot(steps, _means(values, width), color=_MAIN, linewidth=1.8)
        axes.set_ylim(bottom=min(0, *values))
        axes.set_xlabel(f"step; the thick line is the mean of the last {width}" if width > 1 else "step")
        axes.set_ylabel("loss")

    return _drawn(2.4, paint)


def learning(points: Sequence[Sequence[float]]) -> str:
    """RRPO by step, from (step, utility, the reference's utility, passages): means of the last fifth of the steps so far."""

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        steps, *columns = ([*column] for column in zip(*points, strict=True))
        width = max(len(steps) // 5, 1)
        utility, reference, passages = (_means(column, width) for column in columns)
        left.plot(steps, utility, color=_MAIN, linewidth=1.8, label="policy")
        left.plot(steps, reference, color=_MUTED, linewidth=1.2, linestyle=":", label="reference")
        left.legend(fontsize=8)
        right.plot(steps, passages, color=_MAIN, linewidth=1.8)
        right.set_ylim(bottom=0)
        for axes, title in ((left, "reward less cost of passages"), (right, "passages read")):
            axes.set_title(title, loc="left")
            axes.set_xlabel(f"step; means of {width}" if width > 1 else "step")

    return _drawn(2.4, paint)


def _means(values: Sequence[float], width: int) -> list[float]:
    """The mean of the last `width` values at each place, of fewer at the start."""
    return [sum(values[max(end - width, 0) : end]) / min(width, end) for end in range(1, len(values) + 1)]


def terms(values: Mapping[str, Sequence[float]]) -> str:
    """A histogram per reward term."""
    columns = 2
    rows = -(-len(values) // columns)

    def paint(figure: Figure) -> None:
        grid = figure.subplots(rows, columns, squeeze=False)
        for axes in grid.flat[len(values) :]:
            axes.set_visible(False)
        for axes, (name, column) in zip(grid.flat, values.items(), strict=False):
            # A total is above 1 where the weights add up to more.
            axes.hist(column, bins=20, range=(0, max(1.0, *column)), color=_MAIN, alpha=0.8, rwidth=0.9)
            axes.set_title(f"{_short(name)}, mean {sum(column) / len(column):.2f}", loc="left")
            axes.locator_params(axis="both", nbins=4)
            axes.grid(visible=False, axis="x")
            axes.tick_params(labelcolor=_MUTED)
        figure.supxlabel("value; height: number of rollouts", fontsize=9, color=_MUTED)

    return _drawn(1.5 * rows + 0.2, paint)


def funnel(stages: Sequence[StageFacts]) -> str:
    """Records that each stage took, wrote (all its files together) and rejected."""

    def paint(figure: Figure) -> None:
        axes = _rows(figure.subplots(), [stage.name for stage in stages])
        for row, stage in enumerate(stages):
            written = sum(stage.out.values())
            axes.barh(row - 0.17, stage.n_in or 0, height=0.3, color=_MAIN, alpha=0.35)
            axes.barh(row + 0.17, written, height=0.3, color=_MAIN)
            axes.barh(row + 0.17, stage.rejected, left=written, height=0.3, color=_BAD)
            end = max(stage.n_in or 0, written + stage.rejected)
            axes.annotate(flow(stage), (end, row), xytext=(4, 0), textcoords="offset points", va="center", fontsize=8)
        axes.margins(x=0.28)
        axes.set_xlim(left=0)
        axes.set_xlabel("records: in (pale), out, rejected (red)")

    return _drawn(_ROW * len(stages) + 0.6, paint)


def costs(stages: Sequence[StageFacts]) -> str:
    """Seconds and peak memory per stage, side by side; both are on logarithmic axes, since trainings dwarf the rest."""

    def paint(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, sharey=True)
        _rows(left, [stage.name for stage in stages])
        for axes, title, values in (
            (left, "seconds", [stage.seconds for stage in stages]),
            (right, "peak memory, MiB", [stage.memory for stage in stages]),
        ):
            for row, value in enumerate(values):
                if not value:
                    axes.annotate("–", (0, row), xycoords=("axes fraction", "data"), va="center", fontsize=8)
                else:
                    axes.barh(row, value, height=0.55, color=_MAIN)
                    axes.annotate(amount(value), (value, row), xytext=(3, 0), textcoords="offset points", va="center", fontsize=8)
            # From below the smallest value to well above the largest, for its label.
            known = [value for value in values if value] or [1.0]
            axes.set_xscale("log")
            axes.set_xlim(min(known) / 2, max(known) * (max(known) / min(known)) ** 0.5 * 2)
            axes.set_title(title, loc="left")
            axes.tick_params(axis="x", which="both", length=0, labelbottom=False)
            axes.set_xlabel("logarithmic")
            axes.grid(visible=False)

    return _drawn(_ROW * len(stages) + 0.6, paint)


def _rows(axes: Axes, names: Sequence[str]) -> Axes:
    """Axes with one named row per entry, the first on top."""
    axes.set_yticks(range(len(names)), [_short(name) for name in names])
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.grid(visible=False, axis="y")
    return axes


def _short(name: str) -> str:
    # What no font and no XML has: control characters.
    name = re.sub(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", " ", name)
    return name if len(name) <= _LABEL else f"{name[: _LABEL - 1]}…"


def _drawn(height: float, paint: Callable[[Figure], None]) -> str:
    file = io.StringIO()
    with mpl.rc_context(_SETTINGS), warnings.catch_warnings():
        # Letters that matplotlib's font lacks are drawn by the browser's.
        warnings.filterwarnings("ignore", message="Glyph")
        figure = Figure(figsize=(_WIDTH, height), layout="constrained")
        paint(figure)
        nothing = dict.fromkeys(("Date", "Creator", "Format", "Type"))
        figure.savefig(file, format="svg", transparent=True, metadata=nothing)
    svg = file.getvalue()
    svg = re.sub(r'(<svg [^>]*?) width="[^"]*"', r"\1", svg[svg.index("<svg") :], count=1)
    svg = re.sub(r'(<svg [^>]*?) height="[^"]*"', r"\1", svg, count=1)
    svg = re.sub(r'<g id="[^"]*"', "<g", svg)
    for colour, name in _VARIABLES.items():
        svg = svg.replace(colour, f"var(--{name})")
    return svg
