"""What is concluded from planted and from absent effects; a direction is quoted only where it is shown."""

import math
from collections.abc import Sequence

import numpy as np
import pytest

from upright.audit.interplay import conclude
from upright.audit.interplay.attacks import DISCREPANCY, LOSS, direction
from upright.audit.interplay.grid import PROBES, Cell
from upright.audit.interplay.measure import Estimate
from upright.audit.interplay.sheet import Sheet

PLAIN, FAIR = Cell(math.inf, "none"), Cell(math.inf, "parity")
STRICT = Cell(1.0, "none")
NAMES = ["a", "b"]


def estimate(point: Sequence[float], error: float = 0.01, seed: int = 0) -> Estimate:
    """Groups at `point` with a normal bootstrap of that standard error."""
    draws = np.random.default_rng(seed).normal(size=(2000, len(point))) * error + np.array(point)
    return Estimate(np.vstack([np.array([point]), draws]), np.full(len(point), 500))


def sheet(
    lost: Sequence[float] = (0.0, 0.0),
    clipped: Sequence[float] = (0.3, 0.3),
    auc: Sequence[float] = (0.5, 0.5),
    fair: Sequence[float] = (0.5, 0.5),
    apart: Sequence[float] = (0.5, 0.5),
    probed: float = 0.5,
) -> Sheet:
    cells = [PLAIN, FAIR, STRICT]
    areas = {(cell, LOSS): estimate(fair if cell is FAIR else auc) for cell in cells}
    areas[FAIR, DISCREPANCY] = estimate(apart, seed=1)
    return Sheet(
        names=NAMES,
        utility={},
        overall={cell: estimate([0.8]) for cell in cells},
        narrowed={},
        lost={(STRICT, "accuracy"): estimate(lost, error=0.5)},
        tension={(cell, "clipped"): estimate(clipped) for cell in cells},
        bias={},
        auc=areas,
        directions={FAIR: -1 if apart[0] < 0.5 else 1},
        tpr={},
        tpr_global={},
        probes={(cell, name): estimate([probed]) for cell in cells for name in PROBES},
        shuffled={},
        raw={},
    )


def test_nothing_there_nothing_found() -> None:
    """All five are clear, and none of the texts says which group, or that anything rises or is weaker."""
    for finding in conclude.findings(sheet()):
        assert finding.verdict == "clear"
        assert "shown" in finding.text
        assert "more for" not in finding.text


def test_a_loss_of_five_points_in_one_group_is_found_with_its_interval() -> None:
    """Difference 5, standard error ½√2: 5 ± 1.96 · .707 = 3.6 to 6.4 with one private cell."""
    found = conclude.utility(sheet(lost=[0.0, 5.0]))
    assert found.verdict == "concern"
    assert "5 points (3.59 to 6.41 points, n 1,000)" in found.text
    assert "at ε 1, none, more for b than for a" in found.text


@pytest.mark.parametrize(
    ("change", "item"),
    [({"clipped": [0.3, 0.5]}, 1), ({"auc": [0.5, 0.6]}, 2), ({"probed": 0.7}, 3)],
)
def test_planted_effects_are_found(change: dict[str, Sequence[float]], item: int) -> None:
    assert conclude.findings(sheet(**change))[item].verdict == "concern"  # type: ignore[arg-type]


def test_an_attack_that_grows_under_a_constraint_is_found() -> None:
    found = conclude.fair_to_privacy(sheet(auc=[0.55, 0.55], fair=[0.65, 0.55]))
    assert found.verdict == "concern"
    assert "AUC rises by 0.1 " in found.text
    assert "loss attack, ε ∞, parity, a" in found.text


def test_a_discrepancy_of_the_other_direction_is_told_as_such() -> None:
    """AUC 0.3: turned around it is 0.7, 0.1 above the loss attack on the plain model."""
    found = conclude.fair_to_privacy(sheet(auc=[0.6, 0.6], fair=[0.5, 0.5], apart=[0.3, 0.3]))
    assert found.verdict == "concern"
    assert "rises by 0.1 " in found.text
    assert "weaker on a fair model, by 0.1 " in found.text
    assert "differ less between the fair and the plain model, not more" in found.text
    assert "below 0.5 by 0.2 " in found.text


def test_without_private_cells_or_constraints_the_question_is_open() -> None:
    alone = sheet()
    alone = Sheet(**{**alone.__dict__, "overall": {PLAIN: alone.overall[PLAIN]}})
    assert conclude.utility(alone).verdict == "undecided"
    assert conclude.fair_to_privacy(alone).verdict == "undecided"


def test_groups_without_numbers_leave_the_question_open() -> None:
    assert conclude.utility(sheet(lost=[0.0, math.nan])).verdict == "undecided"


def test_direction_is_that_of_the_references() -> None:
    member = np.array([[True, True, False, False]])
    score = np.array([[0.1, 0.2, 0.3, 0.4]])
    assert direction(score, member) == -1
    assert direction(-score, member) == 1
    assert direction(score[:0], member[:0]) == 1
