import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.errors import UsageError
from dynamicrag_cli.core.rewards import TERMS, length_reward, length_terms, parse_judgement, parse_weights, total
from tests.builders import quick
from tests.samples import ROOT

PAPER_WEIGHTS = {"em": 0.2, "bertscore": 0.2, "rouge": 0.2, "length": 0.2, "judge": 0.2}


@pytest.mark.parametrize(
    "text", ["em=0.4 rouge=0.4 length=0.2", "em=0.4,rouge=.4,length=2e-1", " em=0.4,  rouge=0.4\nlength=0.2 "]
)
def test_parse_weights(text):
    assert parse_weights(text) == {"em": 0.4, "rouge": 0.4, "length": 0.2}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "unknown reward term ''"),
        ("rogue=1", "Did you mean 'rouge'"),
        ("em", "'em' is not NAME=NUMBER"),
        ("em=much", "'em=much' is not NAME=NUMBER"),
        ("em=-1", "at least 0"),
        ("em=nan", "finite"),
        ("em=inf", "finite"),
        ("em=0 rouge=0", "every reward weight is 0"),
    ],
)
def test_wrong_weights_are_refused(text, message):
    with pytest.raises(UsageError, match=message):
        parse_weights(text)


def test_the_papers_pipeline_has_the_papers_weights():
    pipeline = yaml.safe_load((ROOT / "pipelines/llama3_8b.yaml").read_text(encoding="utf-8"))
    assert parse_weights(pipeline["reward"]["weights"]) == PAPER_WEIGHTS


def test_length_reward():
    assert [length_reward(k) for k in (0, 1, 3, 15)] == [1.0, 0.5, 0.25, 0.0625]


def test_length_terms():
    assert length_terms(3, 300, "two words") == {"length": 0.25, "length_tokens": 0.25, "length_answer": pytest.approx(1 / 3)}
    assert length_terms(0, None, "") == {"length": 1.0, "length_tokens": None, "length_answer": 1.0}


def test_total_is_the_weighted_sum():
    terms = {"em": 1.0, "bertscore": 0.9, "rouge": 0.5, "length": 0.25, "judge": 0.8}
    assert total(terms, PAPER_WEIGHTS) == pytest.approx(0.69)
    assert total(terms, {"em": 0.4, "rouge": 0.4, "length": 0.2}) == pytest.approx(0.65)


@pytest.mark.parametrize("terms", [{"em": None, "rouge": 1.0}, {"rouge": 1.0}])
def test_total_without_a_weighted_term_is_none(terms):
    assert total(terms, {"em": 0.5, "rouge": 0.5}) is None


def test_term_without_weight_may_fail():
    assert total({"em": 1.0, "judge": None}, {"em": 0.5, "judge": 0.0, "bertscore": 0.0}) == 0.5


@quick
@given(st.fixed_dictionaries({name: st.floats(0, 1) for name in TERMS}))
def test_total_under_paper_weights_is_between_0_and_1(terms):
    assert 0.0 <= total(terms, PAPER_WEIGHTS) <= 1.0 + 1e-9


@pytest.mark.parametrize(
    ("reply", "value"),
    [
        ("85", 0.85),
        ("0", 0.0),
        ("100", 1.0),
        ("72.5", 0.725),
        ("**85**", 0.85),
        ("Score: 85/100", 0.85),
        ("Relevance 20, accuracy 15, clarity 10. Total: 45", 0.45),
        ("Total score: 90", 0.9),
        ("The sum is 60.", 0.6),
        ("20 + 20 + 15", None),
        ("120", None),
        ("1000", None),
        ("-5", None),
        ("excellent", None),
        ("", None),
        (None, None),
    ],
)
def test_judgement(reply, value):
    assert parse_judgement(reply) == value


@quick
@given(st.text())
def test_any_judgement_is_in_range_or_none(reply):
    value = parse_judgement(reply)
    assert value is None or 0.0 <= value <= 1.0


@quick
@given(st.integers(0, 100))
def test_every_grade_is_read(grade):
    assert parse_judgement(str(grade)) == parse_judgement(f"Score: {grade}") == grade / 100
