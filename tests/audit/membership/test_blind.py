"""The blind check is at chance where there is nothing to see, and sees what there is."""

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from upright.audit.membership.blind import MEASURES, blind_table, blind_texts, table_features, text_measures
from upright.audit.membership.evaluate import Sample, blind, is_void
from upright.run.evidence import Metric

WORDS = ["red", "blue", "green", "cat", "dog", "bird", "runs", "sings", "sleeps", "now"]


def check(scores: NDArray[np.float64], member: NDArray[np.bool_]) -> Metric:
    return blind(Sample([], member, [], {}, scores))


def sentences(n: int, rng: np.random.Generator) -> list[str]:
    return [" ".join(rng.choice(WORDS, rng.integers(4, 12))) for _ in range(n)]


def test_at_chance_for_texts_of_one_law() -> None:
    """Void by mistake (interval above ½) in 2.5 % of cases at most: 3 of 20 with 99.9 % probability."""
    rng = np.random.default_rng(0)
    wrong = 0
    for seed in range(20):
        member = rng.permutation(120) < 60
        wrong += is_void(check(blind_texts(sentences(120, rng), member, 5, seed), member))
    assert wrong <= 3


def test_at_chance_for_tables_with_many_columns() -> None:
    """Sixty columns of noise: the plain interval of DeLong would be above ½ in some 9 % of cases, this one is not.

    Of 60 at 2.5 %, at most 6 with 99.9 % probability.
    """
    rng = np.random.default_rng(3)
    wrong = 0
    for seed in range(60):
        member = rng.permutation(200) < 100
        frame = pl.DataFrame({f"x_{i}": rng.normal(size=200) for i in range(60)})
        wrong += is_void(check(blind_table(frame, member, 5, seed), member))
    assert wrong <= 6


def test_the_interval_is_one_and_a_half_times_as_wide() -> None:
    """Five folds: variance times 1 + 5 / 4 = 1.5². Members 3, 1, others 2, 0: AUC ¾, error √⅛, on the logit scale."""
    found = check(np.array([3.0, 1.0, 2.0, 0.0]), np.array([True, True, False, False]))
    half = 1.959964 * 1.5 * np.sqrt(0.125) / (0.75 * 0.25)
    assert found.value == 0.75
    assert found.ci_low == pytest.approx(1 / (1 + np.exp(half - np.log(3))))


def test_sees_a_word_and_a_length() -> None:
    rng = np.random.default_rng(1)
    member = np.arange(200) < 100
    texts = sentences(200, rng)
    for changed in (
        [t.replace("cat", "owl") if m else t for t, m in zip(texts, member, strict=True)],
        [f"{t} {t}" if m else t for t, m in zip(texts, member, strict=True)],
    ):
        assert is_void(check(blind_texts(changed, member, 5, 0), member))


def test_measures_by_hand() -> None:
    found = dict(zip(MEASURES, text_measures(["Ab, 12\ncd"])[0], strict=True))
    assert_allclose([found["characters"], found["words"]], np.log1p([9, 3]))
    shares = [found[name] for name in ("upper case", "digits", "punctuation", "lines", "word length")]
    assert_allclose(shares, [1 / 9, 2 / 9, 1 / 9, 1 / 9, 3.0])


def test_table_sees_numbers_and_words_and_nothing_in_nothing() -> None:
    rng = np.random.default_rng(2)
    member = np.arange(200) < 100
    noise = pl.DataFrame({"x": rng.normal(size=200), "w": rng.choice(["a", "b"], 200)})
    for column in (pl.Series("x", rng.normal(size=200) + member), pl.Series("w", np.where(member, "a", "c"))):
        assert is_void(check(blind_table(noise.with_columns(column), member, 5, 0), member))
    assert (blind_table(noise.select([]), member, 5, 0) == 0).all()


def test_table_features_by_hand() -> None:
    """Numbers to mean 0 and deviation 1, a gap to the mean; words one-hot in sorted order."""
    frame = pl.DataFrame({"x": [1.0, None, 3.0], "w": ["b", None, "a"]})
    root = np.sqrt(1.5)
    assert_allclose(table_features(frame), [[-root, 0, 0, 1], [0, 1, 0, 0], [root, 0, 1, 0]], atol=1e-12)
