"""Pictures: whole SVG with the page's colours, for odd names and few values too."""

import re
import xml.etree.ElementTree as ET
from collections.abc import Callable

import pytest

from dynamicrag_cli.core.runs import Score, StageFacts, SystemResults
from dynamicrag_cli.core.study_results import Contender, StudyResults
from tests.runs import EVIL

plots = pytest.importorskip("dynamicrag_cli.adapters.plots")

FRONT = frozenset({"passages", "tokens"})
LONG = "a very long name of a system that goes on and on"


def results(name: str, passages: float = 1.0) -> SystemResults:
    return SystemResults(name, {"headline": Score(0.5, 0.4, 0.6)}, {}, 9, 0, passages, None, {})


def traded(name: str, *, oracle: bool = True) -> StudyResults:
    rows = [
        Contender(name, "dynamic k", Score(0.5, 0.4, 0.6), 1.5, 90.0, FRONT, 0.0, (None, None), 2.0, None),
        Contender("none", "fixed k", Score(0.1, 0.0, 0.2), 0.0, 40.0, FRONT, 1.0, (0.5, None), 1.0, 0.5),
        Contender("all", "fixed k", Score(0.2, 0.1, 0.3), 4.0, None, frozenset(), 0.0, (None, None), 1.0, 0.5),
    ]
    spread: dict[str, list[float | None]] = {name: [1.25, None], "none": [0.0, 0.0], "all": [4.0, 4.0]}
    return StudyResults(rows, (Score(0.7, 0.6, 0.8), 1.0) if oracle else None, [], ["needs 1\n3 q.", "qa"], spread, [])


PICTURES: dict[str, Callable[[str], str]] = {
    "intervals": lambda name: plots.intervals([(name, Score(0.5, 0.4, 0.6)), ("b", Score(0.0, 0.0, 0.0))], {"b": "fixed k"}),
    "accuracy": lambda name: plots.accuracy_by_passages([results(name), results("none", 0.0)]),
    "passages of a study": lambda name: plots.trade(traded(name), "passages"),
    "tokens of a study": lambda name: plots.trade(traded(name, oracle=False), "tokens"),
    "spread of a study": lambda name: plots.means(traded(name)),
    "sizes": lambda name: plots.sizes(["0", "1"], {name: [0.25, 0.75], "b": [1.0, 0.0]}),
    "terms": lambda name: plots.terms({name: [0.0, 1.0, 1.0], "b": [2.0], "c": [0.1]}),
    "funnel": lambda name: plots.funnel([StageFacts(name, 9, {"": 8}, 1), StageFacts("train", 9)]),
    "costs": lambda name: plots.costs([StageFacts(name, 9, seconds=2.0, memory=80.0), StageFacts("b", 1, seconds=0.0)]),
}


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("picture", PICTURES)
@pytest.mark.parametrize(
    "name", ["plain", EVIL, "$\\frac$", "题目 \x00\ud800", LONG], ids=["plain", "evil", "maths", "odd", "long"]
)
def test_a_picture_is_whole_and_its_names_are_text(picture: str, name: str) -> None:
    svg = PICTURES[picture](name)
    assert svg.startswith("<svg ")
    assert "<script" not in svg
    assert "<img" not in svg
    head = name[:5].replace("\x00", " ").replace("\ud800", " ")
    assert any(head in text for text in texts(svg))


@pytest.mark.parametrize("picture", PICTURES)
def test_colours_are_the_pages_and_the_size_is_free(picture: str) -> None:
    svg = PICTURES[picture]("a")
    assert "var(--main)" in svg
    assert "#0102" not in svg
    assert "viewBox" in svg
    assert " width=" not in svg[: svg.index(">")]
    assert '<g id="' not in svg


def test_a_picture_is_the_same_each_time() -> None:
    assert PICTURES["funnel"]("a") == PICTURES["funnel"]("a")


@pytest.mark.parametrize("points", [[(1.0, 2.0)], [(1.0, 2.0), (2.0, 1.0)], [(float(step), -1.0) for step in range(50)]])
def test_a_loss_of_any_length(points: list[tuple[float, float]]) -> None:
    assert "loss" in texts(plots.loss(points))


def test_what_was_learned_of_any_length() -> None:
    for n in (1, 2, 50):
        points = [(step, 0.1 * step, 0.2, 2.0) for step in range(n)]
        assert {"policy", "reference", "passages read"} <= {*texts(plots.learning(points))}


def test_points_at_one_place_share_a_label() -> None:
    found = texts(plots.accuracy_by_passages([results("a"), results("b"), results("far", 4.0)]))
    assert "a, b" in found
    assert "far" in found


def test_a_kind_of_system_has_one_colour_in_every_picture() -> None:
    rows = [("a", Score(0.5, 0.4, 0.6)), ("b", Score(0.5, 0.4, 0.6))]
    drawn = plots.intervals(rows, {"a": "dynamic k", "b": "knows gold"})
    assert {"dynamic k", "knows gold"} <= {*texts(drawn)}
    assert ("var(--second)" in drawn, "var(--good)" in drawn) == (True, True)
    assert {"dynamic k", "fixed k", "Pareto front"} <= {*texts(plots.trade(traded("a"), "tokens"))}


def test_labels_do_not_lie_over_each_other() -> None:
    close = [
        SystemResults(f"system {n}", {"headline": Score(0.5 + n / 200, 0, 1)}, {}, 9, 0, 1 + n / 500, None, {}) for n in range(8)
    ]
    svg = plots.accuracy_by_passages([*close, results("far", 10.0)])
    places = [
        float(re.search(r"[\d.]+ ([\d.]+)\)", node.get("transform", "") + ")").group(1))  # type: ignore[union-attr]
        for node in ET.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")
        if "system" in "".join(node.itertext())
    ]
    assert len(places) == 8
    assert min(abs(one - two) for i, one in enumerate(places) for two in places[:i]) > 7


def test_mean_k_is_written_into_its_cells() -> None:
    found = texts(plots.means(traded("a")))
    assert ("1.2" in found, "4.0" in found) == (True, False)


def test_shares_are_written_into_their_cells() -> None:
    assert {"25", "75", "100"} <= {*texts(PICTURES["sizes"]("a"))}
