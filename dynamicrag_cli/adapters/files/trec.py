"""TREC files, whole: the lines of a question may stand anywhere in them."""

from collections.abc import Callable

from dynamicrag_cli.adapters.files.jsonl import Reader, lines
from dynamicrag_cli.core.records import Passage, Reject


def grouped(path: str, parse: Callable[[str], tuple[str, str, float]]) -> tuple[dict[str, dict[str, float]], list[Reject]]:
    """By question the numbers of its passages, and the lines that cannot be used."""
    found: dict[str, dict[str, float]] = {}
    rejected = []
    for number, line in lines(path):
        try:
            question, name, value = parse(line.decode("utf-8"))
            if name in found.get(question, {}):
                raise ValueError(f"the passage {name!r} stands twice for the question {question!r}")
            found.setdefault(question, {})[name] = value
        except ValueError as error:
            rejected.append(
                Reject(line=number, id=None, reason=str(error), record=line[:200].decode("utf-8", "replace").rstrip("\n"))
            )
    return found, rejected


def passages(path: str, wanted: set[str]) -> dict[str, Passage]:
    """Those of the wanted passages that a corpus has."""
    usable = (item for item in Reader(path, Passage) if not isinstance(item, Reject))
    return {item.id: item for item in usable if item.id in wanted}
