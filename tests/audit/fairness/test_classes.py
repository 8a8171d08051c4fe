"""Decisions among several classes: gaps of laws that hold together, and no verdict from a handful of records."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose

from upright.audit.fairness import counts as c
from upright.audit.fairness import verdict
from upright.audit.fairness.classes import class_gaps, class_metrics
from upright.audit.fairness.config import Config
from upright.audit.fairness.resample import simultaneous_distance, simultaneous_smirnov
from upright.run.measures.intervals import clopper_pearson, simultaneous_range

CONFIG = Config(table=Path("t.csv"), groups=["g"], label="y", prediction="said", draws=200, permutations=0)


def table(cells: np.ndarray) -> c.Table:
    """Cells (G, K, K) as a table without strata."""
    full = cells[:, None].astype(float)
    names = [str(i) for i in range(len(cells))]
    classes = [str(i) for i in range(cells.shape[1])]
    return c.Table("g", names, [""], classes, full, full, full.sum((1, 2, 3)), [(name,) for name in names])


def test_two_classes_give_the_range_of_a_rate() -> None:
    hits, n = np.array([40, 20, 33]), np.array([50, 40, 60])
    low, high = simultaneous_distance(np.stack([n - hits, hits], 1))
    assert_allclose((low, high), simultaneous_range(hits, n))


def test_distance_by_hand() -> None:
    """Laws (1, 0, 0) and (0, 0, 1) of 50: each share has its exact interval at 1 - .05/6, the ends of an empty or full
    share being 1 - (.05/12)^(1/50) off. Lower end: what is sure to be in class 0 of one and not of the other.
    """
    off = 1 - (0.05 / 12) ** (1 / 50)
    low, high = simultaneous_distance([[50, 0, 0], [0, 0, 50]])
    assert_allclose((low, high), (1 - 2 * off, 1.0))


def test_smirnov_by_hand() -> None:
    """Two groups of 100, distribution functions .3 apart: band √(ln(2·2/.05)/200) = .14803 each."""
    low, high = simultaneous_smirnov([[50, 50], [80, 20]])
    assert_allclose((low, high), (0.3 - 0.29606, 0.3 + 0.29606), atol=2e-5)


@pytest.mark.parametrize(("groups", "n", "classes"), [(2, 40, 3), (5, 100, 3), (8, 40, 4)])
def test_simultaneous_distances_cover(groups: int, n: int, classes: int) -> None:
    """100 laws drawn at random: both intervals hold the true largest distance in 95 and more."""
    rng = np.random.default_rng(groups)
    missed = np.zeros(2)
    for _ in range(100):
        law = rng.dirichlet(np.ones(classes), groups)
        counts = np.stack([rng.multinomial(n, one) for one in law])
        pairs = law[:, None] - law[None]
        truths = 0.5 * np.abs(pairs).sum(-1).max(), np.abs(np.cumsum(pairs, -1)).max()
        for i, interval in enumerate((simultaneous_distance(counts), simultaneous_smirnov(counts))):
            missed[i] += not interval.low - 1e-12 <= truths[i] <= interval.high + 1e-12
    assert (missed <= 5).all()


@pytest.mark.parametrize(("groups", "n", "classes"), [(2, 40, 3), (5, 100, 3), (10, 40, 4)])
def test_fair_tables_are_no_concern(groups: int, n: int, classes: int) -> None:
    """Distances of laws are biased upward: by their bootstrap alone most of these fair tables would be a concern."""
    rng = np.random.default_rng(0)
    for _ in range(20):
        cells = rng.multinomial(n, np.full(classes**2, classes**-2.0), size=groups).reshape(groups, classes, classes)
        assert {f.verdict for f in verdict.of_laws([table(cells)], CONFIG)} <= {"clear", "undecided"}


def test_one_record_of_a_label_is_not_compared() -> None:
    """Of label 2 group 1 has one record, which is decided otherwise than the 30 of group 0: no distance of 1."""
    cells = np.array([[[30, 0, 0], [0, 30, 0], [0, 0, 30]], [[30, 0, 0], [0, 30, 0], [1, 0, 0]]])
    assert class_gaps(table(cells), CONFIG)["odds distance"].value == 0.0


def test_small_groups_are_listed() -> None:
    cells = np.array([np.eye(3) * 20, np.eye(3) * 20, np.eye(3) * 2])
    found = {(m.name, m.split): m for m in class_metrics(table(cells), CONFIG, np.random.default_rng(0))}
    assert found["accuracy", "g: 0"].value == 1.0
    assert (found["accuracy", "g: 2"].value, found["accuracy", "g: 2"].n) == (None, 6)
    assert "1 with fewer than 30 records not compared" in verdict.of_laws([table(cells)], CONFIG)[0].text


def test_too_few_groups_are_undecided() -> None:
    found = verdict.of_laws([table(np.array([np.eye(3) * 20, np.eye(3) * 2]))], CONFIG)
    assert [f.verdict for f in found] == ["undecided"] * 2
    assert "not enough data" in found[0].text


def test_a_clear_gap_is_a_concern() -> None:
    """Class 0 for 300 of 300, against 150: half a law apart, however the rest is cut."""
    cells = np.zeros((2, 3, 3))
    cells[0, 0, 0], cells[1, 0, 0], cells[1, 0, 2] = 300, 150, 150
    parity = verdict.of_laws([table(cells)], CONFIG)[0]
    assert parity.verdict == "concern"
    low = clopper_pearson(150, 300, 0.025 / 6)[0] - (1 - (0.025 / 12) ** (1 / 300))  # class 2, sure of one, not of both
    assert f"0.500 (97.50 % interval {low:.3f} to" in parity.text
