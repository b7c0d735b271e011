"""Training data in groups: all examples of a question in one optimiser step, lesson by lesson."""

import json
from pathlib import Path

from dynamicrag_cli.adapters.files.jsonl import lines
from dynamicrag_cli.adapters.trainers.registration import dataset_info
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.splits import unit_hash

GROUPED = "grouped"


def write_groups(data: Path, datasets: list[str], folder: Path, *, ranking: bool, seed: int, per_step: int) -> None:
    """One training file in which the examples of a question follow one another: by lesson, at random within a lesson.

    Raises:
        UsageError: A step of `per_step` examples does not hold a question's group.
    """
    groups: dict[str, list[bytes]] = {}
    lessons: dict[str, int] = {}
    for name in datasets:
        for _, line in lines(str(data / f"{name}.jsonl")):
            example = json.loads(line)
            # The copies of a question's cloning example are numbered: id#0, id#1, …
            question = example["id"].rpartition("#")[0] if name == "reranker_bc" else example["id"]
            lessons[question] = example.get("lesson", 0)
            groups.setdefault(question, []).append(line.rstrip(b"\r\n") + b"\n")
    folder.mkdir(exist_ok=True)
    largest = max(map(len, groups.values()))
    if largest != per_step:
        raise UsageError(
            f"--in-groups puts a question into one step: its largest group has {largest} examples, but --batch-size times "
            f"--accumulation (times --gpus) is {per_step}; set --accumulation so that they are equal"
        )
    # The few smaller groups come last, so that they shift no other across a step.
    names = sorted(groups, key=lambda name: (len(groups[name]) < largest, lessons[name], unit_hash("group", seed, name)))
    (folder / f"{GROUPED}.jsonl").write_bytes(b"".join(line for name in names for line in groups[name]))
    (folder / "dataset_info.json").write_text(json.dumps(dataset_info([GROUPED], ranking=ranking)), encoding="utf-8")
