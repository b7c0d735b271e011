"""`drag schema`."""

from typing import Annotated

import msgspec
import typer

from dynamicrag_cli.cli.console import json_text, write_stdout
from dynamicrag_cli.core.errors import unknown_name
from dynamicrag_cli.core.records import KINDS

_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def schema(
    record: Annotated[
        str | None, typer.Argument(metavar="[RECORD]", help="Record type, such as Question.", show_default=False)
    ] = None,
) -> None:
    """Print the JSON Schema of a record type, or list the record types.

    It describes what drag writes. What drag reads may also use foreign field names (docs/formats.md, At the door).

    Example: drag schema RetrievedQuestion > candidates.schema.json
    """
    if record is None:
        width = max(map(len, KINDS))
        write_stdout("\n".join(f"{name:<{width}}  {(kind.__doc__ or '').splitlines()[0]}" for name, kind in KINDS.items()))
        return
    if record not in KINDS:
        raise unknown_name("record", record, KINDS)
    write_stdout(json_text({"$schema": _DIALECT, **msgspec.json.schema(KINDS[record])}, indented=True))
