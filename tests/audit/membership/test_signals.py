"""Every signal of a text by hand, against naive twins, and at the ends of its range."""

import zlib

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from upright.audit.membership import signals

NAN = np.nan
LOG_P = np.array([[-1.0, -3.0, -2.0, -6.0], [-4.0, -1.0, NAN, NAN]])


@st.composite
def ragged(draw: st.DrawFn) -> NDArray[np.float64]:
    """Rows of log-probabilities of different lengths."""
    values = draw(arrays(float, (3, 9), elements=st.floats(-20, 0)))
    for row, length in enumerate(draw(st.lists(st.integers(1, 9), min_size=3, max_size=3))):
        values[row, length:] = NAN
    return values


def test_loss_by_hand() -> None:
    """−(1 + 3 + 2 + 6) / 4 and −(4 + 1) / 2."""
    assert_allclose(signals.loss(LOG_P), [-3.0, -2.5])


@given(ragged())
@settings(deadline=None, max_examples=50)
def test_min_k_at_100_percent_is_minus_the_loss(log_p: NDArray[np.float64]) -> None:
    assert_allclose(signals.min_k(log_p, 100), signals.loss(log_p), atol=1e-12)


@given(ragged(), st.sampled_from([5.0, 20.0, 33.0, 60.0]))
@settings(deadline=None, max_examples=50)
def test_min_k_equals_one_text_at_a_time(log_p: NDArray[np.float64], k: float) -> None:
    for row, found in zip(log_p, signals.min_k(log_p, k), strict=True):
        values = sorted(row[~np.isnan(row)])
        kept = max(1, int(len(values) * k / 100))
        assert_allclose(found, np.mean(values[:kept]))


def test_min_k_plus_by_hand() -> None:
    """z = (ln p − mean) / sd: (−1 + 2) / 1 = 1, (−3 + 2) / 2 = −½; sd 0 gives 0. Half of three is one: −½."""
    log_p, mean, sd = np.array([[-1.0, -3.0, -5.0]]), np.array([[-2.0, -2.0, -5.0]]), np.array([[1.0, 2.0, 0.0]])
    assert_allclose(signals.min_k_plus(log_p, mean, sd, 50), [-0.5])
    assert_allclose(signals.min_k_plus(log_p, mean, sd, 100), [0.5 / 3])


@given(ragged(), st.integers(1, 12))
@settings(deadline=None, max_examples=50)
def test_window_equals_all_windows(log_p: NDArray[np.float64], size: int) -> None:
    for row, found in zip(log_p, signals.window(log_p, size), strict=True):
        values = row[~np.isnan(row)]
        width = min(size, len(values))
        best = max(values[i : i + width].mean() for i in range(len(values) - width + 1))
        assert_allclose(found, best, atol=1e-9)


def test_reference_counts_in_tokens_of_the_audited_model() -> None:
    """Totals −10 against −12 and −16 over 4 tokens: (−10 + 14) / 4."""
    assert_allclose(signals.reference([-10.0], [[-12.0], [-16.0]], [4]), [1.0])


def test_lower_case_leaves_out_what_is_lower_already() -> None:
    lowered = np.array([[-2.0, -4.0, -3.0, -7.0], [-4.0, -1.0, NAN, NAN]])
    found = signals.lower_case(LOG_P, lowered, np.array([True, False]))
    assert_allclose(found, [1.0, NAN])


def test_zlib_divides_by_bytes() -> None:
    texts = ["a" * 300, "é"]
    assert_allclose(signals.compressed(texts), [len(zlib.compress(b"a" * 300)), len(zlib.compress("é".encode()))])
    assert_allclose(signals.zlib_ratio(LOG_P, texts), np.array([-12.0, -5.0]) / signals.compressed(texts))


def test_recall_by_hand() -> None:
    """l = 3 alone and 4 after the prefix: 4 / 3, above 1 for a text that the prefix hurts; l = 0 says nothing."""
    after = LOG_P - 1
    assert_allclose(signals.recall(LOG_P, after), [4 / 3, 3.5 / 2.5])
    assert np.isnan(signals.recall(np.zeros((1, 2)), after[:1, :2])).all()


def test_neighbour_by_hand() -> None:
    """Copies with mean ln p −4 and −6: l rises from 3 to 5 on average."""
    assert_allclose(signals.neighbour(LOG_P[:1], np.array([[-4.0, -6.0]])), [2.0])


def test_copies_differ_where_they_should_and_nowhere_else() -> None:
    """A third of six tokens is two; replacements come from their own place and copy, the first token stays."""
    row = [7, 1, 2, 3, 4, 5, 6]
    drawn = 100 * np.arange(1, 7)[None, :, None] + np.arange(4)[None, None, :]
    copies = signals.altered_rows([row], drawn, 1 / 3, np.random.default_rng(0))
    assert len(copies) == 4
    for j, copy in enumerate(copies):
        changed = [i for i in range(7) if copy[i] != row[i]]
        assert len(changed) == 2
        assert all(copy[i] == 100 * i + j for i in changed)
    assert signals.altered_rows([row], drawn, 0.0, np.random.default_rng(0))[0] != row  # at least one


@pytest.mark.parametrize("k", [0.0, 101.0])
def test_k_is_a_percentage(k: float) -> None:
    with pytest.raises(ValueError, match="in percent"):
        signals.min_k(LOG_P, k)


def test_a_text_without_tokens_is_refused() -> None:
    with pytest.raises(ValueError, match="1 of 1 texts have no predicted token"):
        signals.loss(np.array([[NAN]]))


def test_dc_pdd_by_hand() -> None:
    """Predicted tokens 1, 2, 1 with p 0.5, 0.001, 0.9, corpus shares 1/4 and 1/2: token 1 counts once, with p 0.5.

    0.5 ln 4 = 0.69 is cut at 0.01; 0.001 ln 2 = 0.000693. The second text has one predicted token, 2.
    """
    log_p = np.log([[0.5, 0.001, 0.9], [0.001, np.nan, np.nan]])
    frequency = np.log([0.25, 0.25, 0.5])
    found = signals.dc_pdd(log_p, [[0, 1, 2, 1], [1, 2]], frequency)
    assert_allclose(found, [(0.01 + 0.001 * np.log(2)) / 2, 0.001 * np.log(2)])
    assert_allclose(
        signals.dc_pdd(log_p, [[0, 1, 2, 1], [1, 2]], frequency, most=9)[0], (np.log(2) + 0.001 * np.log(2)) / 2
    )
