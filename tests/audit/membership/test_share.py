"""The share of a data set that was used: by hand, in simulation, and through a whole audit."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from upright.audit import membership
from upright.audit.membership import share
from upright.audit.membership.config import Config
from upright.audit.membership.evaluate import Sample
from upright.audit.membership.share import Counts
from upright.run.records import read_metrics


def sample(known: int, suspects: int, used: float, shift: float, rng: np.random.Generator) -> Sample:
    """Two attacks, of which one is noise; members and the used suspects score `shift` higher under the other."""
    inside = np.r_[rng.random(known) < 0.5, rng.random(suspects) < used]
    suspect = np.arange(known + suspects) >= known
    scores = {"loss": rng.normal(size=inside.size), "RMIA": shift * inside + rng.normal(size=inside.size)}
    ids = [str(i) for i in range(inside.size)]
    groups = [None] * inside.size
    return Sample.of(ids, inside & ~suspect, suspect, groups, scores, rng.normal(size=known), 5)


def test_estimate_by_hand() -> None:
    """TPR 0.6, FPR 0.1, 350 of 1,000 flagged: (0.35 - 0.1) / (0.6 - 0.1) = 0.5. As many as of members, or more: 1."""
    found = share.estimate(Counts((350, 1000), (600, 1000), (100, 1000)))
    assert found.value == pytest.approx(0.5)
    assert found.n == 1000
    assert (found.ci_low or 0) < 0.45 < 0.55 < (found.ci_high or 0)
    assert share.estimate(Counts((605, 1000), (600, 1000), (100, 1000))).value == 1
    assert share.estimate(Counts((95, 1000), (600, 1000), (100, 1000))).value == 0
    nothing = share.estimate(Counts((50, 100), (50, 100), (50, 100)))
    assert (nothing.value, nothing.ci_low, nothing.ci_high) == (None, 0, 1)
    other_law = share.estimate(Counts((950, 1000), (300, 1000), (100, 1000)))  # no share of members explains so many
    assert (other_law.value, other_law.ci_low) == (None, None)


@pytest.mark.parametrize("used", [0.0, 0.3, 1.0])
def test_the_interval_holds_the_truth(used: float) -> None:
    """In 200 audits; at 95 % or more the chance of missing more than 20 is below 0.002. Without use, few see any."""
    rng = np.random.default_rng(7)
    held = shown = 0
    for _ in range(200):
        truth = sample(600, 400, used, 2.0, rng)
        found = share.used(truth, 30, rng)
        held += (found.ci_low or 0) <= used <= (found.ci_high or 0)
        shown += (found.ci_low or 0) > 0
    assert held >= 180
    assert shown <= 20 if used == 0 else shown > 190


def test_too_few_give_no_number() -> None:
    rng = np.random.default_rng(8)
    for sizes in ((600, 29), (80, 400)):
        metric = share.used(sample(*sizes, 0.5, 2.0, rng), 30, rng)
        assert (metric.value, metric.ci_low) == (None, None)
        assert share.finding(metric, void=False).verdict == "undecided"


def test_a_table_with_unknown_rows(tmp_path: Path) -> None:
    """Of 300 suspects 200 were used. They play no part in the attacks' numbers and stand in scores.parquet."""
    rng = np.random.default_rng(9)
    inside = np.r_[np.arange(600) < 300, np.arange(300) < 200]
    member = pl.Series([*inside[:600].astype(int).tolist(), *[None] * 300], dtype=pl.Int64)
    own, noise = 2.5 * inside + rng.normal(size=900), rng.normal(size=(2, 900))
    columns = {"logit_a": own, "ref_0_logit_a": noise[0], "ref_1_logit_a": noise[1]}
    zeros = {name.replace("_a", "_b"): np.zeros(900) for name in columns}
    table = pl.DataFrame({"member": member, "label": ["a"] * 900, **columns, **zeros, "x_noise": rng.normal(size=900)})
    table.write_csv(tmp_path / "t.csv")
    result = membership.run(Config(scores=tmp_path / "t.csv", out=tmp_path / "run"))
    assert [(f.item, f.verdict) for f in result.findings] == [
        ("privacy.membership-blind", "clear"),
        ("privacy.membership", "concern"),
        ("privacy.membership-dataset", "concern"),
    ]
    metrics = read_metrics(result.out)
    (found,) = (m for m in metrics if m.name == share.SHARE)
    assert (found.ci_low or 0) < 2 / 3 < (found.ci_high or 0)
    assert {m.n for m in metrics if m.name == "attack AUC"} == {600}
    scores = pl.read_parquet(result.scores)
    assert scores.height == 900
    assert scores["member"].null_count() == 300
    assert "What share of the suspects was used" in result.report.read_text()
