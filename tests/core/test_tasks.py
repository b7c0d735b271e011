import pytest

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.metrics import METRICS, parse_label
from dynamicrag_cli.core.tasks import DEFAULT_TASK, TASKS, is_right, task_of

# Of METHOD.md, section 4; the claim recall of eli5 needs an NLI model and is not there yet.
TABLE = {
    "qa": ("em", "f1", "contains"),
    "nq": ("em", "f1", "contains"),
    "triviaqa": ("em", "contains"),
    "hotpotqa": ("em", "f1"),
    "2wikimultihopqa": ("em", "f1"),
    "musique": ("em", "f1"),
    "squad": ("em", "f1"),
    "popqa": ("em", "f1"),
    "fever": ("accuracy",),
    "asqa": ("str_em", "rouge_l"),
    "eli5": ("rouge_l",),
    "arc": ("accuracy",),
    "openbookqa": ("accuracy",),
}


def test_metrics_of_every_task():
    assert {name: task.metrics for name, task in TASKS.items()} == TABLE
    assert {metric for task in TASKS.values() for metric in task.metrics} <= set(METRICS)


def test_default_task_is_in_the_table():
    assert task_of(DEFAULT_TASK) is TASKS["qa"]


def test_unknown_dataset_is_refused_with_the_nearest_name():
    with pytest.raises(UsageError, match=r"unknown dataset 'hotpot'\. Did you mean 'hotpotqa'"):
        task_of("hotpot")


@pytest.mark.parametrize("name", [name for name, task in TASKS.items() if task.labels])
def test_label_tasks_are_measured_by_accuracy(name):
    assert TASKS[name].metrics == ("accuracy",)
    assert is_right(TASKS[name]) == "accuracy"


def test_spellings_name_their_own_label():
    labels = TASKS["fever"].labels
    assert {
        label: {parse_label(spelling, labels) for spelling in (label, *spellings)} for label, spellings in labels.items()
    } == {label: {label} for label in labels}


@pytest.mark.parametrize(("name", "metric"), [("nq", "em"), ("asqa", "str_em"), ("eli5", "em"), ("fever", "accuracy")])
def test_metric_that_decides_right_or_wrong(name, metric):
    assert is_right(TASKS[name]) == metric


def test_length_limits():
    assert TASKS["eli5"].max_new_tokens == 256
    assert TASKS["qa"].max_new_tokens == 50
