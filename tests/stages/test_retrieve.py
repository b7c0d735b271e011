import numpy as np
import pytest

from dynamicrag_cli.core.records import Passage, RetrievedQuestion
from dynamicrag_cli.stages.retrieve import retrieve
from tests.builders import question


class ListStore:
    def __init__(self, names):
        self.names = names

    def get(self, rows):
        return [Passage(id=self.names[row], title=f"Title {self.names[row]}", text=f"Text of {self.names[row]}.") for row in rows]


class ScriptedIndex:
    """Finds for every question the rows that its script names, with falling scores."""

    def __init__(self, names, found):
        self.store = ListStore(names)
        self.found = found
        self.calls = []

    def search(self, questions, top_k):
        self.calls.append((list(questions), top_k))
        rows = np.array([self.found[text][:top_k] for text in questions])
        return rows, np.array(
            [[9.5 - place - 100 * number for place in range(rows.shape[1])] for number in range(len(questions))]
        )

    def expanded(self, question, passage):
        return f"{question}+{passage}"


def ids(record):
    return [candidate.id for candidate in record.docs]


def test_one_index():
    index = ScriptedIndex("abc", {"Why?": [2, 0, 1], "How?": [1, 2, 0]})
    made = retrieve([question(id="1", question="Why?", meta={"topic": "x"}), question(id="2", question="How?")], [index], 2)
    assert [ids(record) for record in made] == [["c", "a"], ["b", "c"]]
    assert [[candidate.score for candidate in record.docs] for record in made] == [[9.5, 8.5], [-90.5, -91.5]]
    assert (made[0].docs[0].title, made[0].docs[0].text) == ("Title c", "Text of c.")
    assert all(isinstance(record, RetrievedQuestion) for record in made)
    assert [record.id for record in made] == ["1", "2"]
    assert made[0].meta == {"topic": "x"}


def test_all_questions_are_searched_at_once():
    index = ScriptedIndex("ab", {"Why?": [0, 1], "How?": [1, 0]})
    retrieve([question(id="1", question="Why?"), question(id="2", question="How?")], [index], 2)
    assert index.calls == [(["Why?", "How?"], 2)]


def test_two_indexes_are_fused_by_reciprocal_rank():
    first = ScriptedIndex("abc", {"Why?": [0, 1, 2]})
    second = ScriptedIndex("cbd", {"Why?": [0, 1, 2]})
    (record,) = retrieve([question(question="Why?")], [first, second], 3)
    # c: 1/63 + 1/61, b: 1/62 + 1/62, a: 1/61; d has 1/63 and is cut.
    assert ids(record) == ["c", "b", "a"]
    assert [candidate.score for candidate in record.docs] == pytest.approx([1 / 63 + 1 / 61, 2 / 62, 1 / 61])
    assert record.docs[0].text == "Text of c."


def test_fusion_gives_no_more_than_asked_for():
    first, second = ScriptedIndex("ab", {"Why?": [0, 1]}), ScriptedIndex("cd", {"Why?": [0, 1]})
    (record,) = retrieve([question(question="Why?")], [first, second], 2)
    assert ids(record) == ["a", "c"]


def test_a_place_for_which_nothing_was_found_is_left_out():
    index = ScriptedIndex("abc", {"Why?": [2, -1, -1], "How?": [-1, -1, -1]})
    made = retrieve([question(id="1", question="Why?"), question(id="2", question="How?")], [index, index], 3)
    assert [ids(record) for record in made] == [["c"], []]


def test_questions_are_searched_as_each_index_expands_them():
    first, second = ScriptedIndex("ab", {"Why?+so": [0, 1]}), ScriptedIndex("ab", {"Why?+so": [1, 0]})
    (record,) = retrieve([question(question="Why?")], [first, second], 2, ["so"])
    assert first.calls == second.calls == [(["Why?+so"], 2)]
    assert record.question == "Why?"
