from collections.abc import Mapping

import numpy as np
import pytest

from upright.run.evidence import Metric
from upright.run.measures.nearest import nearest
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.neighbours import CLOSER, neighbours_part, share_interval
from upright.synthesis.evaluation.part import CONTROL, SYNTHETIC, Arms, Part

RATIO = "5 % quantile of distances, train / held-out"


def corpus(name: str, size: int) -> Corpus:
    return Corpus((), [f"{name} {i}" for i in range(size)], [()] * size)


def some(vectors: Mapping[str, np.ndarray], seed: int = 0) -> Arms:
    sides = {name: corpus(name, len(rows)) for name, rows in vectors.items()}
    control = sides.get("control")
    return Arms(sides["train"], sides["held-out"], sides["test"], sides["synthetic"], control, (), (), seed)


def drawn(seed: int, n: int = 100, copy: bool = False) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    found = {name: rng.normal(size=(n, 8)) for name in ("train", "held-out", "test", "synthetic")}
    if copy:
        found["control"] = found["train"] + 0.05 * rng.normal(size=(n, 8))
    return found


def metric(part: Part, name: str, split: str = SYNTHETIC) -> Metric:
    (found,) = [m for m in part.metrics if (m.name, m.split) == (name, split)]
    return found


def test_distances_by_hand() -> None:
    """Two records lie at 0 and 90 degrees, train at 0 and held-out at 45: one is nearer to train, one to held-out."""
    diagonal = [[1.0, 1.0]]
    vectors = {"train": [[2.0, 0.0]], "held-out": diagonal, "test": diagonal, "synthetic": [[1.0, 0.0], [0.0, 1.0]]}
    part = neighbours_part(some({k: np.array(v) for k, v in vectors.items()}), vectors)
    assert metric(part, CLOSER).value == 0.5
    assert metric(part, CLOSER, "test").value == 0.0
    assert part.examples[0] == {
        "synthetic record": "synthetic 0",
        "distance to train": 0.0,
        "distance to held-out": pytest.approx(1 - np.sqrt(0.5), abs=1e-4),
    }
    assert metric(part, RATIO).value is None


def test_copies_lie_nearer_and_strangers_do_not() -> None:
    vectors = drawn(1, copy=True)
    part = neighbours_part(some(vectors), vectors)
    low, high = metric(part, CLOSER).ci_low, metric(part, CLOSER).ci_high
    assert low is not None
    assert high is not None
    assert low <= 0.5 <= high
    assert metric(part, CLOSER, CONTROL).value == 1.0
    assert (metric(part, RATIO, CONTROL).ci_high or 1) < 0.1
    assert not any("train 1" in str(row) for row in part.examples)


def test_an_even_coin_for_each_real_unit_is_what_chance_means() -> None:
    """Two clusters of 1 and 3 records: (1 + 3)^2 / (1 + 9) = 1.6 coins, a wider interval than four."""
    low, high = share_interval(np.array([1.0, 0.0, 0.0, 0.0]), np.array([0, 1, 1, 1]))
    z2 = 1.959963984540054**2
    centre, half = (0.25 + z2 / 3.2) / (1 + z2 / 1.6), np.sqrt(z2 * (0.1875 / 1.6 + z2 / (4 * 1.6**2))) / (1 + z2 / 1.6)
    assert (low, high) == pytest.approx((centre - half, centre + half))


def test_chance_holds_though_records_share_their_neighbours() -> None:
    """1,000 records beside 2 x 25 real ones, 100 times: the interval misses 1/2 at most 11 times (P < 1 %)."""
    missed = 0
    for seed in range(100):
        rng = np.random.default_rng(seed)
        row = nearest(rng.normal(size=(1000, 4)), rng.normal(size=(50, 4))).row
        low, high = share_interval((row < 25).astype(float), row)
        missed += not low <= 0.5 <= high
    assert missed <= 11


def test_what_stands_in_both_collections_is_left_out_of_the_ratio() -> None:
    vectors = drawn(2)
    for name in ("train", "held-out"):
        vectors[name][0] = vectors["synthetic"][0]
    vectors["synthetic"][1:40] = vectors["synthetic"][0]
    part = neighbours_part(some(vectors), vectors)
    assert metric(part, RATIO).value == pytest.approx(1.0, abs=0.4)


@pytest.mark.parametrize(("name", "rows"), [("train", 99), ("synthetic", 0), ("held-out", None)])
def test_vectors_must_fit_the_records(name: str, rows: int | None) -> None:
    vectors = drawn(0)
    given = some(vectors)
    if rows is None:
        del vectors[name]
    else:
        vectors[name] = vectors[name][:rows]
    with pytest.raises(ValueError, match=f"^{name}: got vectors of"):
        neighbours_part(given, vectors)
