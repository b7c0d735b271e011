"""The table of formats."""

from dynamicrag_cli.core.exchange.formats import FORMATS, TREC
from tests.conftest import ROOT


def test_every_format_is_in_the_docs() -> None:
    text = (ROOT / "docs/formats.md").read_text(encoding="utf-8")
    assert [name for name in FORMATS if f"`{name}`" not in text] == []


def test_every_format_can_be_read_or_written() -> None:
    usable = {name for name, row in FORMATS.items() if row.read or row.write or row.lines}
    assert {*FORMATS} - usable == {"drag"}
    assert {*TREC} <= {name for name, row in FORMATS.items() if row.lines}
