"""The lazy tables: every name can be loaded here, and what cannot says which extra to install."""

import sys

import pytest

from dynamicrag_cli.adapters import registry
from dynamicrag_cli.core.errors import MissingExtraError, UsageError

TABLES = {"engine": registry.ENGINES, "retriever": registry.RETRIEVERS, "teacher": registry.TEACHERS}


@pytest.mark.parametrize(("kind", "name"), [(kind, name) for kind, table in TABLES.items() for name in table if name != "vllm"])
def test_every_name_loads_its_class(kind: str, name: str) -> None:
    found = registry.load(kind, name, TABLES[kind])
    assert found.__name__ == TABLES[kind][name].place.partition(":")[2]


def test_an_unknown_name_tells_the_nearest() -> None:
    with pytest.raises(UsageError, match=r"unknown retriever 'bm52'\. Did you mean 'bm25'\?"):
        registry.load("retriever", "bm52", registry.RETRIEVERS)


@pytest.mark.parametrize(("table", "name", "library"), [("retriever", "bm25", "bm25s"), ("engine", "openai", "openai")])
def test_a_library_that_is_not_there_names_the_extra(
    monkeypatch: pytest.MonkeyPatch, table: str, name: str, library: str
) -> None:
    entry = TABLES[table][name]
    monkeypatch.setitem(sys.modules, library, None)
    monkeypatch.delitem(sys.modules, f"dynamicrag_cli.adapters.{entry.place.partition(':')[0]}", raising=False)
    with pytest.raises(MissingExtraError, match=rf"dynamicrag-cli\[{entry.extra}\]") as caught:
        registry.load(table, name, TABLES[table])
    assert library in str(caught.value)


def test_the_table_is_told_in_help() -> None:
    text = registry.describe(registry.TEACHERS)
    assert all(f"{name}: {entry.summary}" in text for name, entry in registry.TEACHERS.items())
    assert "untested on real weights" in registry.TEACHERS["monot5"].summary
