"""From scores to numbers, tests and findings."""

import numpy as np
import pytest
from numpy.testing import assert_allclose
from numpy.typing import NDArray

from upright.audit.membership.evaluate import (
    AUC,
    Sample,
    by_group,
    comparisons,
    findings,
    holm,
    metrics,
)
from upright.run.evidence import Metric

Floats = NDArray[np.float64]


def sample(
    n: int = 400, shift: float = 0.0, blind: float = 0.0, seed: int = 0, more: dict[str, Floats] | None = None
) -> Sample:
    """Half members with normal scores, moved by `shift`; a blind score moved by `blind`; two groups."""
    rng = np.random.default_rng(seed)
    member = np.arange(n) < n // 2
    scores = {"loss": rng.normal(size=n) + shift * member, **(more or {})}
    groups: list[str | None] = ["ab"[i % 2] for i in range(n)]
    return Sample([str(i) for i in range(n)], member, groups, scores, rng.normal(size=n) + blind * member)


def verdicts(s: Sample, smallest: int = 30) -> list[str]:
    return [finding.verdict for finding in findings(s, metrics(s, smallest), smallest)]


def find(found: list[Metric], name: str, split: str) -> Metric:
    (metric,) = [m for m in found if (m.name, m.split) == (name, split)]
    return metric


def test_holm_by_hand() -> None:
    """.01·4, then max(.04, .02·3), max(.06, .04·2), max(.08, .05·1)."""
    assert_allclose(holm([0.05, 0.01, 0.04, 0.02]), [0.08, 0.04, 0.08, 0.06])
    assert_allclose(holm([0.6, 0.9]), [1.0, 1.0])
    assert holm([]).size == 0


def test_verdicts() -> None:
    assert verdicts(sample()) == ["clear", "clear"]
    assert verdicts(sample(shift=1.0)) == ["clear", "concern"]
    assert verdicts(sample(shift=1.0, blind=0.5)) == ["void", "void"]
    assert verdicts(sample(n=58, shift=3.0)) == ["undecided", "undecided"]


def test_every_finding_is_void_if_the_sides_differ_in_law() -> None:
    found = findings(sample(blind=1.0), metrics(sample(blind=1.0), 30), 30)
    assert [finding.item for finding in found] == ["privacy.membership-blind", "privacy.membership"]
    assert all("differ in law" in finding.text for finding in found)


def test_nothing_is_found_by_chance_too_often() -> None:
    """Eight attacks on nothing: a concern in at most 5 % of 200 audits (three errors: 4.6 points)."""
    wrong = 0
    for seed in range(200):
        rng = np.random.default_rng(1000 + seed)
        s = sample(n=640, seed=seed, more={f"attack {i}": rng.normal(size=640) for i in range(7)})
        wrong += min(c.p for c in comparisons(s)) <= 0.05
    assert wrong / 200 <= 0.05 + 0.046


def test_strongest_attack_comes_first_and_gaps_are_empty_scores_proof() -> None:
    strong = np.where(np.arange(400) < 200, 3.0, 0.0) + np.random.default_rng(1).normal(size=400)
    strong[::7] = np.nan
    found = metrics(sample(more={"better": strong}), 30)
    areas = [m for m in found if m.name == AUC and ", " not in m.split]
    assert [m.split for m in areas] == ["better", "loss"]
    assert areas[0].n == 400 - len(range(0, 400, 7))
    silent = metrics(sample(more={"mute": np.full(400, np.nan)}), 30)
    assert find(silent, AUC, "mute").value is None


def test_groups_and_their_gap() -> None:
    """Group a leaks (AUC Φ(2 / √2) = .92), group b does not (½): the gap's interval holds .42 and not 0."""
    n = 1600
    leak = 2.0 * ((np.arange(n) % 2 == 0) & (np.arange(n) < n // 2))
    s = sample(n=n, seed=4)
    s = s._replace(scores={"loss": s.scores["loss"] + leak})
    found = by_group(s, ["loss"], 30)
    a, b = find(found, AUC, "loss, a"), find(found, AUC, "loss, b")
    assert (a.ci_low or 0) < 0.9214 < (a.ci_high or 0)
    assert (b.ci_low or 0) < 0.5 < (b.ci_high or 0)
    gap = find(found, f"gap of {AUC} between groups", "loss")
    assert gap.value == pytest.approx((a.value or 0) - (b.value or 0))
    assert 0 < (gap.ci_low or 0) < 0.4214 < (gap.ci_high or 0)
    power = find(found, "gap of TPR at 1 % FPR between groups", "loss")
    assert (power.ci_low or 0) > 0.1
    own = find(found, "TPR at 1 % FPR of the group", "loss, a")
    assert own.value is not None
    assert own.n == 400


@pytest.mark.parametrize("size", [29, 30])
def test_small_groups_have_no_number(size: int) -> None:
    s = sample()
    group = ["c" if i < size or 200 <= i < 200 + size else "d" for i in range(400)]
    found = by_group(s._replace(group=list(group)), ["loss"], 30)
    assert (find(found, AUC, "loss, c").value is None) is (size < 30)
    assert any("between groups" in m.name for m in found) is (size >= 30)


def test_simultaneous_gap_covers_without_a_gap() -> None:
    """Five equal groups: the interval of the range holds 0 in at least 95 % of 100 audits, though its value is not."""
    held, values = 0, []
    for seed in range(100):
        s = sample(n=600, shift=0.5, seed=seed)
        s = s._replace(group=["abcde"[i % 5] for i in range(600)])
        gap = find(by_group(s, ["loss"], 30), f"gap of {AUC} between groups", "loss")
        held += gap.ci_low == 0.0
        values.append(gap.value or 0)
    assert held >= 95
    assert np.mean(values) > 0.05
