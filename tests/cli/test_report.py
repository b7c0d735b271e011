"""`drag report`: a run in a page and on a terminal."""

import json
import re
import shutil
import sys
from pathlib import Path

import pytest

from tests.chromium import PROGRAM, Page
from tests.runs import EVIL, manifest, rewarded, write_run
from tests.samples import candidate, prediction, question, write


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def data_of(page: Path) -> dict:
    text = page.read_text(encoding="utf-8")
    return json.loads(text.split('<script type="application/json" id="data">')[1].split("</script>")[0])


def test_the_page_holds_results_stages_and_questions(drag, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = drag("report", folder, "-o", tmp_path / "new/report.html")
    assert (done.code, done.out) == (0, b""), done.err
    assert "missing: index: bm25 is missing (make index)" in done.err
    text = (tmp_path / "new/report.html").read_text(encoding="utf-8")
    assert "50.0 [40, 60]" in text
    assert "the id … was met before" in text
    data = data_of(tmp_path / "new/report.html")
    assert data["systems"] == ["gold", "sft", "rollouts"]
    assert len(data["questions"]) == 9
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["report.html"]


def test_a_page_needs_nothing_from_outside(drag, folder: Path, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    drag("report", folder, "-o", tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"(?:src|href)=[\"'](?!#)|@import|url\((?!#)", text)


@pytest.mark.parametrize("gone", ["report.json", "predictions", "rewarded.jsonl", "sft", "dpo-data", "candidates.jsonl"])
def test_a_stage_that_is_missing_is_told_and_the_rest_is_shown(drag, folder: Path, gone: str) -> None:
    pytest.importorskip("matplotlib")
    path = folder / gone
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    done = drag("report", folder, "-o", folder / "report.html")
    assert (done.code, done.error) == (0, None), done.err
    assert gone.removesuffix(".jsonl") in done.err
    missing = (folder / "report.html").read_text(encoding="utf-8").split("What is missing")[1].split("</section>")[0]
    assert gone in missing
    assert drag("report", folder).code == 0


def test_lines_that_cannot_be_read_are_counted(drag, folder: Path) -> None:
    pytest.importorskip("matplotlib")
    with (folder / "predictions/sft.jsonl").open("a") as file:
        file.write("nonsense\n" + json.dumps(prediction(1)) + "\n")
    done = drag("report", folder, "-o", folder / "report.html")
    assert "missing: sft.jsonl: 2 lines cannot be read (drag validate" in " ".join(done.err.split())


def test_the_terminal_shows_bars_and_the_funnel_on_stderr(drag, folder: Path) -> None:
    done = drag("report", folder)
    assert (done.code, done.out) == (0, b"")
    rows = {line.split()[0]: line for line in reversed(done.err.splitlines()) if "●" in line}
    assert "━●━" in rows["gold"]
    assert rows["gold"].index("●") > rows["sft"].index("●")
    assert "90.0 [80, 100]" in rows["gold"]
    assert re.search(r"sample +█+×+ +10 → 9, 1 rejected", done.err)
    assert re.search(r"train sft +█+ +100\b", done.err)
    assert re.search(r"build-dpo +noted +margin too small +7", done.err)
    assert "passages chosen" in done.err


def test_the_terminal_needs_no_extra_and_the_page_names_it(drag, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for name in ("dynamicrag_cli.adapters.plots", "dynamicrag_cli.cli.pictures"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    monkeypatch.delattr("dynamicrag_cli.cli.pictures", raising=False)
    monkeypatch.delattr("dynamicrag_cli.adapters.plots", raising=False)
    assert drag("report", folder).code == 0
    done = drag("report", folder, "-o", folder / "report.html")
    assert (done.code, "pip install 'dynamicrag-cli[report]'" in done.err) == (3, True)


def test_errors(drag, tmp_path: Path, folder: Path) -> None:
    pytest.importorskip("matplotlib")
    for path, words in ((tmp_path / "nowhere", "no such folder"), (tmp_path, "no run folder")):
        done = drag("report", path)
        assert (done.code, done.error, words in done.err) == (4, None, True)
    done = drag("report", folder, "-o", folder)
    assert (done.code, done.error, "is a folder" in done.err) == (2, None, True)


def evil_run(folder: Path) -> Path:
    """A run in which every text of others is an attack."""
    write_run(folder)
    docs = [{**candidate("Ulm"), "id": EVIL, "title": EVIL, "text": EVIL}]
    record = question(1, id="evil", question=EVIL, answers=[EVIL], docs=docs, gold_passage_ids=[EVIL])
    rollout = {"selection": [EVIL], "status": EVIL, "raw": EVIL, "answer": EVIL, "error": EVIL}
    write(folder / "predictions/sft.jsonl", [{**record, "rollout": rollout, "selector": EVIL}])
    (folder / "predictions/sft.jsonl").rename(folder / "predictions/<img src=x onerror=alert(1)>.jsonl")
    manifest(folder / "predictions/<img src=x onerror=alert(1)>.jsonl", counts={"in": 1, "out": 1}, notes={EVIL: 1})
    rewards = [{"total": 1.0, "terms": {EVIL: 1.0}}]
    write(folder / "rewarded.jsonl", [{**record, "rollouts": [rollout], "rewards": rewards}])
    return folder


def test_texts_of_others_are_no_markup(drag, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    done = drag("report", evil_run(tmp_path / "run"), "-o", tmp_path / "report.html")
    assert (done.code, done.error) == (0, None), done.err
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert (text.count("<script"), text.count("</script"), text.count("<img")) == (2, 2, 0)
    assert [q["q"] for q in data_of(tmp_path / "report.html")["questions"] if q["q"] == EVIL] == [EVIL]


browser = pytest.mark.skipif(PROGRAM is None, reason="no Chromium on this machine (Debian: apt-get install chromium)")


@pytest.fixture
def chromium(tmp_path: Path):
    pytest.importorskip("matplotlib")
    page = Page(tmp_path / "profile")
    yield page
    page.close()


def found(page: Page) -> int:
    return int(page.run("document.querySelectorAll('#list details').length"))


def choose(page: Page, field: str, value: str) -> None:
    page.run(f"{{const f = document.getElementById('{field}'); f.value = {value!r}; f.dispatchEvent(new Event('change'));}}")


@browser
def test_the_views_load_filter_and_search_in_a_browser(drag, folder: Path, tmp_path: Path, chromium: Page) -> None:
    drag("report", folder, "-o", tmp_path / "report.html")
    chromium.open(tmp_path / "report.html")
    assert found(chromium) == 9
    choose(chromium, "system", "sft")
    assert (found(chromium), chromium.run("document.getElementById('found').textContent")) == (9, "9 of 9 questions")
    choose(chromium, "outcome", "malformed")
    assert found(chromium) == 1
    choose(chromium, "outcome", "wrong answer")
    assert "number 2" in chromium.run("document.querySelector('#list summary').textContent")
    choose(chromium, "dataset", "qa")
    assert found(chromium) == 1
    choose(chromium, "system", "gold")
    assert "No question fits" in chromium.run("document.getElementById('found').textContent")
    for field in ("system", "outcome", "dataset"):
        choose(chromium, field, "")
    # By an answer, by a passage that was only offered, and by nothing that there is.
    for words, expected in (("paris", 9), ("mohács has no", 0), ("vukovar lies on", 3), ("  NUMBER 7 ", 1)):
        chromium.run(
            f"{{const f = document.getElementById('search'); f.value = {words!r}; f.dispatchEvent(new Event('input'));}}"
        )
        chromium.until(f"document.querySelectorAll('#list details').length === {expected}")
    # With the keyboard alone.
    chromium.run("document.querySelector('#list summary').focus()")
    chromium.press("Enter", 13)
    chromium.until("document.querySelector('#list details .body') !== null")
    body = chromium.run("document.querySelector('#list .body').textContent")
    assert all(words in body for words in ("Candidates", "lies on the Danube and has a market", "[2] [1] [3]", "rouge", "gold"))
    assert chromium.problems == []
    assert {url.partition(":")[0] for url in chromium.requests} == {"file"}
    assert len(chromium.requests) == 1


@browser
@pytest.mark.parametrize(("width", "dark"), [(360, False), (360, True), (1200, True)])
def test_a_page_fits_a_phone_and_follows_the_colour_scheme(
    drag, folder: Path, tmp_path: Path, chromium: Page, width: int, dark: bool
) -> None:
    drag("report", folder, "-o", tmp_path / "report.html")
    chromium.open(tmp_path / "report.html", width=width, dark=dark)
    chromium.run("document.querySelector('#list summary').click()")
    chromium.until("document.querySelector('#list details .body') !== null")
    assert chromium.run("document.documentElement.scrollWidth <= innerWidth")
    ground = chromium.run("getComputedStyle(document.body).backgroundColor")
    assert (sum(map(int, re.findall(r"\d+", ground))) < 200) == dark
    ink = chromium.run("getComputedStyle(document.querySelector('.plot text')).fill")
    assert (sum(map(int, re.findall(r"\d+", ink))) > 500) == dark


@browser
def test_attacks_are_shown_as_text(drag, tmp_path: Path, chromium: Page) -> None:
    drag("report", evil_run(tmp_path / "run"), "-o", tmp_path / "report.html")
    chromium.open(tmp_path / "report.html")
    chromium.run("document.querySelectorAll('#list summary').forEach((summary) => summary.click())")
    chromium.until("document.querySelectorAll('#list .body').length === document.querySelectorAll('#list details').length")
    assert chromium.run("document.title") == "run: drag report"
    assert chromium.run("document.querySelectorAll('img').length") == 0
    assert "</script><script>" in chromium.run("document.querySelector('#list').textContent")
    assert chromium.problems == []


@browser
def test_ten_thousand_questions_stay_usable(drag, tmp_path: Path, chromium: Page) -> None:
    folder = write_run(tmp_path / "run")
    shared = [rewarded(number)["docs"] for number in range(12)]
    for name in ("gold", "sft"):
        write(
            folder / f"predictions/{name}.jsonl",
            (
                {**prediction(number), "docs": shared[number % 12] + [{"id": f"p{number}", "title": "t", "text": "word " * 200}]}
                for number in range(10_000)
            ),
        )
    assert drag("report", folder, "-o", tmp_path / "report.html").code == 0
    assert (tmp_path / "report.html").stat().st_size < 30e6
    chromium.open(tmp_path / "report.html")
    assert found(chromium) == 20
    assert chromium.run("document.getElementById('page').textContent") == "page 1 of 500"
    chromium.run("document.getElementById('next').click()")
    assert chromium.run("document.getElementById('page').textContent") == "page 2 of 500"
    chromium.run("{const f = document.getElementById('search'); f.value = 'number 9999 '; f.dispatchEvent(new Event('input'));}")
    chromium.until("document.querySelectorAll('#list details').length === 1")
    assert chromium.problems == []
