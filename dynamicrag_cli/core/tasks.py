"""The task table: everything that depends on the data set, one row each.

A record names its row in the field `dataset`; nothing is ever guessed from a path or an id.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from dynamicrag_cli.core.errors import unknown_name


@dataclass(frozen=True)
class Task:
    """What one data set asks of the generator and how its answers are measured.

    Attributes:
        rule: Name of the answer instruction in `templates/prompts/rules.yaml`.
        metrics: Names in `core.metrics.METRICS`, the headline first.
        max_new_tokens: Length limit of an answer.
        labels: Closed answer set with the spellings of each label; None for free answers.
        short_answers: Field in which answer strings stand that occur in passages; None where answers are no such strings.
    """

    rule: str
    metrics: tuple[str, ...]
    max_new_tokens: int = 50
    labels: Mapping[str, tuple[str, ...]] | None = None
    short_answers: str | None = "answers"


_SHORT = Task(rule="short-phrase", metrics=("em", "f1", "contains"))
# Some ARC questions number their options.
_OPTION_LABELS = {letter: (letter, str(number)) for number, letter in enumerate("ABCDE", start=1)}

DEFAULT_TASK = "qa"

TASKS: dict[str, Task] = {
    "qa": _SHORT,
    "nq": _SHORT,
    "triviaqa": Task(rule="short-phrase", metrics=("em", "contains")),
    "hotpotqa": Task(rule="short-phrase", metrics=("em", "f1")),
    "2wikimultihopqa": Task(rule="short-phrase", metrics=("em", "f1")),
    "musique": Task(rule="short-phrase", metrics=("em", "f1")),
    "squad": Task(rule="short-phrase", metrics=("em", "f1")),
    "popqa": Task(rule="short-phrase", metrics=("em", "f1")),
    "fever": Task(
        rule="fever-label",
        metrics=("accuracy",),
        max_new_tokens=10,
        labels={
            "SUPPORTS": ("supports", "supported", "support"),
            "REFUTES": ("refutes", "refuted", "refute"),
            "NOT ENOUGH INFO": ("not enough info", "not enough information", "nei"),
        },
        short_answers=None,
    ),
    "asqa": Task(rule="every-reading", metrics=("str_em", "rouge_l"), max_new_tokens=200, short_answers="qa_pairs"),
    "eli5": Task(rule="paragraph", metrics=("rouge_l",), max_new_tokens=256, short_answers=None),
    "arc": Task(rule="option-letter", metrics=("accuracy",), max_new_tokens=10, labels=_OPTION_LABELS, short_answers=None),
    "openbookqa": Task(rule="option-letter", metrics=("accuracy",), max_new_tokens=10, labels=_OPTION_LABELS, short_answers=None),
}


def task_of(dataset: str) -> Task:
    """The row of a data set.

    Raises:
        UsageError: The table has no such row.
    """
    if dataset not in TASKS:
        raise unknown_name("dataset", dataset, TASKS)
    return TASKS[dataset]


def is_right(task: Task) -> str:
    """The metric in {0, 1} that decides whether an answer counts as right for this task (used to make preference pairs)."""
    return "accuracy" if task.labels else "str_em" if "str_em" in task.metrics else "em"
