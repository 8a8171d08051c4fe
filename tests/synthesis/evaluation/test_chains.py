import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.synthesis.evaluation.chains import conll, counts, f_scores

labels = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3)), min_size=1, max_size=9)


def grouped(persons: list[int]) -> list[set[int]]:
    return [{i for i, other in enumerate(persons) if other == person} for person in sorted(set(persons))]


def test_the_example_by_hand() -> None:
    """Key {a,b,c},{d,e}, system {a,b},{c,d,e}.

    MUC: 3 - 2 and 2 - 1 of 2 + 1 links, 2/3 either way. B3: a, b 2/3, c 1/3, d, e 1 of 5: 11/15. CEAF:
    2·2/5 + 2·2/5 = 8/5 over 2 chains.
    """
    found = counts([{"a", "b", "c"}, {"d", "e"}], [{"a", "b"}, {"c", "d", "e"}])
    assert f_scores(found).tolist() == pytest.approx([2 / 3, 11 / 15, 4 / 5])
    assert float(conll(found)) == pytest.approx(0.7333, abs=1e-4)


def test_a_mention_that_the_system_lacks() -> None:
    """Key {1,2,3}, system {1,2}: MUC R = (3 - 2)/2, P 1; B3 R = (2/3 + 2/3)/3, P 1; CEAF 4/5 of one chain each."""
    found = counts([{1, 2, 3}], [{1, 2}])
    assert found[..., 0].tolist() == [[1, 1], [pytest.approx(4 / 3), 2], [pytest.approx(4 / 5)] * 2]
    assert found[..., 1].tolist() == [[2, 1], [3, 2], [1, 1]]


@given(st.lists(st.integers(0, 3), min_size=2, max_size=9).filter(lambda p: len(set(p)) < len(p)))
def test_the_key_itself_is_perfect(persons: list[int]) -> None:
    assert f_scores(counts(grouped(persons), grouped(persons))).tolist() == pytest.approx([1, 1, 1])


@given(labels)
def test_changing_sides_changes_recall_for_precision(pairs: list[tuple[int, int]]) -> None:
    key, system = (grouped(list(column)) for column in zip(*pairs, strict=True))
    there, back = counts(key, system), counts(system, key)
    assert there[:, 0] == pytest.approx(back[:, 1])
    assert (f_scores(there) <= 1 + 1e-12).all()


@given(labels)
def test_b3_is_the_mean_over_mentions(pairs: list[tuple[int, int]]) -> None:
    key, system = (grouped(list(column)) for column in zip(*pairs, strict=True))
    naive = 0.0
    for i in range(len(pairs)):
        mine, theirs = (next(chain for chain in chains if i in chain) for chains in (key, system))
        naive += len(mine & theirs) / len(mine)
    assert counts(key, system)[1, 0].tolist() == pytest.approx([naive, len(pairs)])


def test_records_add_up() -> None:
    """Two records: one perfect chain of two, one missed chain of three. MUC R = 1/3, P = 1/1."""
    total = counts([{1, 2}], [{1, 2}]) + counts([{1, 2, 3}], [])
    assert f_scores(total)[0] == pytest.approx(2 * (1 / 3) / (1 / 3 + 1))


def test_nothing_at_all_scores_nothing() -> None:
    assert np.array_equal(f_scores(counts([], [])), np.zeros(3))
