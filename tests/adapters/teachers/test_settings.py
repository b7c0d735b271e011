"""Batching by length."""

from dynamicrag_cli.adapters.teachers.settings import in_length_order


def test_batches_go_from_long_to_short_and_values_come_back_in_order() -> None:
    texts = ["bb", "a", "dddd", "ccc", "eeeee"]
    seen: list[list[str]] = []

    def score(batch: list[str]) -> list[float]:
        seen.append(batch)
        return [float(len(text)) for text in batch]

    assert in_length_order(texts, 2, score) == [2.0, 1.0, 4.0, 3.0, 5.0]
    assert seen == [["eeeee", "dddd"], ["ccc", "bb"], ["a"]]
    assert in_length_order([], 2, score) == []
