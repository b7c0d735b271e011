"""The page: which tables and pictures it has, with words for who cannot see them."""

import itertools
import re
from collections.abc import Callable
from html import unescape
from pathlib import Path

import msgspec
import pytest

from dynamicrag_cli.adapters.files.runs import read_run
from dynamicrag_cli.core.records import RewardedQuestion
from dynamicrag_cli.stages.browse import Browser
from tests.runs import contender, rewarded, study, system, write_report, write_run, write_small_run

pytest.importorskip("matplotlib")


@pytest.fixture
def made(tmp_path: Path) -> Callable[[], str]:
    from dynamicrag_cli.cli.pictures import page

    run = read_run(write_run(tmp_path / "run"))
    browser = Browser()
    browser.add_rewarded(msgspec.convert(rewarded(1), RewardedQuestion))
    return lambda: page(run, browser, "run", "0")


def test_every_picture_has_a_caption_and_says_what_it_shows(made: Callable[[], str]) -> None:
    text = made()
    captions = re.findall(r"<figcaption>(.*?)</figcaption>", text)
    assert captions == [
        "Answer score", "Selection F1 against gold passages", "Answer score against passages read", "How many passages were chosen",
        "Loss of train sft", "Loss of train dpo", "Reward terms of the rollouts; rouge failed 1 times; total failed 1 times",
        "Records per stage", "Seconds and memory per stage",
    ]  # fmt: skip
    alts = [unescape(alt) for alt in re.findall(r'role="img" aria-label="(.*?)"', text)]
    assert [alt.partition(": ")[0] for alt in alts] == captions
    assert alts[0] == "Answer score: gold 90.0 [80, 100]; sft 50.0 [40, 60]"
    assert "2.000 at the start, 1.000 after 3 steps" in alts[4]
    assert "sample 10 → 9, 1 rejected" in alts[7]
    assert len(re.findall("<svg ", text)) == len(captions)


def test_a_study_brings_its_conclusion_a_table_and_the_costs(tmp_path: Path) -> None:
    from dynamicrag_cli.cli.pictures import page

    folder = write_run(tmp_path / "run")
    rows = [contender("top-1"), contender("sft", "dynamic", 0.625, 2.0), contender("none", passages=0.0, reader_tokens=None)]
    write_report(folder, system("sft"), study=study(*rows))
    text = page(read_run(folder), Browser(), "run", "0")
    assert '<h2 id="study">Is dynamic k worth it?</h2>\n<p class="conclusion">Nothing can be concluded.</p>' in text
    alts = [unescape(alt) for alt in re.findall(r'role="img" aria-label="(.*?)"', text)]
    assert alts[:2] == [
        "Answer score against passages read: top-1 50.0 with 1.00; sft 62.5 with 2.00; none 50.0 with 0.00",
        "Answer score against the reader's prompt tokens: top-1 50.0 with 60; sft 62.5 with 120",
    ]
    assert text.count("Answer score against passages read</figcaption>") == 1
    assert "oracle k" in text


def test_small_rerankers_show_what_they_learned(tmp_path: Path) -> None:
    from dynamicrag_cli.cli.pictures import page

    text = page(read_run(write_small_run(tmp_path / "run")), Browser(), "run", "0")
    alts = [unescape(alt) for alt in re.findall(r'role="img" aria-label="(.*?)"', text)]
    assert alts[:2] == [
        "Loss of train reranker: 2.000 at the start, 2.000 after 1 steps",
        "What train rrpo-stop learned: utility 0.25 with 1.50 passages at the start, 0.50 with 1.00 at the end",
    ]


def test_headings_come_in_order(made: Callable[[], str]) -> None:
    levels = [int(level) for level in re.findall(r"<h(\d)", made())]
    assert levels.count(1) == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
