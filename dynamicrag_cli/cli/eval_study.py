"""`drag eval --study` for people: its tables and sentences, and what the manifests of the files add to it."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.table import Table

from dynamicrag_cli.adapters.files.jsonl import STREAM
from dynamicrag_cli.adapters.files.manifest import read_manifest
from dynamicrag_cli.cli.console import say, show_table
from dynamicrag_cli.cli.eval_files import Source
from dynamicrag_cli.cli.eval_tables import percent, plain_table, with_interval
from dynamicrag_cli.core.study_results import FAMILIES, sentences


def manifests_of(sources: Sequence[Source]) -> dict[str, dict[str, Any]]:
    """The manifest beside the file of each system, by name; {} where there is none."""
    return {source.name: read_manifest(Path(source.paths[0])) for source in sources if source.paths[0] != STREAM}


def seconds_of(manifests: Mapping[str, dict[str, Any]]) -> dict[str, float]:
    """Seconds per question of every run that was made in one go and asked everything itself.

    One that was resumed knows only its last part, and one that found answers in the cache was quicker than its selector is.
    """
    found = {}
    for name, manifest in manifests.items():
        counts = manifest.get("counts") or {}
        partly = counts.get("resumed") or counts.get("cache_hits")
        if counts.get("in") and not partly and manifest.get("seconds") is not None:
            found[name] = manifest["seconds"] / counts["in"]
    return found


def readers_of(manifests: Mapping[str, dict[str, Any]]) -> dict[str, list[str]]:
    """The systems by the identity of the reader that answered them, as far as manifests tell."""
    found: dict[str, list[str]] = {}
    for name, manifest in manifests.items():
        options = (manifest.get("fingerprint") or {}).get("options") or {}
        if reader := options.get("reader") or options.get("model"):
            found.setdefault(str(reader), []).append(name)
    return found


def show_study(made: dict[str, Any]) -> None:
    """Print the study: systems, how k is spread, orders, and the conclusion last."""
    show_table(_systems(made))
    say("percent, [95 % interval]; * on the Pareto front of answers against passages, + against the reader's prompt tokens.")
    say("Prompt tokens are the reader's; a reranker reads all candidates besides, which calls and seconds show.")
    say("None right: the answer after None was right / no gold passage was among the candidates.")
    if made["left_out"]:
        say(f"{made['left_out']} questions are not in every file or have no gold answer and are left out")
    for groups, title in (("k_by_dataset", "data set"), ("k_by_difficulty", "passages needed")):
        if any(made[groups].values()):
            say("")
            show_table(_spread(made, groups, title))
    if made["difficulty"]:
        say("passages needed: the fewest of the fixed k that answer the question best; never: none of them answers it.")
    if made["order"]:
        say("")
        show_table(_orders(made["order"]))
    say("")
    for line in sentences(made):
        say(line)


def _systems(made: dict[str, Any]) -> Table:
    table = plain_table(
        "system", "kind", "answer", "passages", "prompt tokens", "front", "None", "None right", "malformed", "calls", "s/question"
    )
    for entry in made["systems"]:
        tokens, seconds = entry["reader_tokens"], entry["seconds"]
        front = ("*" if entry["on_front_by_passages"] else "") + ("+" if entry["on_front_by_reader_tokens"] else "")
        right = f"{percent(entry['none_answered'])} / {percent(entry['none_justified'])}" if entry["none_share"] else "-"
        table.add_row(
            entry["system"],
            FAMILIES[entry["family"]],
            with_interval(entry["answer"]),
            f"{entry['passages']['mean']:.2f}",
            "-" if tokens is None else f"{tokens['mean']:.0f}",
            front,
            f"{100 * entry['none_share']:.0f} %",
            right,
            f"{100 * entry['malformed_share']:.0f} %",
            f"{entry['calls']:.1f}",
            "-" if seconds is None else f"{seconds:.2f}",
        )
    oracle = made["oracle_k"]
    if oracle is not None:
        passages = f"{oracle['passages']['mean']:.2f}"
        table.add_row("oracle k", "upper bound", with_interval(oracle["answer"]), passages, *["-"] * 7)
    return table


def _spread(made: dict[str, Any], groups: str, title: str) -> Table:
    """The shares of every number of passages, per system that chooses and group of questions."""
    dynamic = [entry["system"] for entry in made["systems"] if entry["family"] == "dynamic"]
    names = dynamic or [entry["system"] for entry in made["systems"]]
    spread = made[groups]
    numbers = sorted({int(k) for name in names for shares in spread[name].values() for k in shares})
    table = plain_table("passages read, %", title, *map(str, numbers))
    for name in names:
        for group, shares in spread[name].items():
            table.add_row(name, group, *(f"{100 * shares[str(k)]:.0f}" if str(k) in shares else "." for k in numbers))
    return table


def _orders(orders: Sequence[dict[str, Any]]) -> Table:
    table = plain_table("order", "against", "same passages", "answers changed", "points [95 % interval]", "p")
    for found in orders:
        table.add_row(
            found["system"],
            found["compared_with"],
            str(found["questions"]),
            f"{100 * found['changed_share']:.0f} %",
            with_interval(found["difference"], signed=True),
            f"{found['difference']['p_value']:.4f}",
        )
    return table
