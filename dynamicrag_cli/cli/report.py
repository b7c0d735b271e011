"""`drag report`."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from dynamicrag_cli import __version__
from dynamicrag_cli.adapters.files.jsonl import Reader
from dynamicrag_cli.adapters.files.runs import RunFolder, read_run
from dynamicrag_cli.cli.bars import show_run
from dynamicrag_cli.cli.console import progress, say
from dynamicrag_cli.cli.outputs import check_output, write_whole
from dynamicrag_cli.core.errors import MissingExtraError
from dynamicrag_cli.core.records import Prediction, Record, Reject, RewardedQuestion

R = TypeVar("R", bound=Record)


def report(
    run_dir: Annotated[Path, typer.Argument(metavar="RUN_DIR", help="Folder of a run, finished or not.", show_default=False)],
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="HTML", help="Write one self-contained page instead of printing."),
    ] = None,
) -> None:
    """Show a run in tables and pictures: results with intervals, what each stage took and gave, and what is missing.

    Without -o on the terminal. With -o as one HTML file that needs nothing else: also loss curves, reward terms, and a
    browser of the questions (candidates, what was chosen and in which order, answers, rewards) with filters and search.

    Example: drag report runs/demo -o report.html
    """
    check_output(output, ())
    run = read_run(run_dir)
    if output is None:
        show_run(run.systems, run.stages, _sizes(run))
    else:
        try:
            from dynamicrag_cli.cli.pictures import page
        except ImportError as error:
            raise MissingExtraError("drag report -o", "report", error) from error
        from dynamicrag_cli.stages.browse import Browser

        browser = Browser()
        _collect(run, browser)
        write_whole(output, page(run, browser, _title(run_dir), __version__))
        say(f"report: {output} ({output.stat().st_size / 1e6:.1f} MB); open it in a browser")
    if run.study and output is None:
        for sentence in run.study.sentences:
            say(sentence)
    for line in run.missing:
        say(f"missing: {line}")


def _title(run_dir: Path) -> str:
    return run_dir.resolve().name or "run"


def _records(run: RunFolder, path: Path, kind: type[R]) -> Iterator[R]:
    """The usable records; lines that are none are counted among what is missing."""
    rejected = 0
    try:
        for item in Reader(str(path), kind):
            if isinstance(item, Reject):
                rejected += 1
            else:
                yield item
    except OSError as error:
        run.missing.append(f"{path.name}: {error.strerror or error}")
    if rejected:
        run.missing.append(f"{path.name}: {rejected} lines cannot be read (drag validate {path})")


def _collect(run: RunFolder, browser: Any) -> None:
    with progress("report", len(run.predictions) + bool(run.rewarded)) as bar:
        for system, path in run.predictions.items():
            for prediction in _records(run, path, Prediction):
                browser.add(prediction, system)
            bar.advance(1)
        if run.rewarded:
            for record in _records(run, run.rewarded, RewardedQuestion):
                browser.add_rewarded(record)
            bar.advance(1)


def _sizes(run: RunFolder) -> dict[str, Counter[int]]:
    """How many passages each system chose."""
    return {
        system: Counter(len(made.rollout.selection) for made in _records(run, path, Prediction))
        for system, path in run.predictions.items()
    }
