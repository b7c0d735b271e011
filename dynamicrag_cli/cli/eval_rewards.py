"""`drag eval` of files of `drag reward`: what the reward pays for."""

from collections.abc import Sequence
from itertools import islice
from typing import Any

from dynamicrag_cli.adapters.files.jsonl import STREAM, lines
from dynamicrag_cli.cli.console import say, show_table
from dynamicrag_cli.cli.eval_files import Source
from dynamicrag_cli.cli.eval_tables import plain_table
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.inspection import guess_kind
from dynamicrag_cli.core.records import RewardedQuestion
from dynamicrag_cli.stages.reward_report import reward_report

_HEAD = 20


def reward_reports(sources: Sequence[Source]) -> list[dict[str, Any]]:
    """The report of every file.

    Raises:
        UsageError: A file holds no rewarded rollouts, so that gold questions are needed to evaluate it.
    """
    for path in (path for source in sources for path in source.paths):
        if path == STREAM or guess_kind(line for _, line in islice(lines(path), _HEAD)) is not RewardedQuestion:
            raise UsageError(f"{path}: give --gold QUESTIONS; only files of drag reward are evaluated without")
    made = []
    for source in sources:
        records = (record for path in source.paths for record in source.read(path, RewardedQuestion))
        made.append(reward_report(records, source.name) | {"unreadable": source.unreadable})
    return made


def show_rewards(reports: Sequence[dict[str, Any]]) -> None:
    """One table row per file and term; below it what the total goes with."""
    table = plain_table("rollouts", "term", "mean", "sd", "values", "failed")
    for report in reports:
        for term, found in report["terms"].items():
            mean, spread = (_number(found[name]) for name in ("mean", "sd"))
            table.add_row(report["system"], term, mean, spread, str(found["n"]), str(found["failed"]))
    show_table(table)
    for report in reports:
        k, words = report["correlation"]["k"], report["correlation"]["answer_words"]
        say(
            f"{report['system']}: {report['rollouts']} rollouts of {report['questions']} questions; correlation of the total"
            f" with k {_number(k['all'])} (within questions {_number(k['within'])}),"
            f" with the answer's length {_number(words['all'])} (within questions {_number(words['within'])})."
        )
        if apart := report["judge_against_em"]:
            say(
                f"{report['system']}: of {apart['n']} answers the judge alone takes {100 * apart['judge_only']:.0f} % for right,"
                f" EM alone {100 * apart['em_only']:.0f} %."
            )


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"
