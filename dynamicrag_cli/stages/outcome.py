"""What a stage makes of one input record."""

from dataclasses import dataclass, field

from dynamicrag_cli.core.records import Record


@dataclass(frozen=True)
class Emission:
    """Records for several output files, by file stem, and a word on what became of the input (counted in the manifest)."""

    note: str
    files: dict[str, list[Record]] = field(default_factory=dict)


# One record for the one output file, records for several files, or the reason why the input cannot be used.
Outcome = Record | Emission | Exception
