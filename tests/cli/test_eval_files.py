"""What `drag eval` reads."""

import gc

import pytest

from dynamicrag_cli.cli.eval_files import Source, gold_questions, kind_of, many_hands, no_garbage, sources_of
from dynamicrag_cli.core.errors import InputError, UsageError
from dynamicrag_cli.core.records import Prediction, RetrievedQuestion
from tests import samples
from tests.builders import question
from tests.samples import write


def test_a_file_is_a_system_and_a_name_with_files_is_one_with_repeats(tmp_path) -> None:
    odd = write(tmp_path / "k=3.jsonl", [])
    found = sources_of(["runs/dpo.jsonl.gz", "sft=a.jsonl,b.jsonl", str(odd)])
    assert found == [Source("dpo", ["runs/dpo.jsonl.gz"]), Source("sft", ["a.jsonl", "b.jsonl"]), Source("k=3", [str(odd)])]


@pytest.mark.parametrize(
    ("texts", "words"),
    [(["=a.jsonl"], "NAME=FILE"), (["sft="], "NAME=FILE"), (["sft=a,a"], "twice"), (["x/a.jsonl", "y/a.jsonl"], "one name")],
)
def test_wrong_names(texts, words) -> None:
    with pytest.raises(UsageError, match=words):
        sources_of(texts)


def test_the_kind_of_the_files(tmp_path) -> None:
    made = write(tmp_path / "made.jsonl", [samples.prediction(1)])
    candidates = write(tmp_path / "candidates.jsonl", [samples.question(1)])
    labelled = write(tmp_path / "labelled.jsonl", [samples.labelled(1)])
    passages = write(tmp_path / "passages.jsonl", [{"id": "p", "title": "t", "text": "x"}])
    assert kind_of(sources_of([str(made), "-"])) is Prediction
    assert kind_of(sources_of([str(candidates), str(labelled)])) is RetrievedQuestion
    with pytest.raises(InputError, match="two calls"):
        kind_of(sources_of([str(made), str(candidates)]))
    with pytest.raises(InputError, match="of the kind Passage"):
        kind_of(sources_of([str(passages)]))


def test_lines_that_cannot_be_read_are_counted_over_all_files(tmp_path) -> None:
    paths = [write(tmp_path / name, [samples.prediction(1), {"id": "x"}, samples.prediction(1)]) for name in ("a", "b")]
    source = Source("s", [str(path) for path in paths])
    assert [len(list(source.read(path, Prediction))) for path in source.paths] == [1, 1]
    assert source.unreadable == 4


def test_gold_answers_that_cannot_be_read_are_an_error_with_their_line(tmp_path) -> None:
    path = write(
        tmp_path / "gold.jsonl", [{"id": "1", "question": "?x", "answers": [], "dataset": "asqa", "meta": {"qa_pairs": [3]}}]
    )
    with pytest.raises(InputError, match=r"gold\.jsonl, line 1: qa_pairs or long_answers cannot be read"):
        gold_questions(str(path), None, 0.1, 0, None)


def test_few_or_short_answers_are_scored_here() -> None:
    with many_hands({str(n): question(id=str(n)) for n in range(2000)}, []) as apply:
        assert apply is map
    with many_hands({"1": question(dataset="eli5")}, []) as apply:
        assert apply is map


def test_many_paragraphs_are_scored_by_several_processes(monkeypatch) -> None:
    monkeypatch.setattr("dynamicrag_cli.cli.eval_files._MANY_PARAGRAPHS", 2)
    monkeypatch.setattr("os.sched_getaffinity", lambda _: {0, 1}, raising=False)
    with many_hands({str(n): question(id=str(n)) for n in range(3)}, ["rouge_l"]) as apply:
        assert apply is not map
        assert list(apply(abs, [-1, -2, -3])) == [1, 2, 3]


def test_the_collector_is_off_for_a_while_only() -> None:
    assert gc.isenabled()
    with no_garbage():
        assert not gc.isenabled()
    assert gc.isenabled()
