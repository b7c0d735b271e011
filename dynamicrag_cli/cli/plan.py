"""`drag plan`."""

import json
from dataclasses import asdict
from importlib import import_module
from typing import Annotated, Any

import typer
from rich.table import Table

from dynamicrag_cli.adapters import machine
from dynamicrag_cli.cli import options as opt
from dynamicrag_cli.cli.console import say, show_table, write_stdout
from dynamicrag_cli.core.errors import MissingExtraError
from dynamicrag_cli.core.plan import PASSAGE_BYTES, Row, Speed, parse_count, plan, recommended

_GB = 1e9


def plan_command(
    passages: Annotated[
        str,
        typer.Argument(
            parser=opt.checked(parse_count), metavar="PASSAGES", help="Passages of the corpus: 45k, 21M.", show_default=False
        ),
    ],
    dimension: Annotated[int, typer.Option(min=8, help="Dimensions of the encoder's vectors.")] = 768,
    ram: Annotated[float | None, typer.Option(min=0, help="GB of memory (default: this machine's).")] = None,
    gpu_memory: Annotated[float | None, typer.Option(min=0, help="GB of GPU memory in all (default: this machine's).")] = None,
    rate: Annotated[float, typer.Option(min=0, help="Questions per second that are wanted.")] = 20,
    encode_rate: Annotated[
        float | None, typer.Option(min=0.001, help="Passages per second of the encoder, as the bar of drag index shows.")
    ] = None,
    calibrate: Annotated[int, typer.Option(min=256, help="Vectors of the small indexes that are timed.")] = 4096,
    as_json: Annotated[bool, typer.Option("--json", help="Print the same as one JSON document on stdout.")] = False,
) -> None:
    """Show what each kind of dense index would cost before anything is built: disk, memory, time, recall, and which fits.

    Small indexes of random vectors are timed here, which takes seconds, and their times are multiplied by the work.

    Example: drag plan 21M --dimension 768 --ram 64
    """
    n = parse_count(passages)
    memory = machine.memory()[0] if ram is None else ram * _GB
    gpu = machine.gpu_memory() if gpu_memory is None else gpu_memory * _GB
    try:
        calibration = import_module("dynamicrag_cli.adapters.retrievers.calibration")
    except ImportError as error:
        raise MissingExtraError("drag plan", "retrieval", error) from error
    speeds: dict[str, Speed] = dict(calibration.calibrate(calibrate, dimension))
    rows = plan(n, dimension, memory, gpu, speeds)
    best = recommended(rows, rate)
    show_table(_table(rows, best))
    say(f"{n} passages of {dimension} dimensions; memory {memory / _GB:.1f} GB, GPU memory {gpu / _GB:.1f} GB")
    if encode_rate:
        say(f"encoding at {encode_rate:g} passages/s: {_duration(n / encode_rate)}")
    say(f"recommended: --preset {best}" + ("" if best != "scan" else ", with a large --chunk when retrieving"))
    if as_json:
        document: dict[str, Any] = {
            "passages": n,
            "dimension": dimension,
            "ram": memory,
            "gpu_memory": gpu,
            "passage_bytes": PASSAGE_BYTES,
        }
        encode_s = n / encode_rate if encode_rate else None
        document |= {"encode_s": encode_s, "presets": [asdict(row) for row in rows], "recommended": best}
        write_stdout(json.dumps(document))


def _table(rows: list[Row], best: str) -> Table:
    table = Table("preset", show_edge=False)
    for heading in ("index GB", "disk GB", "memory GB", "build", "questions/s", "recall@10", "fits"):
        table.add_column(heading, justify="right")
    for row in rows:
        fits = ", ".join(word for word, there in (("memory", row.fits_ram), ("GPU", row.fits_gpu)) if there) or "no"
        table.add_row(
            row.preset,
            f"{row.index_bytes / _GB:.2f}",
            f"{row.disk_bytes / _GB:.2f}",
            f"{row.ram_bytes / _GB:.2f}",
            _duration(row.build_s),
            f"{row.questions_per_s:.3g}",
            "?" if row.recall is None else f"{row.recall:.2f}",
            fits,
            style="bold" if row.preset == best else None,
        )
    return table


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
