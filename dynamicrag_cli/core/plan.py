"""What each kind of vector index would cost for a corpus that is not there yet, and which one fits."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.presets import PRESETS, shard_bytes

# A title and a hundred words of English, with their ids, in the Arrow file.
PASSAGE_BYTES = 700
# What Python, FAISS, the encoder and one shard take beside the index.
_BESIDE = 1.5e9
_UNITS = {"": 1, "k": 10**3, "m": 10**6, "b": 10**9}


@dataclass(frozen=True)
class Speed:
    """What building an index of n vectors, and one question to it, took on this machine, in seconds.

    What does not grow with n stands apart and comes on top: `codes_s`, in which short codes were learned from a sample of fixed
    size, and `refine_s`, in which what was found for a question was scored again.
    """

    n: int
    build_s: float
    question_s: float
    codes_s: float = 0.0
    refine_s: float = 0.0


@dataclass(frozen=True)
class Row:
    """One kind of index for a corpus; bytes, seconds, questions per second, recall@10 in [0, 1] or not measured yet."""

    preset: str
    index_bytes: int
    disk_bytes: int
    ram_bytes: int
    build_s: float
    questions_per_s: float
    recall: float | None
    fits_ram: bool
    fits_gpu: bool


def parse_count(text: str) -> int:
    """`21M`, `45k`, `1.5B` or a plain number.

    Raises:
        UsageError: It is none of these, or less than 1.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([kmb]?)", text.strip().lower())
    count = int(float(match.group(1)) * _UNITS[match.group(2)]) if match else 0
    if count < 1:
        raise UsageError(f"{text!r} is no number of passages; write 45000, 45k, 21M or 1.5B")
    return count


def plan(n: int, d: int, ram: float, gpu: float, speeds: Mapping[str, Speed]) -> list[Row]:
    """A row for each preset that was timed: n passages, d dimensions, bytes of memory and of GPU memory.

    Times are those of a small index times the ratio of the work; an index that is read from the disk, since it does not fit, is
    slower than that.
    """
    rows = []
    for name, speed in speeds.items():
        preset = PRESETS[name]
        size = preset.size(n, d)
        growth = preset.build_work(n, d) / preset.build_work(speed.n, d)
        build_s = speed.build_s * growth + speed.codes_s if preset.template else 0.0
        question_s = speed.question_s * preset.search_work(n, d) / preset.search_work(speed.n, d) + speed.refine_s
        disk = size + shard_bytes(n, d) + n * PASSAGE_BYTES
        needs = size + _BESIDE
        # GPUs hold full vectors as float16, and no graphs.
        on_gpu = min(size, shard_bytes(n, d)) if name == "flat" else size
        fits_gpu = bool(preset.template) and preset.reads != "graph" and on_gpu <= gpu
        rows.append(
            Row(name, size, disk, int(needs), build_s, 1 / question_s, preset.recall, fits_ram=needs <= ram, fits_gpu=fits_gpu)
        )
    return rows


def recommended(rows: Sequence[Row], rate: float) -> str:
    """The kind to take: of those that fit in memory and answer `rate` questions per second, the most exact, then the fastest.

    Where none is that fast, the fastest that fits; where none fits, `scan`.
    """
    fitting = [row for row in rows if row.fits_ram and row.preset != "scan"]
    quick = [row for row in fitting if row.questions_per_s >= rate]
    if quick:
        return max(quick, key=lambda row: (round(row.recall or 0, 2), row.questions_per_s)).preset
    return max(fitting, key=lambda row: row.questions_per_s).preset if fitting else "scan"
