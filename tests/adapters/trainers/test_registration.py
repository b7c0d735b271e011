"""LLaMA-Factory's registry of data files."""

from dynamicrag_cli.adapters.trainers.registration import dataset_info
from dynamicrag_cli.core.records import ChatExample, PreferencePair, field_names


def test_examples_and_pairs_are_registered_with_fields_that_the_records_have() -> None:
    for kind, ranking in ((ChatExample, False), (PreferencePair, True)):
        info = dataset_info(["one", "two"], ranking=ranking)
        assert [entry["file_name"] for entry in info.values()] == ["one.jsonl", "two.jsonl"]
        for entry in info.values():
            assert {*entry["columns"].values()} <= {*field_names(kind)}
            assert entry["columns"]["system"] == "system"
            assert entry.get("ranking", False) is ranking
            assert ({"chosen", "rejected"} <= {*entry["columns"]}) is ranking
            assert ("response" in entry["columns"]) is not ranking


def test_nothing_to_register() -> None:
    assert dataset_info([], ranking=True) == {}
