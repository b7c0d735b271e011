"""`drag schema`: what a record looks like, for other programs."""

import json

import pytest

from dynamicrag_cli.core.records import KINDS, field_names


def test_without_a_name_every_record_has_one_line(drag) -> None:
    done = drag("schema")
    assert (done.code, done.err) == (0, "")
    rows = [row.split(maxsplit=1) for row in done.out.decode().splitlines()]
    assert [name for name, _ in rows] == [*KINDS]
    assert all(summary.endswith(".") for _, summary in rows)


@pytest.mark.parametrize("name", KINDS)
def test_a_schema_is_one_json_document_with_the_fields_of_the_record(drag, name: str) -> None:
    done = drag("schema", name)
    assert (done.code, done.err) == (0, "")
    document = json.loads(done.out)
    assert document["$schema"].startswith("https://json-schema.org/")
    described = document["$defs"][document["$ref"].removeprefix("#/$defs/")]
    assert tuple(described["properties"]) == field_names(KINDS[name])
    assert described["additionalProperties"] is False


def test_what_a_candidate_is_stands_in_the_schema_of_the_question(drag) -> None:
    document = json.loads(drag("schema", "RetrievedQuestion").out)
    assert document["$defs"]["Candidate"]["required"] == ["id", "title", "text"]
    assert "docs" in document["$defs"]["RetrievedQuestion"]["required"]


def test_a_typo_names_the_nearest_record(drag) -> None:
    done = drag("schema", "SampledQuestoin")
    assert (done.code, done.out, done.error) == (2, b"", None)
    assert "Did you mean 'SampledQuestion'?" in done.err
