"""Verdicts: what an interval allows, how many tests pay for each other, and where the data are too few to say."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.audit.fairness.conftest import config, find, verdicts, write
from upright.audit import fairness
from upright.audit.fairness import counts as c
from upright.audit.fairness import decisions, verdict
from upright.audit.fairness.decisions import Grouping
from upright.audit.fairness.search import Search
from upright.audit.findings import Finding


@pytest.mark.parametrize(
    ("low", "high", "most", "least"),
    [
        (0.01, 0.05, "clear", "concern"),
        (0.2, 0.3, "concern", "clear"),
        (0.05, 0.15, "undecided", "undecided"),
        (None, None, "undecided", "undecided"),
    ],
)
def test_a_verdict_needs_the_whole_interval(low: float | None, high: float | None, most: str, least: str) -> None:
    assert verdict.at_most(low, high, 0.1) == most
    assert verdict.at_least(low, high, 0.1) == least


def test_the_gravest_verdict_wins() -> None:
    answers = [verdict.Answer("clear", "a."), verdict.Answer("concern", "b."), verdict.Answer("undecided", "c.")]
    assert verdict.joined("x.y", answers, "") == Finding(item="x.y", verdict="concern", text="b. c. a.")


def test_searches_are_corrected_for_their_number() -> None:
    """Holm: of p = .02, .03 and .04 none is below .05/3; .01 is, and then .02 of the two that are left."""

    def search(p: float) -> Search:
        return Search([], "s", p, True, True, f"{p}")

    assert verdict.of_searches([search(p) for p in (0.02, 0.03, 0.04)]).verdict == "clear"
    assert verdict.of_searches([search(p) for p in (0.01, 0.02, 0.9)]).text == "0.01. 0.02. 0.9."
    assert verdict.of_searches([search(p) for p in (0.01, 0.02, 0.9)]).verdict == "concern"
    assert verdict.of_searches([]).verdict == "undecided"


def test_false_verdicts_are_rare(tmp_path: Path) -> None:
    """200 fair tables by three groups: none of seven verdicts says concern in more than 5 % of them."""
    rng = np.random.default_rng(5)
    wrong = 0
    for _ in range(200):
        cells = rng.multinomial(600, np.full(12, 1 / 12)).reshape(3, 1, 2, 2).astype(float)
        table = c.Table("g", ["a", "b", "c"], [""], ["0", "1"], cells, cells, cells.sum((1, 2, 3)), [("a",)] * 3)
        g = Grouping(table, config(tmp_path / "t.csv", groups=["g"], limit=0.0), ("g",))
        wrong += any(f.verdict == "concern" for f in verdict.of_groupings([g], g.config))
    assert wrong <= 10


def test_simultaneous_metrics_hold_the_bootstrap_value(tmp_path: Path) -> None:
    cells = np.array([[[[40, 10], [10, 40]]], [[[55, 5], [20, 20]]]], dtype=float)
    table = c.Table("g", ["a", "b"], [""], ["0", "1"], cells, cells, cells.sum((1, 2, 3)), [("a",), ("b",)])
    g = Grouping(table, config(tmp_path / "t.csv", groups=["g"]), ("g",))
    odds = decisions.simultaneous(g)["equalised odds, larger gap"]
    assert [odds.value, odds.low, odds.high] == pytest.approx([0.3, 0.0, 0.6188], abs=5e-5)


# --- verdicts that would be too sure ---------------------------------------------------------------------------


def test_finding_nothing_in_few_records_is_no_all_clear(tmp_path: Path) -> None:
    found = fairness.run(config(write(tmp_path / "t.csv", 40), groups=["race"]))
    assert verdicts(found.findings)["fairness.subgroups"].verdict == "undecided"


def test_groups_that_were_left_out_are_told(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600)
    frame = pl.read_csv(path)
    pl.concat([frame, frame.head(8).with_columns(sex=pl.lit("other"))]).write_csv(path)
    text = verdicts(fairness.run(config(path)).findings)["Gap of selection rates"].text
    assert "1 with fewer than 30 records not compared" in text


def test_a_subgroup_without_negatives_does_not_stop_the_run(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    g = rng.choice(["a", "b"], 300)
    path = tmp_path / "t.csv"
    pl.DataFrame({"g": g, "y": (g == "a").astype(int), "said": rng.integers(0, 2, 300)}).write_csv(path)
    assert fairness.run(config(path, groups=["g"])).findings


def test_gaps_within_strata_can_be_none(tmp_path: Path) -> None:
    """Nobody is treated otherwise inside a stratum: the interval of the gap begins at 0, shuffled or not."""
    rng = np.random.default_rng(3)
    n = 2000
    frame = {"sex": rng.choice(["f", "m"], n), "dept": rng.integers(0, 3, n), "said": rng.integers(0, 2, n)}
    path = tmp_path / "t.csv"
    pl.DataFrame({**frame, "y": frame["said"]}).write_csv(path)
    found = fairness.run(config(path, groups=["sex"], strata="dept"))
    within = find(found.metrics, "conditional selection rate, difference", "by sex")
    assert (within.ci_low, within.value is not None and within.value > 0) == (0.0, True)
    assert find(found.metrics, "conditional selection rate, p of no gap", "by sex").n == 200
    plain = fairness.run(config(path, "b", groups=["sex"], permutations=0))
    assert find(plain.metrics, "selection rate, difference", "by sex").ci_low == 0.0


@pytest.mark.parametrize("groups", [2, 6])
def test_equal_laws_of_numbers_are_no_concern(tmp_path: Path, groups: int) -> None:
    """100 predictions a group of one law are .15 to .25 apart by chance; the limit is .1."""
    rng = np.random.default_rng(5)
    path = tmp_path / "t.csv"
    g = np.arange(100 * groups) % groups
    frame = {"g": [f"g{i}" for i in g], "pay": rng.normal(size=len(g)), "said": rng.normal(size=len(g))}
    pl.DataFrame(frame).write_csv(path)
    found = fairness.run(config(path, groups=["g"], label="pay", task="regression"))
    assert "concern" not in {f.verdict for f in found.findings}


# --- rankings --------------------------------------------------------------------------------------------------


def ranked(path: Path, frame: dict[str, Any], **more: Any) -> fairness.Result:
    pl.DataFrame(frame).write_csv(path)
    return fairness.run(config(path, prediction=None, score="score", task="ranking", groups=["g"], **more))


def test_ties_fall_at_random(tmp_path: Path) -> None:
    """All scores are equal and the file lists a before b: that is no order, and no concern."""
    found = ranked(tmp_path / "t.csv", {"g": ["a"] * 100 + ["b"] * 100, "y": [0, 1] * 100, "score": [0.5] * 200})
    assert verdicts(found.findings)["fairness.ranking"].verdict == "clear"


def test_a_group_that_is_not_at_the_top_is_shown(tmp_path: Path) -> None:
    frame = {"g": ["a"] * 50 + ["b"] * 50, "y": [0, 1] * 50, "score": list(range(100, 0, -1))}
    found = ranked(tmp_path / "t.csv", frame, top=[10])
    assert find(found.metrics, "share in the top 10 over share of all, smallest", "by g").value == 0.0
    assert find(found.metrics, "share in the top 10 over share of all, largest", "by g").value == pytest.approx(2.0)


def test_rankings_without_a_name_and_small_groups(tmp_path: Path) -> None:
    """Rows without a query are no rankings of one; a group of 3 is listed, not compared."""
    g = ["a", "b"] * 100 + ["c"] * 3
    frame = {"g": g, "y": [0, 1, 1] * 67 + [0, 1], "score": np.arange(203), "q": [None] * 20 + ["p", "q", "r"] * 61}
    found = ranked(tmp_path / "t.csv", frame, query="q")
    assert find(found.metrics, "NDKL", "by g").n == 3
    assert find(found.metrics, "rows that cannot be used", "all").value == 20
    assert find(found.metrics, "exposure", "g: c").n == 3
    assert "20 rows could not be used" in found.report.read_text(encoding="utf-8")


def test_few_items_are_undecided(tmp_path: Path) -> None:
    found = ranked(tmp_path / "t.csv", {"g": ["a", "b"] * 6, "y": [0, 1] * 6, "score": list(range(12))})
    assert verdicts(found.findings)["fairness.ranking"].verdict == "undecided"


def test_a_ranking_by_the_relevance_itself(tmp_path: Path) -> None:
    """Label and score may be one column: the ideal order."""
    frame = {"g": ["a", "b"] * 40, "y": [0, 1] * 40, "score": np.linspace(0, 1, 80)}
    found = ranked(tmp_path / "t.csv", frame, label="score")
    assert find(found.metrics, "NDCG", "by g").value == pytest.approx(1.0)
