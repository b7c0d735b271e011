"""The page of `drag report -o`: its tables, pictures and questions. It imports matplotlib: import it only where it is needed."""

from dataclasses import dataclass, field

from markupsafe import Markup

from dynamicrag_cli.adapters import plots
from dynamicrag_cli.adapters.files.page import render_page
from dynamicrag_cli.adapters.files.runs import RunFolder
from dynamicrag_cli.core.runs import Score, StageFacts, amount, flow
from dynamicrag_cli.core.study_results import StudyResults
from dynamicrag_cli.stages import summary
from dynamicrag_cli.stages.browse import ROLLOUTS, Browser


@dataclass(frozen=True)
class Picture:
    """A plot with its caption and what it shows in words."""

    title: str
    alt: str
    svg: Markup


@dataclass(frozen=True)
class Section:
    """A part of the page; the first of its words is its conclusion."""

    name: str
    title: str
    words: list[str] = field(default_factory=list)
    tables: list[summary.TextTable] = field(default_factory=list)
    pictures: list[Picture] = field(default_factory=list)


def page(run: RunFolder, browser: Browser, title: str, version: str) -> str:
    """The whole page as HTML."""
    document = browser.document()
    sections = [*_study(run.study, browser), _results(run, browser), _training(run.stages, browser), _stages(run.stages)]
    slots = {
        "title": title,
        "version": version,
        "missing": run.missing,
        "sections": [section for section in sections if section.words or section.tables or section.pictures],
        "n_questions": len(document["questions"]),
        "limits": _limits(document["limits"]),
    }
    return render_page(slots, document)


def _picture(title: str, alt: str, svg: str) -> Picture:
    return Picture(title, f"{title}: {alt}", Markup(svg))  # noqa: S704 - matplotlib escapes the texts in it


def _results(run: RunFolder, browser: Browser) -> Section:
    section, systems = Section("results", "Results"), run.systems
    if systems:
        found = (summary.results(systems), summary.metrics(systems), summary.by_dataset(systems))
        section.tables.extend(table for table in found if table)
    families = run.study.families if run.study else {}
    for metric, title in (("headline", "Answer score"), ("selection_f1", "Selection F1 against gold passages")):
        rows: list[tuple[str, Score]] = [(system.name, system.scores[metric]) for system in systems if metric in system.scores]
        if rows:
            section.pictures.append(_picture(title, summary.said(rows), plots.intervals(rows, families)))
    placed = [system for system in systems if "headline" in system.scores and system.passages is not None]
    # A study draws the same with more in it.
    if placed and run.study is None:
        words = "; ".join(f"{system.name} reads {system.passages or 0:.2f}" for system in placed)
        section.pictures.append(_picture("Answer score against passages read", words, plots.accuracy_by_passages(placed)))
    if run.study is None:
        section.pictures.extend(_sizes(browser))
    return section


def _sizes(browser: Browser) -> list[Picture]:
    """How many passages the systems chose; nothing where none chose."""
    if not browser.chosen_sizes:
        return []
    titles, shares = summary.size_shares(browser.chosen_sizes)
    words = "; ".join(
        f"{name}: " + ", ".join(f"{title} in {100 * share:.0f} %" for title, share in zip(titles, row, strict=True) if share)
        for name, row in shares.items()
    )
    return [_picture("How many passages were chosen", words, plots.sizes(titles, shares))]


def _study(study: StudyResults | None, browser: Browser) -> list[Section]:
    """What a study of selectors found, its conclusion first."""
    if study is None:
        return []
    tables = [table for table in (summary.study(study), summary.orders(study)) if table]
    section = Section("study", "Is dynamic k worth it?", study.sentences[::-1], tables)
    placed = "; ".join(f"{one.name} {100 * one.answer.mean:.1f} with {one.passages:.2f}" for one in study.contenders)
    section.pictures.append(_picture("Answer score against passages read", placed, plots.trade(study, "passages")))
    if any(one.tokens is not None for one in study.contenders):
        placed = "; ".join(
            f"{one.name} {100 * one.answer.mean:.1f} with {one.tokens:.0f}" for one in study.contenders if one.tokens is not None
        )
        section.pictures.append(_picture("Answer score against the reader's prompt tokens", placed, plots.trade(study, "tokens")))
    if study.groups:
        titles = [title.replace("\n", ", ") for title in study.groups]
        words = "; ".join(
            f"{name}: " + ", ".join(f"{k:.2f} ({title})" for title, k in zip(titles, row, strict=True) if k is not None)
            for name, row in study.mean_k.items()
        )
        section.pictures.append(_picture("Passages read where more or fewer are needed", words, plots.means(study)))
    section.pictures.extend(_sizes(browser))
    return [section]


def _training(stages: list[StageFacts], browser: Browser) -> Section:
    section = Section("training", "Training")
    for stage in stages:
        if stage.loss:
            words = f"{stage.loss[0][1]:.3f} at the start, {stage.loss[-1][1]:.3f} after {stage.loss[-1][0]:.0f} steps"
            section.pictures.append(_picture(f"Loss of {stage.name}", words, plots.loss(stage.loss)))
        if stage.learning:
            (first, last), title = (stage.learning[0], stage.learning[-1]), f"What {stage.name} learned"
            words = (
                f"utility {first[1]:.2f} with {first[3]:.2f} passages at the start, {last[1]:.2f} with {last[3]:.2f} at the end"
            )
            section.pictures.append(_picture(title, words, plots.learning(stage.learning)))
    if browser.terms:
        words = ", ".join(f"{name} {sum(values) / len(values):.2f} on average" for name, values in browser.terms.items())
        failed = "".join(f"; {name} failed {count} times" for name, count in browser.failed_terms.items())
        title = f"Reward terms of the {ROLLOUTS}" + failed
        section.pictures.append(_picture(title, words, plots.terms(browser.terms)))
    return section


def _stages(stages: list[StageFacts]) -> Section:
    section = Section("stages", "Stages")
    if not stages:
        return section
    section.tables.extend(table for table in (summary.stages(stages), summary.reasons(stages)) if table)
    counted = [stage for stage in stages if stage.n_in is not None]
    if counted:
        words = "; ".join(f"{stage.name} {flow(stage)}" for stage in counted)
        section.pictures.append(_picture("Records per stage", words, plots.funnel(counted)))
    timed = [stage for stage in stages if stage.seconds or stage.memory]
    if timed:
        words = "; ".join(
            f"{stage.name} {amount(stage.seconds or 0)} s" + (f", {amount(stage.memory)} MiB" if stage.memory else "")
            for stage in timed
        )
        section.pictures.append(_picture("Seconds and memory per stage", words, plots.costs(stages)))
    return section


def _limits(limits: dict[str, int | bool | None]) -> list[str]:
    """What was cut to keep the page small, one sentence each."""
    told = []
    if limits["text"] is not None:
        cut = f"cut after {limits['text']} characters" if limits["text"] else "left out"
        told.append(f"To keep this file small, texts of passages are {cut}; drag show prints them whole.")
    if limits["only_chosen"]:
        told.append("Passages that nobody chose are shown without their text.")
    if limits["left_out"]:
        told.append(f"{limits['left_out']} questions are left out.")
    return told
