"""The released data: small files of the same shape."""

import pytest

from dynamicrag_cli.core.exchange.released import read_evaluation, read_training
from dynamicrag_cli.core.records import ChatExample, LabelledQuestion, PreferencePair

DOCS = [{"title": "A", "text": "a", "score": "1.5"}, {"title": "B", "text": "b"}]


def test_evaluation_data_under_the_names_of_each_set() -> None:
    made = read_evaluation({"question": "Why?", "answers": ["x"], "ctxs": DOCS}, "nq-1", "nq")
    assert (made.id, made.dataset, made.answers, [doc.score for doc in made.docs]) == ("nq-1", "nq", ["x"], [1.5, None])
    asqa = read_evaluation(
        {"sample_id": "7", "question": "Why?", "qa_pairs": [{"short_answers": ["x"]}], "docs": DOCS}, "a-1", "asqa"
    )
    assert (asqa.id, asqa.answers, "qa_pairs" in asqa.meta) == ("7", ["x"], True)
    with pytest.raises(ValueError, match="no list of passages"):
        read_evaluation({"question": "Why?"}, "x-1", None)


def test_questions_with_the_passages_that_the_teacher_called_true() -> None:
    made = read_training({"id": "nq_3", "question": "Why?", "answer": "x", "docs": DOCS, "true_id": [2, 9]}, "x-1", "nq")
    assert isinstance(made, LabelledQuestion)
    assert (made.relevance.scores, made.relevance.threshold, made.relevance.teacher) == ([0.0, 1.0], 0.5, "monot5-words")


@pytest.mark.parametrize(("reply", "role"), [("[1], [3]", "reranker"), ("None", "reranker"), ("Ulm", "generator"), ("[1] is it", "generator")])  # fmt: skip
def test_examples_belong_to_who_says_the_reply(reply: str, role: str) -> None:
    made = read_training({"instruction": "Do.", "input": "", "output": reply, "system": "Be."}, "x-1", None)
    assert made == ChatExample(id="x-1", role=role, system="Be.", user="Do.", assistant=reply)


def test_the_system_prompt_of_a_pair_stands_in_the_system_turn() -> None:
    made = read_training({"instruction": "You choose.", "input": "Query", "chosen": "[1]", "rejected": "None"}, "x-1", None)
    expected = PreferencePair(
        id="x-1", role="reranker", system="You choose.", user="Query", chosen="[1]", rejected="None", margin=0.0
    )
    assert made == expected
    with pytest.raises(ValueError, match="equal"):
        read_training({"instruction": "You choose.", "input": "Query", "chosen": "[1]", "rejected": "[1]"}, "x-1", None)


def test_what_is_none_of_these() -> None:
    with pytest.raises(ValueError, match="neither a question with true_id"):
        read_training({"question": "Why?"}, "x-1", None)
