import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from upright.run.evidence import (
    Change,
    Metric,
    changes,
    display,
    headline,
    interval,
    mean,
    overlap,
    paired_difference,
    perplexity,
    proportion,
    ratio,
    scalar,
    wilson,
)

# --- Wilson ---


def test_wilson_of_eight_in_ten() -> None:  # centre (0.8 + 1.9207/10) / 1.38415, half 1.96 / 1.38415 * 0.16
    metric = proportion("hits", 8, 10)
    assert (metric.value, metric.n, metric.unit) == (0.8, 10, "proportion")
    assert metric.ci_low == pytest.approx(0.4902, abs=5e-5)
    assert metric.ci_high == pytest.approx(0.9433, abs=5e-5)


def test_wilson_of_nothing_in_ten() -> None:  # the upper end is z^2 / (n + z^2) = 3.8415 / 13.8415
    assert wilson(0, 10) == pytest.approx((0.0, 3.8415 / 13.8415), abs=1e-4)


@given(st.integers(1, 500).flatmap(lambda n: st.tuples(st.integers(0, n), st.just(n))))
def test_wilson_holds_the_share_and_mirrors(case: tuple[int, int]) -> None:
    hits, n = case
    low, high = wilson(hits, n)
    assert 0 <= low <= hits / n <= high <= 1
    assert wilson(n - hits, n) == pytest.approx((1 - high, 1 - low), abs=1e-12)


def test_no_trials_give_no_number() -> None:
    metric = proportion("hits", 0, 0)
    assert (metric.value, metric.ci_low, metric.ci_high, metric.n) == (None, None, None, 0)


def test_more_hits_than_trials_are_refused() -> None:
    with pytest.raises(ValueError, match="hits=3 of n=2; must be 0 <= hits <= n"):
        proportion("hits", 3, 2)


# --- bootstrap ---


def test_bootstrap_of_two_values() -> None:  # means 0, 1/2, 1 with chances 1/4, 1/2, 1/4: both ends are reached
    metric = mean("loss", [0.0, 1.0])
    assert (metric.value, metric.ci_low, metric.ci_high, metric.n) == (0.5, 0.0, 1.0, 2)


def test_bootstrap_of_four_values() -> None:
    # one 1 among four: P(mean = 0) = (3/4)^4 = 32 %; P(mean = 1) = 0.4 % < 2.5 % < P(mean >= 3/4) = 5.1 %
    metric = mean("loss", [0.0, 0.0, 0.0, 1.0])
    assert (metric.ci_low, metric.ci_high) == (0.0, 0.75)


def test_bootstrap_does_not_depend_on_how_it_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    values = np.arange(50.0)
    whole = mean("x", values)
    monkeypatch.setattr("upright.run.evidence.DRAWS_AT_ONCE", 700)
    assert mean("x", values) == whole


def test_bootstrap_covers_the_truth_about_95_times_in_100() -> None:
    rng = np.random.default_rng(1)
    held = 0
    for seed in range(200):
        metric = mean("x", rng.normal(3.0, 2.0, 40), seed=seed)
        assert metric.ci_low is not None
        assert metric.ci_high is not None
        held += metric.ci_low <= 3.0 <= metric.ci_high
    assert 180 <= held <= 199  # 95 % of 200 is 190; 180 is more than three standard deviations below


def test_one_value_has_no_interval_and_none_has_no_value() -> None:
    assert mean("x", [2.0]) == Metric(name="x", value=2.0, n=1)
    assert mean("x", []) == Metric(name="x", value=None, n=0)


def test_a_value_that_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match=r"x: 1 of 3 values are not finite \(first: row 1\)"):
        mean("x", [1.0, math.nan, 2.0])


def test_paired_difference_sees_what_two_intervals_hide() -> None:
    before = np.arange(100.0)
    metric = paired_difference("gain", before, before + 1)
    assert (metric.value, metric.ci_low, metric.ci_high) == (1.0, 1.0, 1.0)
    assert overlap(mean("gain", before), mean("gain", before + 1))
    with pytest.raises(ValueError, match="3 values before but 2 after"):
        paired_difference("gain", [1, 2, 3], [1, 2])


def test_perplexity_by_hand() -> None:  # nats 2 and 4 over 2 tokens each: exp(6 / 4)
    metric = ratio("perplexity", [2.0, 4.0], [2, 2], transform=np.exp)
    assert metric.value == pytest.approx(math.exp(1.5))
    assert [metric.ci_low, metric.ci_high] == pytest.approx([math.e, math.exp(2)])


def test_perplexity_leaves_out_texts_of_one_token() -> None:
    assert perplexity("x", [2.0, 0.0], [2, 0]).value == pytest.approx(math.e)
    assert perplexity("x", [0.0], [0]).value is None


def test_ratio_weights_by_the_denominator() -> None:  # (1 + 9) / (1 + 3), not the mean of 1 and 3
    assert ratio("x", [1.0, 9.0], [1, 3]).value == 2.5
    with pytest.raises(ValueError, match="one denominator > 0"):
        ratio("x", [1.0], [0.0])


# --- metrics ---


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_metric_is_never_nan(value: float) -> None:
    with pytest.raises(ValidationError, match="finite"):
        scalar("x", value)


def test_an_interval_has_two_ends() -> None:
    with pytest.raises(ValidationError, match="both ends"):
        Metric(name="x", value=1.0, n=3, ci_low=0.5)


def test_the_fields_of_a_metric_are_those_of_the_contract() -> None:
    dump = scalar("time", 2.0, unit="s").model_dump()
    assert list(dump) == ["name", "stage", "split", "value", "n", "ci_low", "ci_high", "unit", "better"]


def accuracy(hits: int, stage: str, better: str = "higher") -> Metric:
    return Metric.model_validate({**proportion("acc", hits, 100).model_dump(), "stage": stage, "better": better})


@pytest.mark.parametrize(
    ("before", "after", "better", "verdict", "apart"),
    [
        (10, 90, "higher", "better", True),
        (90, 10, "higher", "worse", True),
        (90, 10, "lower", "better", True),
        (50, 52, "higher", "better", False),
        (50, 50, "higher", "none", False),
        (10, 90, "none", "none", True),
    ],
)
def test_changes(before: int, after: int, better: str, verdict: str, apart: bool) -> None:
    (row,) = changes([accuracy(before, "before", better), accuracy(after, "after", better)])
    assert (row.verdict, row.apart) == (verdict, apart)
    assert row.delta == pytest.approx((after - before) / 100)


def test_changes_pair_by_name_and_split() -> None:
    metrics = [
        accuracy(1, "before"),
        scalar("time", 2.0),
        accuracy(2, "after"),
        proportion("acc", 1, 2, split="x"),
    ]
    assert [(row.name, row.split) for row in changes(metrics)] == [
        ("acc", "all"),
        ("time", "all"),
        ("acc", "x"),
    ]


def test_the_headline_is_the_first_change() -> None:
    row = headline([scalar("time", 2.0), accuracy(1, "before"), accuracy(2, "after")])
    assert isinstance(row, Change)
    assert row.name == "acc"
    assert headline([]) is None


# --- reading ---


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (0.9433, "proportion", "94.3 %"),
        (12, "B", "12 B"),
        (999, "bytes", "999 B"),
        (2_100_000, "bytes", "2.1 MB"),
        (7.25e9, "bytes", "7.2 GB"),
        (0.0123, "s", "0.0123 s"),
        (331, "s", "6 min"),
        (7500, "s", "2 h 5 min"),
        (123456.7, "tokens", "123,457 tokens"),
        (10.47, "", "10.5"),
        (-3, "", "−3"),
        (0, "", "0"),
        (None, "s", "–"),
    ],
)
def test_display(value: float | None, unit: str, text: str) -> None:
    assert display(value, unit) == text


def test_display_of_a_change() -> None:
    assert display(0.5, "proportion", signed=True) == "+50.0 points"
    assert display(-0.5, "proportion", signed=True) == "−50.0 points"


def test_an_interval_says_its_unit_once() -> None:
    assert interval(proportion("hits", 8, 10)) == "49.0 – 94.3 %"
    assert interval(scalar("time", 2.0, unit="s")) == ""
    assert interval(Metric(name="x", value=1.0, n=2, ci_low=-0.5, ci_high=2.0)) == "−0.5 – 2"
