"""The tables of `drag eval`, and the lines under them. Values are percentages unless a column says otherwise."""

from collections.abc import Sequence
from typing import Any

from rich.table import Table

COLUMNS = {
    "selection_f1": "sel. F1",
    "selection_precision": "sel. P",
    "selection_recall": "sel. R",
    "headline": "answer",
    "em": "EM",
    "f1": "F1",
    "contains": "contains",
    "accuracy": "label acc.",
    "str_em": "str-EM",
    "rouge_l": "ROUGE-L",
    "claim_recall": "claim rec.",
}
_WITH_INTERVAL = ("selection_f1", "headline", "mrr")
# Columns that are shown only where they say something.
_COUNTS = {
    "not_in_gold": "not in gold",
    "other_dataset": "other set",
    "no_gold_answer": "no gold",
    "not_judged": "not judged",
    "unreadable": "unreadable",
}


def plain_table(*titles: str) -> Table:
    """A table without lines; the first column is text, the others are numbers."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    for place, title in enumerate(titles):
        table.add_column(title, justify="right" if place else "left", no_wrap=True)
    return table


def percent(share: float | None) -> str:
    """A share as a percentage with one decimal, or `-`."""
    return "-" if share is None else f"{100 * share:.1f}"


def with_interval(score: dict[str, Any] | None, *, signed: bool = False) -> str:
    """A mean with its 95 % interval in percent, or `-`."""
    if score is None:
        return "-"
    form = "+.1f" if signed else ".1f"
    ends = ", ".join(format(100 * score[end], form) for end in ("low", "high"))
    return f"{100 * score['mean']:{form}} [{ends}]"


def score_table(systems: Sequence[dict[str, Any]]) -> Table:
    """One row per system: its scores, what it read, and everything that went wrong with it."""
    names = list(dict.fromkeys(name for system in systems for name in system["scores"]))
    used = [*(name for name in COLUMNS if name in names), *(name for name in names if name not in COLUMNS)]
    counts = {key: title for key, title in _COUNTS.items() if any(system.get(key) for system in systems)}
    answers = "none_share" in systems[0]
    failures = ("None", "malformed", "no answer") if answers else ()
    read = "passages" if answers else "candidates"
    table = plain_table("system", *(COLUMNS.get(name, name) for name in used), read, *failures, "missing", *counts.values())
    for system in systems:
        scores = system["scores"]
        cells = [with_interval(scores.get(n)) if n in _WITH_INTERVAL else percent(scores.get(n, {}).get("mean")) for n in used]
        shares = (
            [f"{100 * system[name]:.0f} %" for name in ("none_share", "malformed_share", "no_answer_share")] if answers else []
        )
        passages = system["mean_passages"] if answers else system["mean_candidates"]
        name = f"{system['system']} (mean of {system['repeats']})" if system.get("repeats") else system["system"]
        table.add_row(
            name, *cells, f"{passages:.2f}", *shares, str(system["missing"]), *(str(system.get(key, 0)) for key in counts)
        )
    return table


def caption(systems: Sequence[dict[str, Any]], n_questions: int) -> list[str]:
    """How to read the table."""
    told = [f"{n_questions} questions; percent, [95 % interval]; 'answer' is the headline metric of each question's task."]
    if "none_share" not in systems[0]:
        meanings = {"id": "by gold id", "title": "by gold title", "answer": "a passage that holds an answer"}
        match = ", or ".join(dict.fromkeys(meanings[system["match"]] for system in systems))
        told = [f"{n_questions} questions; percent, [95 % interval]; found means: {match}."]
    headline = "headline" if "none_share" in systems[0] else "mrr"
    widths = [s["scores"][headline]["high"] - s["scores"][headline]["low"] for s in systems if headline in s["scores"]]
    if widths:
        hint = "; compare systems with --baseline" if "none_share" in systems[0] else ""
        told.append(f"The means are uncertain by up to {50 * max(widths):.0f} points{hint}.")
    for key, words in (
        ("missing", "gold questions have no prediction and count as failures"),
        ("not_in_gold", "predictions belong to no gold question and are left out"),
        ("other_dataset", "predictions name another data set than their gold question: are the ids of one data set?"),
        ("no_gold_answer", "questions have no gold answer that could be met and are in no answer score"),
        ("not_judged", "questions say nothing about what should be found and are in no mean"),
    ):
        told += [f"{system['system']}: {system[key]} {words}" for system in systems if system.get(key)]
    for system in systems:
        if system.get("repeats"):
            spread = 100 * system["repeat_sd"].get("headline", float("nan"))
            told.append(
                f"{system['system']}: over its {system['repeats']} repeats"
                f" the mean answer has a standard deviation of {spread:.1f}"
            )
    return told


def comparison_table(comparisons: Sequence[dict[str, Any]]) -> Table:
    """One row per system and score: the difference to the baseline and what it is worth."""
    table = plain_table("difference", "score", "points [95 % interval]", "better / worse", "p", "detectable", "questions")
    for made in comparisons:
        for name, found in made["scores"].items():
            table.add_row(
                f"{made['system']} - {made['baseline']}",
                COLUMNS.get(name, name),
                with_interval(found, signed=True),
                f"{found['better']} / {found['worse']}",
                "<0.0001" if found["p_value"] < 0.0001 else f"{found['p_value']:.4f}",
                f"{100 * found['detectable']:.1f}",
                str(found["n"]),
            )
    return table


def comparison_caption(comparisons: Sequence[dict[str, Any]]) -> list[str]:
    """One sentence per comparison, and how to read the columns."""
    told = []
    for made in comparisons:
        names = f"{made['system']} and {made['baseline']}"
        found = made["scores"].get("headline")
        if made["left_out"]:
            told.append(f"{names}: {made['left_out']} questions are not in every file and are left out")
        if found is not None:
            told.append(_sentence(made["system"], made["baseline"], found))
    told.append(
        "p: paired randomisation test, for one comparison; of twenty that you look at, one is below 0.05 by chance. detectable:"
        " the smallest true difference in points that this sample finds four times out of five."
    )
    return told


def _sentence(system: str, baseline: str, found: dict[str, Any]) -> str:
    ends = f"{with_interval(found, signed=True)} points"
    unseen = f"true differences below about {100 * found['detectable']:.1f} points could go unseen in {found['n']} questions"
    if not found["better"] + found["worse"]:
        return f"{system} and {baseline} have equal answer scores on every question; {unseen}."
    if found["p_value"] < 0.05 and (found["low"] > 0 or found["high"] < 0):
        word = "better" if found["low"] > 0 else "worse"
        return f"{system} answers {word} than {baseline}: {ends}, p {found['p_value']:.2g}."
    return f"No difference between the answers of {system} and {baseline} is shown: {ends}, p {found['p_value']:.2g}; {unseen}."
