from dynamicrag_cli.core.labels import gold_relevance
from dynamicrag_cli.core.records import LabelledQuestion, Relevance
from dynamicrag_cli.stages.rerank_teacher import label_by_rule, label_with_teacher, pairs_of
from tests.builders import QUESTION, retrieved


class CodeTeacher:
    """Relevance: the code of the title's last letter over 1000."""

    def __init__(self):
        self.calls = []

    def relevance(self, pairs):
        self.calls.append(list(pairs))
        return [ord(title[-1]) / 1000 for _, title, _ in pairs]


def test_pairs():
    assert pairs_of(retrieved("ab")) == [(QUESTION, "Title a", "Text of a."), (QUESTION, "Title b", "Text of b.")]


def test_scores_stay_with_their_record():
    teacher = CodeTeacher()
    records = [retrieved("ba"), retrieved("", id="q-2"), retrieved("c", id="q-3", meta={"topic": "x"})]
    made = label_with_teacher(records, teacher, "monot5", "models/t5", 0.8)
    assert [record.relevance.scores for record in made] == [[0.098, 0.097], [], [0.099]]
    assert made[0].relevance == Relevance(teacher="monot5", model="models/t5", scores=[0.098, 0.097], threshold=0.8)
    assert all(isinstance(record, LabelledQuestion) for record in made)
    assert made[2].meta == {"topic": "x"}
    assert [record.docs for record in made] == [record.docs for record in records]


def test_teacher_is_called_once():
    teacher = CodeTeacher()
    label_with_teacher([retrieved("ab"), retrieved("c", id="q-2")], teacher, "t", None, 0.5)
    assert [len(call) for call in teacher.calls] == [3]


def test_rule():
    made = label_by_rule([retrieved("ab", gold_passage_ids=["b"])], gold_relevance, "gold", 0.5)
    assert [record.relevance for record in made] == [Relevance(teacher="gold", model=None, scores=[0.0, 1.0], threshold=0.5)]


def test_record_that_the_rule_cannot_label_comes_back_as_the_error():
    lacking, labelled = label_by_rule(
        [retrieved("ab"), retrieved("ab", id="q-2", gold_passage_ids=[])], gold_relevance, "gold", 0.5
    )
    assert isinstance(lacking, ValueError)
    assert "gold_passage_ids" in str(lacking)
    assert labelled.id == "q-2"
