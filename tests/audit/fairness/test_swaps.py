"""Counterfactual swaps: by hand from files of every kind, and against numpy on the rows."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.tables import write_table
from upright.audit import fairness
from upright.audit.fairness import individual, swaps
from upright.audit.fairness.config import Config
from upright.errors import UserError
from upright.run.evidence import Metric, wilson

QUICK = {"draws": 200, "permutations": 0, "rescans": 0, "groups": ["g"], "label": "y"}


def measured(path: Path, positive: tuple[str, ...] | None = ("1",), **more: Any) -> dict[tuple[str, str], Metric]:
    config = Config.model_validate({"table": path, **QUICK, **more})
    return {(m.name, m.split): m for m in swaps.swap_metrics(config, positive)}


@pytest.mark.parametrize("kind", ["csv", "parquet", "jsonl"])
def test_by_hand(tmp_path: Path, kind: str) -> None:
    """100 of each group. Of a, 30 refused would be accepted and 10 accepted refused: 40 flips. Of b none. Predictions
    are numbers, swaps booleans, which a CSV file holds as words.
    """
    said = [0] * 50 + [1] * 50 + [0, 1] * 50
    swapped = [True] * 30 + [False] * 20 + [False] * 10 + [True] * 40 + [False, True] * 50
    frame = pl.DataFrame({"g": ["a"] * 100 + ["b"] * 100, "y": [0, 1] * 100, "said": said, "other": swapped})
    path = write_table(frame, tmp_path / f"t.{kind}")
    found = measured(path, prediction="said", swapped="other")
    flips = found[swaps.FLIPS, "g: a"]
    assert flips.value == 0.4
    assert (flips.ci_low, flips.ci_high) == pytest.approx(wilson(40, 100))
    assert found[swaps.FAVOURED, "g: a"].value == 0.3
    assert found[swaps.FLIPS, "g: b"].value == 0.0
    assert (found[swaps.FLIPS, "all"].value, found[swaps.FLIPS, "all"].n) == (0.2, 200)


def test_scores_equal_numpy(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    score = rng.random(500)
    other = np.clip(score + rng.normal(0, 0.1, 500), 0, 1)
    path = tmp_path / "t.parquet"
    pl.DataFrame({"g": rng.choice(["a", "b"], 500), "y": 1, "score": score, "other": other}).write_parquet(path)
    found = measured(path, score="score", swapped_score="other")
    away = individual.changes(score, other)
    moved = found[swaps.CHANGES, "all"]
    half = 1.959964 * away.std(ddof=1) / np.sqrt(500)
    assert [moved.value, moved.ci_low, moved.ci_high] == pytest.approx(
        [away.mean(), away.mean() - half, away.mean() + half]
    )
    wanted = individual.flips(score >= 0.5, other >= 0.5).mean()
    assert found[swaps.FLIPS, "all"].value == pytest.approx(wanted)
    assert found[swaps.FAVOURED, "all"].value == pytest.approx(((score < 0.5) & (other >= 0.5)).mean())


def test_missing_answers_are_counted_and_small_groups_have_no_rate(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    rows = [f"a,{i % 2},1,1" for i in range(90)] + ["a,1,1,"] * 10 + ["b,0,1,0"] * 5
    path.write_text("g,y,said,other\n" + "\n".join(rows) + "\n")
    found = measured(path, prediction="said", swapped="other")
    assert found[swaps.LOST, "all"].value == pytest.approx(10 / 105)
    assert found[swaps.FLIPS, "g: a"].n == 90
    assert (found[swaps.FLIPS, "g: b"].value, found[swaps.FLIPS, "g: b"].n) == (None, 5)


def test_no_change_at_all_keeps_some_room(tmp_path: Path) -> None:
    """Rule of three: no change in 300 records leaves up to 1 % of change possible."""
    path = tmp_path / "t.csv"
    path.write_text("g,y,score,other\n" + "a,1,.7,.7\nb,0,.7,.7\n" * 150)
    moved = measured(path, score="score", swapped_score="other")[swaps.CHANGES, "all"]
    assert (moved.value, moved.ci_low, moved.ci_high) == (0.0, 0.0, 0.01)


def test_several_classes(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("g,y,said,other\n" + "a,x,x,z\nb,y,y,y\n" * 40)
    found = measured(path, None, prediction="said", swapped="other")
    assert found[swaps.FLIPS, "g: a"].value == 1.0
    assert (swaps.FAVOURED, "all") not in found


def test_a_run_judges_the_swap(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    said = rng.integers(0, 2, 600)
    other = np.where(rng.random(600) < 0.3, 1 - said, said)
    path = tmp_path / "t.csv"
    pl.DataFrame({"g": rng.choice(["a", "b"], 600), "y": said, "said": said, "other": other}).write_csv(path)
    fields = {"table": path, "out": tmp_path / "run", **QUICK, "prediction": "said", "swapped": "other"}
    found = fairness.run(Config.model_validate(fields))
    (judged,) = [f for f in found.findings if f.item == "fairness.counterfactual"]
    assert judged.verdict == "concern"
    assert "The same person in another group" in found.report.read_text(encoding="utf-8")


def test_unequal_lengths() -> None:
    with pytest.raises(ValueError, match="must be equal"):
        individual.flips([1, 0], [1])
    with pytest.raises(ValueError, match="must be equal"):
        individual.changes([0.1, 0.2], [0.1])


def test_a_swap_needs_its_columns(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="needs the --score"):
        Config.model_validate({"table": "t.csv", **QUICK, "prediction": "said", "swapped_score": "other"})
    path = tmp_path / "t.csv"
    path.write_text("g,y,said\na,1,1\n")
    with pytest.raises(UserError, match=r"unknown column .*'other'"):
        measured(path, prediction="said", swapped="other")


def test_words_of_the_swap_are_those_of_the_decisions(tmp_path: Path) -> None:
    """Of 80 scores over the threshold 40 would be refused; a swap in other words than the decisions flips nothing."""
    path = tmp_path / "t.csv"
    path.write_text("g,y,score,said,other\n" + "a,>50K,.7,>50K,>50K\nb,<=50K,.7,>50K,<=50K\n" * 40)
    found = measured(path, (">50K",), score="score", swapped="other")
    assert found[swaps.FLIPS, "all"].value == 0.5
    assert found[swaps.FAVOURED, "all"].value == 0.0
    path.write_text("g,y,said,other\n" + "a,>50K,>50K,1\nb,<=50K,<=50K,0\n" * 40)
    with pytest.raises(UserError, match="--swapped other: got 0, 1, but decisions are <=50K, >50K"):
        measured(path, (">50K",), prediction="said", swapped="other")
