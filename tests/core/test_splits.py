from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.splits import generator, split_of, training_part, unit_hash
from tests.builders import question, quick


@quick
@given(st.lists(st.one_of(st.text(), st.integers())))
def test_unit_hash_is_a_function_into_the_unit_interval(parts):
    assert 0.0 <= unit_hash(*parts) < 1.0
    assert unit_hash(*parts) == unit_hash(*parts)


def test_choices_never_change_between_versions():
    # The first 8 bytes of printf 'split\x1f0\x1fwhere does danube rise' | sha256sum.
    assert unit_hash("split", 0, "where does danube rise") == 0x416E1025F3A759BC / 2**64
    assert generator("order", 0, "q-1", 0).sample(range(8), 8) == [1, 3, 5, 7, 0, 4, 6, 2]


def test_order_of_the_parts_counts():
    assert unit_hash("a", "b") != unit_hash("b", "a")
    assert unit_hash("ab") != unit_hash("a", "b")


def test_generator_depends_on_its_parts_alone():
    first, again, other = generator("x", 1), generator("x", 1), generator("x", 2)
    drawn = first.random()
    assert other.random() != drawn
    assert again.random() == drawn


def test_own_split_wins():
    assert split_of(question(split="dev"), 0, 0.0) == "dev"
    assert split_of(question(split="train"), 0, 1.0) == "train"


def test_shares_at_their_ends():
    assert split_of(question(), 0, 0.0) == "train"
    assert split_of(question(), 0, 1.0) == "dev"
    assert training_part(question(), 0, 0.0) == "sft"
    assert training_part(question(), 0, 1.0) == "dpo"


def test_shares_are_met_on_average():
    asked = [question(id=str(n), question=f"What is {n}?") for n in range(1000)]
    # Three standard deviations of a share of 1000 are below 0.05.
    assert abs(Counter(split_of(q, 0, 0.1) for q in asked)["dev"] / 1000 - 0.1) < 0.05
    assert abs(Counter(training_part(q, 0, 0.33) for q in asked)["dpo"] / 1000 - 0.33) < 0.05


def test_same_question_falls_together_whatever_its_id_and_spelling():
    variants = [question(id="1", question="Where does the Danube rise?"), question(id="2", question="where does  Danube rise")]
    for seed in range(20):
        assert len({split_of(q, seed, 0.5) for q in variants}) == 1
        assert len({training_part(q, seed, 0.5) for q in variants}) == 1


def test_split_and_part_are_independent_draws():
    asked = [question(question=f"What is {n}?") for n in range(200)]
    assert {(split_of(q, 0, 0.5), training_part(q, 0, 0.5)) for q in asked} == {
        (split, part) for split in ("train", "dev") for part in ("sft", "dpo")
    }


def test_seed_moves_the_split():
    asked = [question(question=f"What is {n}?") for n in range(50)]
    assert [split_of(q, 0, 0.5) for q in asked] != [split_of(q, 1, 0.5) for q in asked]
