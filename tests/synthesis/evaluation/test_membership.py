import numpy as np
import pytest

from tests.synthesis.evaluation.leaky import arms, people
from upright.run.evidence import Metric
from upright.synthesis.evaluation.canaries import make
from upright.synthesis.evaluation.membership import LIKELIHOOD, LIKENESS, SIGNALS, membership_part
from upright.synthesis.evaluation.part import CONTROL, SYNTHETIC, Part

NAMES = [f"membership AUC, {SIGNALS[s]}{c}" for s in (LIKELIHOOD, LIKENESS) for c in ("", ", calibrated")]


def metric(part: Part, name: str, split: str = SYNTHETIC) -> Metric:
    (found,) = [m for m in part.metrics if (m.name, m.split) == (name, split)]
    return found


def interval(found: Metric) -> tuple[float, float]:
    assert found.ci_low is not None
    assert found.ci_high is not None
    return found.ci_low, found.ci_high


@pytest.fixture(scope="module")
def part() -> Part:
    """Records of strangers are released; the control copies the training records."""
    return membership_part(arms(people(300, 8), people(300, 0)))


@pytest.mark.parametrize("name", NAMES)
def test_a_generator_that_never_saw_the_records_is_at_chance(part: Part, name: str) -> None:
    low, high = interval(metric(part, name))
    assert low <= 0.5 <= high


@pytest.mark.parametrize("name", NAMES)
def test_copies_are_found(part: Part, name: str) -> None:
    assert interval(metric(part, name, CONTROL))[0] > 0.75


def test_power_is_told_where_it_can_be(part: Part) -> None:
    name = f"membership TPR at {{}} % FPR, {SIGNALS[LIKELIHOOD]}, calibrated"
    assert (metric(part, name.format("1"), CONTROL).value or 0) > 0.5
    assert metric(part, name.format("0.1"), CONTROL).value is None
    assert any("0.1 % FPR cannot be resolved with 300" in line for line in part.limits)
    assert "at chance" in part.text


def test_groups_are_attacked_by_themselves(part: Part) -> None:
    for sex in ("female", "male"):
        found = metric(part, f"{NAMES[1]}, sex {sex}", CONTROL)
        assert (found.value or 0) > 0.9
        assert 200 < found.n < 400


def test_small_groups_get_no_number() -> None:
    found = membership_part(arms(people(40, 8), size=40))
    assert not any("sex" in m.name for m in found.metrics)


def test_chance_holds_over_many_draws() -> None:
    """Over 30 splits and null generators the interval misses 1/2 about once in 20: at most 5 times (P < 1.6 %)."""
    missed = 0
    for seed in range(30):
        found = membership_part(arms(people(60, 1000 + seed), size=60, seed=seed))
        low, high = interval(metric(found, NAMES[1]))
        missed += not low <= 0.5 <= high
    assert missed <= 6


def test_targets_are_units_where_there_are_any() -> None:
    """Three notes of each of 40 people are 40 targets a side, and not 120."""
    found = membership_part(arms(people(60, 8, notes=3), size=40, notes=3))
    assert metric(found, NAMES[0]).n == 80


def test_canaries_are_targets_too() -> None:
    planted = make(100, 3, openings=["Today we saw"])
    clean, copied = people(300, 8), people(300, 9)
    texts = [*planted.corpus([]).texts, *copied.texts][:300]
    found = membership_part(arms(clean, type(clean)(clean.columns, texts, copied.codes)), planted)
    name = f"membership AUC of canaries, {SIGNALS[LIKELIHOOD]}, calibrated"
    assert interval(metric(found, name))[0] <= 0.5 <= interval(metric(found, name))[1]
    assert (metric(found, name, CONTROL).value or 0) > 0.95


def test_the_part_shows_no_real_text(part: Part) -> None:
    assert not any(text in str(part) for text in people(300, 0).texts)


def test_the_same_seed_gives_the_same_numbers(part: Part) -> None:
    again = membership_part(arms(people(300, 8), people(300, 0)))
    assert [m.value for m in again.metrics] == [m.value for m in part.metrics]
    assert np.isfinite([m.value for m in part.metrics if m.value is not None]).all()
