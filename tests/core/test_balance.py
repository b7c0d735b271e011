import pytest
from hypothesis import given
from hypothesis import strategies as st

from dynamicrag_cli.core.balance import kept_counts, left_out
from tests.builders import quick

counts = st.dictionaries(st.integers(0, 5), st.integers(1, 40), min_size=1)


@pytest.mark.parametrize(
    ("n", "none_share", "length_share", "kept"),
    [
        ({0: 60, 1: 30, 2: 10}, 1.0, 1.0, {0: 60, 1: 30, 2: 10}),
        # 17 / 57 is at most 0.3, 18 / 58 is above it.
        ({0: 60, 1: 30, 2: 10}, 0.3, 1.0, {0: 17, 1: 30, 2: 10}),
        ({1: 80, 2: 10, 3: 10}, 1.0, 0.5, {1: 20, 2: 10, 3: 10}),
        ({0: 5, 1: 80, 2: 10}, 0.0, 1.0, {0: 0, 1: 80, 2: 10}),
        ({1: 80}, 1.0, 0.5, {1: 0}),
        ({}, 0.5, 0.5, {}),
    ],
)
def test_kept(n, none_share, length_share, kept):
    assert kept_counts(n, none_share, length_share) == kept


@quick
@given(counts, st.floats(0, 1), st.floats(0, 1))
def test_no_length_has_more_than_its_share_and_more_could_not_stay(n, none_share, length_share):
    kept = kept_counts(n, none_share, length_share)
    caps = {k: min(none_share, length_share) if k == 0 else length_share for k in n}

    def holds(total):
        return sum(min(n[k], int(caps[k] * total + 1e-9)) for k in n) >= total

    assert all(kept[k] <= min(n[k], caps[k] * sum(kept.values()) + 1e-6) for k in n)
    assert max(total for total in range(sum(n.values()) + 1) if holds(total)) == sum(kept.values())


def test_who_goes_depends_on_seed_and_id_alone():
    lengths = {f"q-{number}": number % 4 and 1 for number in range(100)}
    gone = left_out(lengths, 0.1, 1.0, 0)
    assert len(gone) == 25 - 8
    assert all(lengths[name] == 0 for name in gone)
    assert gone == left_out(dict(reversed(lengths.items())), 0.1, 1.0, 0) != left_out(lengths, 0.1, 1.0, 1)
