import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.run.measures import nearest
from upright.run.measures.words import Passages


@given(st.lists(st.lists(st.sampled_from("abcd"), max_size=6).map(" ".join), min_size=2, max_size=8), st.integers(1, 5))
def test_jaccard_against_sets(texts: list[str], k: int) -> None:
    matrix = Passages(texts).sets(1)
    sets = [set(text.split()) for text in texts]
    found = nearest.mean_jaccard(matrix[:1], matrix[1:], k)
    likeness = sorted((len(sets[0] & b) / max(1, len(sets[0] | b)) for b in sets[1:]), reverse=True)
    assert found[0] == pytest.approx(np.mean(likeness[:k]), abs=1e-6)


@pytest.mark.parametrize("at_once", [1, 7, 10**6])
def test_parts_change_nothing(at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nearest, "AT_ONCE", at_once)
    rng = np.random.default_rng(1)
    own, others = rng.normal(size=(9, 3)), rng.normal(size=(5, 3))
    cosine = own @ others.T / np.linalg.norm(own, axis=1)[:, None] / np.linalg.norm(others, axis=1)
    found = nearest.nearest(own, others)
    assert found.row.tolist() == cosine.argmax(1).tolist()
    assert found.distance == pytest.approx(1 - cosine.max(1))
    matrix = Passages([" ".join(row) for row in rng.choice([*"abcdef"], (9, 4))]).sets(2)
    assert nearest.mean_jaccard(matrix, matrix, 1) == pytest.approx(np.ones(9))


def test_a_vector_that_is_not_finite_is_named() -> None:
    with pytest.raises(ValueError, match="first: row 1"):
        nearest.nearest([[1.0, 0.0], [np.nan, 0.0]], [[1.0, 0.0]])
