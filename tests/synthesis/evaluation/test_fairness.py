import numpy as np
import pytest

from upright.run.evidence import Metric
from upright.synthesis.evaluation.fairness import Judged, by_group, drawn
from upright.synthesis.evaluation.scores import resampled_sets

N = 40


def judged(real: list[int], said: list[int], classes: int = 2) -> Judged:
    return Judged("label", np.array(real), {"synthetic": np.array(said)}, classes, resampled_sets(len(real), 400, 0))


def named(metrics: list[Metric], name: str) -> Metric:
    return next(metric for metric in metrics if metric.name == f"label by sex: {name}")


def ends(metric: Metric) -> tuple[float, float]:
    assert metric.ci_low is not None
    assert metric.ci_high is not None
    return metric.ci_low, metric.ci_high


def example() -> tuple[list[Metric], list[str]]:
    """Group a: 20 positive of which 16 found, 20 negative of which 2 said; b: 20 of which 8, 20 of which 6."""
    real = [1] * 20 + [0] * 20 + [1] * 20 + [0] * 20
    said = [1] * 16 + [0] * 4 + [1] * 2 + [0] * 18 + [1] * 8 + [0] * 12 + [1] * 6 + [0] * 14
    return by_group(judged(real, said), "sex", ["a"] * N + ["b"] * N)


def test_rates_and_gaps_by_hand() -> None:
    """TPR 0.8 and 0.4 (all 0.6), FPR 0.1 and 0.3 (all 0.2), accuracy 34/40 and 22/40."""
    metrics, limits = example()
    assert not limits
    expected = {
        "accuracy of a": 34 / 40,
        "true positive rate of a": 0.8,
        "true positive rate of b": 0.4,
        "false positive rate of b": 0.3,
        "range of accuracy": 12 / 40,
        "equalised odds difference": 0.4,
        "FPED": 0.1 + 0.1,
        "FNED": 0.2 + 0.2,
    }
    for name, value in expected.items():
        found = named(metrics, name)
        assert found.value == pytest.approx(value), name
        low, high = ends(found)
        assert low < value < high


def test_gaps_of_equal_groups_reach_zero() -> None:
    real, said = [1, 0] * 40, [1, 0, 0, 1] * 20
    metrics, _ = by_group(judged(real, said), "sex", ["a"] * N + ["b"] * N)
    for name in ("range of accuracy", "equalised odds difference", "FPED", "FNED"):
        assert named(metrics, name).value == pytest.approx(0)
        assert ends(named(metrics, name))[0] == 0


def test_a_small_group_gets_no_number() -> None:
    metrics, limits = by_group(judged([1, 0] * 30, [1, 0] * 30), "sex", ["a"] * 31 + ["b"] * 29)
    assert limits == ["Not enough data on sex = b: 29 test records; at least 30 are needed."]
    assert not any("of b" in metric.name or "range" in metric.name for metric in metrics)
    assert named(metrics, "accuracy of a").n == 31


def test_a_group_without_a_case_has_no_rate_and_no_gap() -> None:
    """Nobody of b is positive: no true positive rate there, so no odds to compare; accuracy stands."""
    real = [1, 0] * 20 + [0] * 40
    metrics, _ = by_group(judged(real, real), "sex", ["a"] * N + ["b"] * N)
    assert named(metrics, "true positive rate of b").value is None
    assert named(metrics, "equalised odds difference").value is None
    assert named(metrics, "false positive rate of b").value == 0
    assert named(metrics, "range of accuracy").value == 0


def test_an_interval_surrounds_its_value() -> None:
    found = drawn("x", np.array([0.5, 0.2, 0.4]), 10, "all", "proportion", "none")
    low, high = ends(found)
    assert low + high == pytest.approx(1.0)
    assert high - 0.5 == pytest.approx(1.96 * 0.02**0.5, rel=1e-3)  # s² = 2 · 0.1² with divisor 1
