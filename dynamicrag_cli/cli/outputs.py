"""Files that a command writes: where they may stand, and documents that are there whole or not at all."""

from collections.abc import Iterable
from pathlib import Path

from dynamicrag_cli.adapters.files.jsonl import FOREIGN, STREAM, packed
from dynamicrag_cli.core.errors import InputError, UsageError


def check_output(output: str | Path | None, inputs: Iterable[str | Path | None]) -> None:
    """Refuse an output file that would cost something else, before any work; `-` and None are no file.

    Raises:
        UsageError: It is a folder, a device or a pipe, which a finished file would take the place of; or one of the inputs; or
            its name promises a packing that we do not write.
    """
    if output is None or str(output) == STREAM:
        return
    path = Path(output)
    if path.name.endswith(FOREIGN):
        raise UsageError(f"{output}: what is written can be packed as .gz or .zst, by its name, and in no other way")
    if not path.exists():
        return
    if path.is_dir():
        raise UsageError(f"{output} is a folder; give -o the name of a file")
    if not path.is_file():
        raise UsageError(f"{output} is no ordinary file; type -o - and redirect it, as in > {output}")
    for source in inputs:
        if source is not None and Path(source).exists() and path.samefile(source):
            raise UsageError(f"{source} is both input and output; give another name for the output")


def write_whole(path: Path, content: str | bytes) -> None:
    """Write a document aside and rename it, so that a crash or a full disk never leaves half of one; packed if its name says so.

    Raises:
        InputError: It cannot be written.
    """
    staged = path.with_name(path.name + ".finishing")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        staged.write_bytes(packed(content.encode() if isinstance(content, str) else content, path.name))
        staged.replace(path)
    except OSError as error:
        staged.unlink(missing_ok=True)
        raise InputError(f"cannot write {path}: {error.strerror or error}") from error
