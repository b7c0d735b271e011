"""Training data in groups: all examples of a question in one optimiser step, lesson by lesson."""

import json
from collections import deque
from collections.abc import Container, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from dynamicrag_cli.adapters.files.jsonl import lines
from dynamicrag_cli.adapters.trainers.mixing import MIX
from dynamicrag_cli.adapters.trainers.registration import dataset_info
from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.records import ChatExample
from dynamicrag_cli.core.splits import unit_hash

GROUPED = "grouped"


Bad = Mapping[str, Container[str]]


def write_sound(
    data: Path, datasets: list[str], folder: Path, bad: Bad, *, ranking: bool, mixed: Sequence[ChatExample] = ()
) -> None:
    """The training files, and what is mixed in, without the examples whose ids are in `bad`, by file stem."""
    folder.mkdir(exist_ok=True)
    for name in datasets:
        with (folder / f"{name}.jsonl").open("wb") as file:
            file.writelines(line for _, line in _sound(data, name, bad))
    if mixed:
        kept = [example for example in mixed if example.id not in bad.get(MIX, ())]
        (folder / f"{MIX}.jsonl").write_bytes(b"".join(msgspec.json.encode(example) + b"\n" for example in kept))
        datasets = [*datasets, MIX]
    (folder / "dataset_info.json").write_text(json.dumps(dataset_info(datasets, ranking=ranking)), encoding="utf-8")


def _sound(data: Path, name: str, bad: Bad) -> Iterator[tuple[dict[str, Any], bytes]]:
    """The examples of a file that are not bad, with their lines."""
    refused = bad.get(name, ())
    for _, line in lines(str(data / f"{name}.jsonl")):
        example = json.loads(line)
        if example["id"] not in refused:
            yield example, line.rstrip(b"\r\n") + b"\n"


def write_groups(data: Path, datasets: list[str], folder: Path, bad: Bad, *, ranking: bool, seed: int, per_step: int) -> None:
    """One training file in which the examples of a question follow one another: by lesson, at random within a lesson.

    Raises:
        UsageError: A step of `per_step` examples does not hold whole groups of the largest size.
    """
    groups: dict[str, list[bytes]] = {}
    lessons: dict[str, int] = {}
    for name in datasets:
        for example, line in _sound(data, name, bad):
            # The copies of a question's cloning example are numbered: id#0, id#1, …
            question = example["id"].rpartition("#")[0] if name == "reranker_bc" else example["id"]
            lessons[question] = example.get("lesson", 0)
            groups.setdefault(question, []).append(line)
    folder.mkdir(exist_ok=True)
    largest = max(map(len, groups.values()))
    if per_step % largest:
        raise UsageError(
            f"--in-groups puts whole questions into a step: the largest has {largest} examples, but --batch-size times "
            f"--accumulation (times --gpus) is {per_step}; set --accumulation so that it is {largest} or a multiple"
        )
    names = sorted(groups, key=lambda name: (lessons[name], unit_hash("group", seed, name)))
    order = [names[place] for place in _packed([len(groups[name]) for name in names], per_step)]
    (folder / f"{GROUPED}.jsonl").write_bytes(b"".join(line for name in order for line in groups[name]))
    (folder / "dataset_info.json").write_text(json.dumps(dataset_info([GROUPED], ranking=ranking)), encoding="utf-8")


def _packed(sizes: list[int], per_step: int) -> list[int]:
    """Places of the groups in an order in which the border of a step cuts none: each step takes the next ones that fill it.

    Groups that fill no step any more (two examples of three, because the answer is missing) come last.
    """
    queues: dict[int, deque[int]] = {}
    for place, size in enumerate(sizes):
        queues.setdefault(size, deque()).append(place)
    order: list[int] = []
    while True:
        left = {size: len(queue) for size, queue in queues.items() if queue}
        step, room = list[int](), per_step
        while room:
            fitting = [size for size in left if left[size] and _fills(room - size, {**left, size: left[size] - 1})]
            if not fitting:
                return order + sorted(place for queue in queues.values() for place in queue)
            size = min(fitting, key=lambda size: queues[size][0])
            step.append(queues[size].popleft())
            left[size] -= 1
            room -= size
        order += step


def _fills(room: int, left: dict[int, int]) -> bool:
    """Whether some of the groups that are left, so many of each size, have `room` examples together."""
    sums = {0}
    for size, count in left.items():
        sums = {total + size * n for total in sums for n in range(min(count, (room - total) // size) + 1)}
    return room in sums
