"""Recourse: a rule whose ways out can be counted by hand."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from upright.audit.mitigate.recourse import CHOICE, COST, WAY, Action, flips, metrics, read_actions, recourse
from upright.errors import UserError
from upright.run.evidence import wilson
from upright.run.measures.intervals import range_of_means, simultaneous_range

ACTIONS = [Action("income", "+2", 5.0), Action("job", "yes", 3.0), Action("income", "-1", 0.0)]


def credit(frame: pl.DataFrame) -> np.ndarray:
    """Granted where income is 4 or more, a job counting 1."""
    return frame.select(pl.col("income") + (pl.col("job") == "yes") >= 4).to_series().to_numpy().astype(np.int64)


def people(a: list[int], b: list[int]) -> tuple[pl.DataFrame, np.ndarray]:
    """Incomes of two groups, all without a job."""
    return pl.DataFrame({"income": a + b, "job": "no"}), np.repeat([0, 1], [len(a), len(b)])


def test_ways_out_by_hand() -> None:
    """Incomes of a 3, 2, 5 and of b 1, 2, 3: at 3 both a raise and a job help, at 2 a raise alone, at 1 nothing; 5 is
    granted. Cheapest for a: 3 and 5, mean 4, standard error √2 / √2 = 1; for b the same, of two of three refused.
    """
    frame, group = people([3, 2, 5], [1, 2, 3])
    refused, turned = flips(credit, frame, ACTIONS)
    assert refused.tolist() == [True, True, False, True, True, True]
    assert turned.astype(int).tolist() == [[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 0, 0], [1, 1, 0]]
    found = recourse(refused, turned, np.array([5.0, 3.0, 0.0]), group, 2)
    assert (found.refused.tolist(), found.able.tolist()) == ([2, 3], [2, 2])
    assert found.choice[0].tolist() == [1.5, 1.0]
    assert found.cost.tolist() == [[4.0, 4.0], [1.0, 1.0]]


def test_metrics_are_those_of_the_people() -> None:
    rng = np.random.default_rng(0)
    frame, group = people(rng.integers(1, 6, 300).tolist(), rng.integers(0, 5, 300).tolist())
    refused, turned = flips(credit, frame, ACTIONS)
    found = {(m.name, m.split): m for m in metrics("m", ["a", "b"], recourse(refused, turned, COSTS, group, 2), 30)}
    able = [int((turned.any(1) & (group == g)).sum()) for g in (0, 1)]
    n = [int((refused & (group == g)).sum()) for g in (0, 1)]
    for i, name in enumerate("ab"):
        own = found[WAY, f"m: {name}"]
        assert [own.value, own.ci_low, own.ci_high] == pytest.approx([able[i] / n[i], *wilson(able[i], n[i])])
        assert found[COST, f"m: {name}"].n == able[i]
    gap = found[f"{WAY}, difference", "m"]
    low, high = simultaneous_range(able, n)
    assert [gap.value, gap.ci_low, gap.ci_high] == pytest.approx([abs(able[0] / n[0] - able[1] / n[1]), low, high])
    count = [turned.sum(1)[refused & (group == g)] for g in (0, 1)]
    means, errors = zip(*((c.mean(), c.std(ddof=1) / np.sqrt(len(c))) for c in count), strict=True)
    more = found[f"{CHOICE}, difference", "m"]
    assert [more.value, more.ci_low, more.ci_high] == pytest.approx([np.ptp(means), *range_of_means(means, errors)])


COSTS = np.array([5.0, 3.0, 0.0])


def test_no_way_out_for_anyone_keeps_some_room() -> None:
    """0 of 60: no cost is known, and the mean of 0 ways out lies between 0 - 3·3/60 and 0 + 3·3/60 (rule of three)."""
    frame, group = people([0] * 60, [0] * 60)
    found = {
        (m.name, m.split): m
        for m in metrics("m", ["a", "b"], recourse(*flips(credit, frame, ACTIONS), COSTS, group, 2), 30)
    }
    assert found[WAY, "m: a"].value == 0.0
    assert found[CHOICE, "m: a"].ci_high == pytest.approx(3 * 3 / 60)
    assert found[COST, "m: a"].value is None
    assert found[f"{COST}, difference", "m"].value is None


def test_too_few_refused_have_no_number() -> None:
    frame, group = people([5] * 50 + [2] * 5, [2] * 50)
    found = {
        (m.name, m.split): m
        for m in metrics("m", ["a", "b"], recourse(*flips(credit, frame, ACTIONS), COSTS, group, 2), 30)
    }
    assert (found[WAY, "m: a"].value, found[WAY, "m: a"].n) == (None, 5)
    assert found[f"{WAY}, difference", "m"].value is None


def test_actions_from_a_file_keep_their_signs(tmp_path: Path) -> None:
    """All changes look like numbers: +2 still adds, 2 is a new value."""
    path = tmp_path / "a.csv"
    path.write_text("feature,change,cost\nincome,+2,1\nincome,-1,0\nincome,2,.5\nincome,=-1,.5\n")
    frame, _ = people([3], [1])
    moved = [action(frame)["income"].to_list() for action in read_actions(path, frame)]
    assert moved == [[5, 3], [2, 0], [2, 2], [-1, -1]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("wage,+2,1\n", "unknown feature in --actions 'wage'"),
        ("income,much,1\n", "income cannot be changed by 'much'"),
        ("job,+2,1\n", "job cannot be changed by .*holds no numbers"),
        ("income,+x,1\n", "income cannot be changed by"),
        ("income,+2,-1\n", "cost from 0 on"),
        ("income,,1\n", "needs a change"),
        ("", "holds no rows"),
    ],
)
def test_refused_actions(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text("feature,change,cost\n" + text)
    with pytest.raises(UserError, match=message) as caught:
        read_actions(path, people([3], [1])[0])
    assert "\n" not in str(caught.value)
