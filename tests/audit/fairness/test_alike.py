"""What features tell of groups, and how a column becomes numbers."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from upright.audit import fairness
from upright.audit.fairness import alike, proxies
from upright.audit.fairness.config import Config
from upright.errors import UserError


def test_balanced_accuracy_by_hand() -> None:
    """Recalls 40/50 and 20/40: mean .65. Wilson (.6696, .8876) and (.3520, .6480), so the ends lie
    ½√(.1304² + .1480²) = .0986 below and ½√(.0876² + .1480²) = .0860 above.
    """
    codes = np.repeat([0, 1], [50, 40])
    said = np.r_[np.repeat([0, 1], [40, 10]), np.repeat([1, 0], [20, 20])]
    assert_allclose(proxies.balanced_accuracy(codes, said), (0.65, 0.5514, 0.7360), atol=2e-4)


def test_the_rare_group_is_guessed_where_it_is_likelier_than_usual() -> None:
    """A group of 10 % that has a chance of 30 % is three times as likely as usual, the other 7/9 times."""
    codes = np.repeat([0, 1], [90, 10])
    assert proxies.balanced(np.array([[0.7, 0.3], [0.95, 0.05]]), codes).tolist() == [1, 0]


def test_features_that_say_nothing_and_features_that_say_all() -> None:
    rng = np.random.default_rng(0)
    codes = rng.integers(0, 2, 600)
    for x, low, high in (
        (rng.normal(size=(600, 2)), 0.4, 0.6),
        (codes[:, None] + rng.normal(0, 0.1, (600, 1)), 0.9, 1),
    ):
        told = proxies.balanced_accuracy(codes, proxies.held_out(x, codes, rng).argmax(1))
        assert low <= told.value <= high
        assert (told.low < 0.5 < told.high) == (high < 1)


def run(path: Path, **more: object) -> fairness.Result:
    fields = {"table": path, "out": path.parent / "run", "groups": ["sex"], "label": "y", "prediction": "said"}
    quick = {"draws": 200, "permutations": 0, "rescans": 0}
    return fairness.run(Config.model_validate({**fields, **quick, **more}))


def test_a_proxy_is_a_concern(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    sex = rng.choice(["f", "m"], 800, p=[0.3, 0.7])
    height = np.round(rng.normal(165 + 14 * (sex == "m"), 7), 1)
    y = rng.integers(0, 2, 800)
    path = tmp_path / "t.csv"
    pl.DataFrame({"sex": sex, "height": height, "noise": rng.normal(size=800), "y": y, "said": y}).write_csv(path)
    told = {m.name: m for m in run(path, features=["height"]).metrics if m.split == "sex"}
    value, more = told[alike.PROXY], told["told from the features, accuracy over the majority's"]
    assert value.value == pytest.approx(0.84, abs=0.05)  # Φ(1), as the threshold is one standard deviation off
    assert value.n == 800
    assert more.ci_low is not None
    assert more.ci_low > 0
    assert told["told from the features, AUC"].value == pytest.approx(0.92, abs=0.04)  # Φ(√2)
    by = {f.item: f for f in run(path, features=["height"], out=tmp_path / "a").findings}
    assert by["fairness.proxy"].verdict == "concern"
    by = {f.item: f for f in run(path, features=["noise"], out=tmp_path / "b").findings}
    assert by["fairness.proxy"].verdict in ("clear", "undecided")
    by = {f.item: f for f in run(path, features=["height", "sex"], out=tmp_path / "c", groups=["sex"]).findings}
    assert "sex, which is one of the features, is told" in by["fairness.proxy"].text


def test_groups_too_small_to_tell(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("sex,x,y,said\n" + "f,1,1,1\nm,2,0,0\n" * 10)
    found = run(path, features=["x"])
    assert {f.item: f.verdict for f in found.findings}["fairness.proxy"] == "undecided"


@pytest.mark.parametrize(
    ("column", "wanted"),
    [
        (pl.Series([" 1", "2 ", "3"]), [[1], [2], [3]]),
        (pl.Series([True, False, True]), [[1], [0], [1]]),
        (pl.Series([1.0, float("nan"), 3.0]), [[1], [2], [3]]),
        (pl.Series(["1", "", "3"]), [[1], [2], [3]]),
        (pl.Series([1.0, float("inf"), 3.0]), [[1], [2], [3]]),
        (pl.Series(["a", None, "b "]), [[0, 1, 0], [1, 0, 0], [0, 0, 1]]),
    ],
)
def test_columns_as_numbers(column: pl.Series, wanted: list[list[float]]) -> None:
    """A missing number is the mean of the others, a missing word a value of its own."""
    assert_allclose(alike._numeric(column, "x"), wanted)


def test_refused_columns() -> None:
    with pytest.raises(UserError, match="--features x: holds no value"):
        alike._numeric(pl.Series([None, None], dtype=pl.Float64), "x")
    with pytest.raises(UserError, match="got 60 different texts"):
        alike._numeric(pl.Series([f"v{i}" for i in range(60)]), "x")
