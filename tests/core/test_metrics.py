import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.metrics import (
    METRICS,
    contains,
    exact_match,
    label_accuracy,
    normalize,
    parse_label,
    rouge_l,
    selection_scores,
    str_em,
    token_f1,
)
from dynamicrag_cli.core.tasks import TASKS, task_of
from tests.builders import quick

FEVER = TASKS["fever"].labels
LETTERS = TASKS["arc"].labels
TEXT_METRICS = [exact_match, token_f1, contains, rouge_l]
spoken = st.text().filter(normalize)


def words(alphabet):
    return st.lists(st.text(alphabet, min_size=2, max_size=6), min_size=1, max_size=5).map(" ".join)


@pytest.mark.parametrize(
    ("text", "normal"),
    [
        ("The  Danube, a river!", "danube river"),
        ("AN apple", "apple"),
        ("U.S.A.", "usa"),
        ("mother-in-law", "motherinlaw"),
        ("theatre another", "theatre another"),
        ("Cafe\u0301", "caf\u00e9"),
        (" \t\n", ""),
        ("The", ""),
    ],
)
def test_normalize(text, normal):
    assert normalize(text) == normal


@quick
@given(st.text())
def test_normal_text_has_single_spaces_and_no_punctuation(text):
    normal = normalize(text)
    assert normal == " ".join(normal.split())
    assert not set(normal) & set("!?.,;:'\"()[]{}-_")


@quick
@given(st.text(), st.lists(st.text(), max_size=3))
def test_text_metrics_are_between_0_and_1(text, answers):
    values = {metric.__name__: metric(text, answers) for metric in TEXT_METRICS}
    assert all(0.0 <= value <= 1.0 for value in values.values())
    assert values["exact_match"] <= min(values["token_f1"], values["contains"])


@quick
@given(spoken, st.lists(st.text(), max_size=2))
def test_identical_answer_scores_1(text, others):
    assert exact_match(text, [*others, text]) == token_f1(text, [*others, text]) == contains(text, [*others, text]) == 1.0


@quick
@given(words("bcdfgh"))
def test_identical_answer_has_rouge_1(text):
    assert rouge_l(text, [text]) == 1.0


@quick
@given(words("bcdfgh"), words("klmnpr"))
def test_disjoint_answer_scores_0(text, gold):
    assert [metric(text, [gold]) for metric in TEXT_METRICS] == [0.0] * 4


@quick
@given(st.lists(st.text(), max_size=3))
def test_empty_answer_scores_0(answers):
    assert [metric("", answers) for metric in TEXT_METRICS] == [0.0] * 4


@pytest.mark.parametrize("metric", TEXT_METRICS)
def test_no_gold_answer_scores_0(metric):
    assert metric("Danube", []) == 0.0


@quick
@given(st.text(), st.lists(st.text(), min_size=2, max_size=4))
def test_best_gold_answer_counts(text, answers):
    for metric in (exact_match, token_f1, contains):
        assert metric(text, answers) == max(metric(text, [answer]) for answer in answers)


def test_exact_match():
    assert exact_match("The Danube.", ["danube"]) == 1.0
    assert exact_match("Danube river", ["danube"]) == 0.0


@pytest.mark.parametrize(
    ("text", "gold", "value"),
    [
        ("Black Forest", "the Black Forest", 1.0),
        # 1 shared token of 2 and 3: 2·1 / (2 + 3).
        ("Black Sea", "Black Forest Germany", 0.4),
        # A repeated token is shared only as often as both sides have it: 2·1 / (2 + 1).
        ("very very", "very", 2 / 3),
        ("Forest Black", "Black Forest", 1.0),
    ],
)
def test_token_f1(text, gold, value):
    assert token_f1(text, [gold]) == pytest.approx(value)


def test_contains_wants_whole_tokens_in_order():
    assert contains("It rises in the Black Forest, I think.", ["black forest"]) == 1.0
    assert contains("Forest Black", ["Black Forest"]) == 0.0
    assert contains("Romes", ["Rome"]) == 0.0
    assert contains("Rome", ["It is Rome"]) == 0.0


def test_empty_answer_is_contained_in_no_text():
    assert contains("anything", [""]) == 0.0
    assert contains("", [""]) == 0.0
    assert contains("the cat", ["the"]) == 0.0


def test_rouge_l():
    # The longest common subsequence has 3 tokens: P = 3/3, R = 3/4.
    assert rouge_l("danube rises here", ["danube never rises here"]) == pytest.approx(6 / 7)
    assert rouge_l("rivers", ["river"]) == 1.0
    assert rouge_l("one two", ["three four", "two"]) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        ("SUPPORTS", "SUPPORTS"),
        ("The claim is refuted.", "REFUTES"),
        ("NEI", "NOT ENOUGH INFO"),
        ("not enough information", "NOT ENOUGH INFO"),
        ("REFUTES, although one passage SUPPORTS it", "REFUTES"),
        ("not supported", None),
        ("It does not refute; it supports.", "SUPPORTS"),
        ("Supposedly", None),
        ("", None),
    ],
)
def test_fever_label(reply, label):
    assert parse_label(reply, FEVER) == label


@pytest.mark.parametrize(("reply", "label"), [("B", "B"), ("(c)", "C"), ("D. because", "D"), ("Because", None), ("F", None)])
def test_option_letter(reply, label):
    assert parse_label(reply, LETTERS) == label


@quick
@given(st.text())
def test_label_is_of_the_table_or_none(reply):
    assert parse_label(reply, FEVER) in {*FEVER, None}


def test_label_accuracy():
    assert label_accuracy("Supported.", ["SUPPORTS"], FEVER) == 1.0
    assert label_accuracy("SUPPORTS", ["REFUTES"], FEVER) == 0.0
    assert label_accuracy("not enough info", ["NEI"], FEVER) == 1.0
    assert label_accuracy("nonsense", ["nonsense"], FEVER) == 0.0


def test_str_em_is_the_share_of_readings():
    pairs = [{"short_answers": ["Bern", "Berne"]}, {"short_answers": ["Basel"]}, {"short_answers": ["Chur"]}, {"question": "?"}]
    assert str_em("From Berne to Chur.", pairs) == pytest.approx(2 / 3)
    assert str_em("", pairs) == 0.0
    assert str_em("Bern", []) == 0.0


def test_table_metrics_read_gold_from_meta():
    asqa = task_of("asqa")
    meta = {"qa_pairs": [{"short_answers": ["Bern"]}, {"short_answers": ["Basel"]}], "long_answers": ["from bern to basel"]}
    assert METRICS["str_em"]("Basel", ["Bern"], meta, asqa) == 0.5
    assert METRICS["rouge_l"]("from bern to basel", ["nothing"], meta, asqa) == 1.0
    assert METRICS["str_em"]("Bern", ["Bern", "Basel"], {}, asqa) == 1.0
    assert METRICS["rouge_l"]("nothing", ["nothing"], {}, asqa) == 1.0
    assert METRICS["accuracy"]("refuted", ["REFUTES"], {}, task_of("fever")) == 1.0


@pytest.mark.parametrize(
    ("selected", "gold", "precision", "recall", "f1"),
    [
        ("abc", "ad", 1 / 3, 1 / 2, 0.4),
        ("ab", "ba", 1.0, 1.0, 1.0),
        ("a", "abcd", 1.0, 0.25, 0.4),
        ("cd", "ab", 0.0, 0.0, 0.0),
        ("", "ab", 0.0, 0.0, 0.0),
        ("", "", 1.0, 1.0, 1.0),
        ("a", "", 0.0, 0.0, 0.0),
    ],
)
def test_selection_scores(selected, gold, precision, recall, f1):
    assert selection_scores(selected, gold) == pytest.approx({"precision": precision, "recall": recall, "f1": f1})


@quick
@given(st.sets(st.sampled_from("abcdef")), st.sets(st.sampled_from("abcdef")))
def test_selection_f1_is_symmetric(one, other):
    forward, back = selection_scores(one, other), selection_scores(other, one)
    assert forward["f1"] == pytest.approx(back["f1"])
    assert forward["precision"] == back["recall"]
    assert (
        min(forward["precision"], forward["recall"])
        <= forward["f1"] + 1e-9
        <= max(forward["precision"], forward["recall"]) + 2e-9
    )


def test_option_a():
    assert label_accuracy("A", ["A"], LETTERS) == 1.0
    assert label_accuracy("The answer is A.", ["A"], LETTERS) == 1.0


def test_answer_without_normal_form_matches_itself():
    assert exact_match("The The", ["The The"]) == 1.0
    assert exact_match("A", ["A"]) == 1.0


def test_rouge_of_an_answer_in_another_script():
    assert rouge_l("Дунай", ["Дунай"]) == 1.0


@given(
    text=st.lists(
        st.sampled_from(["the", "The", "a", "An", "the-end", "_the_", "U.S.", "x", "\x00the", "the\x1ca", " ", "\t"])
    ).map(" ".join)
)
def test_plain_text_is_normalised_as_squad_does(text: str) -> None:
    # A letter beyond ASCII, that is no part of a word around it, sends the text the slower way.
    assert normalize(text) == normalize(f"{text} é").removesuffix("é").rstrip()
