import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from upright.audit import mitigate
from upright.audit.findings import read_findings
from upright.audit.mitigate import recourse
from upright.audit.mitigate.config import METHODS
from upright.audit.mitigate.methods import Learner
from upright.errors import UserError
from upright.run.evidence import Metric

ROWS = 4000


def write_table(folder: Path, n: int = 800, flipped: float = 0.0) -> Path:
    """Skill decides the label; group b is labelled too rarely, and the test score knows the group."""
    rng = np.random.default_rng(0)
    b = rng.random(n) < 0.4
    skill = rng.normal(size=n)
    table = pl.DataFrame(
        {
            "skill": skill,
            "score": skill - 1.5 * b + 0.3 * rng.normal(size=n),
            "town": rng.choice(["north", "south", "east"], n),
            "sex": np.where(b, "b", "a"),
            "hired": (skill - 0.9 * b + 0.5 * rng.normal(size=n) > 0) ^ (rng.random(n) < flipped),
        }
    )
    path = folder / "people.csv"
    table.with_columns(pl.col("hired").cast(pl.Int8)).write_csv(path)
    return path


def config(table: Path, out: Path, **more: Any) -> mitigate.Config:
    given = {"label": "hired", "groups": ["sex"], "folds": 2, "draws": 500, "method": {"rounds": 8}}
    return mitigate.Config(table=table, out=out, **{**given, **more})


def find(metrics: Sequence[Metric], name: str, split: str) -> Metric:
    return next(m for m in metrics if (m.name, m.split) == (name, split))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> mitigate.Result:
    folder = tmp_path_factory.mktemp("mitigate")
    return mitigate.run(config(write_table(folder, ROWS), folder / "out"))


ODDS, PARITY = "equalised-odds difference", "demographic-parity difference"


def test_what_is_built_to_close_a_gap_closes_it(whole: mitigate.Result) -> None:
    plain = find(whole.metrics, PARITY, "none")
    assert plain.ci_low is not None
    assert plain.ci_low > 0.2  # labels are rarer by far in group b
    for name in ("reweighing", "repair", "decorrelation", "reduction-parity", "thresholds-parity", "reject-option"):
        change = find(whole.metrics, f"change of {PARITY}", name)
        assert change.ci_high is not None
        assert change.ci_high < 0, name
    for name in ("thresholds-odds", "reduction-odds"):
        change = find(whole.metrics, f"change of {ODDS}", name)
        assert change.ci_high is not None
        assert change.ci_high < 0, name


def test_fairness_by_another_rule_than_the_labels_costs_accuracy(whole: mitigate.Result) -> None:
    cost = find(whole.metrics, "change of accuracy", "thresholds-parity")
    assert cost.ci_high is not None
    assert cost.ci_high < 0


def test_predictions_give_the_metrics_again(whole: mitigate.Result) -> None:
    assert set(whole.predictions) == {"none", *METHODS}
    for name, path in whole.predictions.items():
        rows = pl.read_parquet(path)
        assert sorted(rows["row"].to_list()) == list(range(ROWS))
        assert find(whole.metrics, "accuracy", name).value == pytest.approx(
            (rows["label"] == rows["prediction"]).mean()
        )
        rates = rows.group_by("group", "label").agg(pl.col("prediction").mean())
        odds = max(float(np.ptp(rates.filter(pl.col("label") == y)["prediction"].to_numpy())) for y in (0, 1))
        assert find(whole.metrics, ODDS, name).value == pytest.approx(odds)
        assert (rows["score"].null_count() == 0) == any(m.name == "AUC" and m.split == name for m in whole.metrics)


def test_no_listed_method_is_dominated(whole: mitigate.Result) -> None:
    at = {
        name: (find(whole.metrics, "accuracy", name).value or 0, find(whole.metrics, ODDS, name).value or 0)
        for name in whole.predictions
    }
    for name in at:
        beaten = any(u >= at[name][0] and g <= at[name][1] and (u, g) != at[name] for u, g in at.values())
        assert (name in whole.frontier) == (not beaten)


def test_the_finding_and_the_report_say_whose_code_it_is(whole: mitigate.Result) -> None:
    (finding,) = read_findings(whole.out)
    assert finding.item == "mitigation.frontier"
    assert finding.verdict in ("clear", "undecided")
    page = whole.report.read_text()
    assert "fairlearn" in page
    assert "reads the group" in page
    assert all(("the plain model" if name == "none" else name) in finding.text for name in whole.frontier)


@pytest.mark.parametrize(("limit", "verdict"), [(0.9, "clear"), (0.0, "concern")])
def test_the_verdict_holds_the_gap_against_the_limit(tmp_path: Path, limit: float, verdict: str) -> None:
    found = mitigate.run(
        config(write_table(tmp_path), tmp_path / "out", methods=["reweighing"], limit=limit, gap="parity")
    )
    assert found.findings[0].verdict == verdict


def test_a_stopped_run_goes_on_to_the_same_numbers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = write_table(tmp_path, n=300)
    chosen = {"methods": ["reweighing", "thresholds-odds"], "seeds": 2, "model": "boosting"}
    unbroken = mitigate.run(config(table, tmp_path / "one", **chosen))
    learn, calls = Learner.__call__, []

    def stop_at_the_sixth(self: Learner, name: str, rows: Any) -> Any:
        calls.append(name)
        if len(calls) == 6:
            raise KeyboardInterrupt
        return learn(self, name, rows)

    monkeypatch.setattr(Learner, "__call__", stop_at_the_sixth)
    with pytest.raises(KeyboardInterrupt):
        mitigate.run(config(table, tmp_path / "two", **chosen))
    again = mitigate.run(config(table, tmp_path / "two", **chosen))
    assert len(calls) == 12 + 1  # 3 methods × 2 seeds × 2 folds, and the one that was stopped
    assert again.metrics == unbroken.metrics
    for name, path in again.predictions.items():
        assert pl.read_parquet(path).equals(pl.read_parquet(unbroken.predictions[name]))


def test_rows_that_cannot_be_used_are_recorded(tmp_path: Path) -> None:
    table = write_table(tmp_path, n=300)
    rare = {"skill": 0.0, "score": 0.0, "town": "north", "sex": "c", "hired": 1}
    extra = pl.DataFrame([rare] * 7 + [{**rare, "sex": None}])
    pl.concat([pl.read_csv(table), extra]).write_csv(table)
    found = mitigate.run(config(table, tmp_path / "out", methods=["reweighing"]))
    rows = [json.loads(line) for line in (found.out / "failures.jsonl").read_text().splitlines()]
    assert sorted(row["row"]["row"] for row in rows) == list(range(300, 308))
    assert find(found.metrics, "accuracy", "none").n == 300
    assert "under 30 rows" in found.report.read_text()


def test_blank_and_not_a_number_are_missing(tmp_path: Path) -> None:
    """Neither is an outcome that was not favourable, nor a group."""
    table = pl.read_csv(write_table(tmp_path, n=300)).with_columns(pl.col("hired").cast(pl.Float64))
    nothing = table.head(4).with_columns(
        hired=pl.Series([float("nan"), 1.0, 1.0, None]), sex=pl.Series(["a", " ", "", "b"])
    )
    path = tmp_path / "people.parquet"
    pl.concat([table, nothing]).write_parquet(path)
    found = mitigate.run(config(path, tmp_path / "out", methods=["reweighing"]))
    assert find(found.metrics, "accuracy", "none").n == 300
    assert len((found.out / "failures.jsonl").read_text().splitlines()) == 4


@pytest.mark.parametrize("word", ["1", "True", "true"])
def test_words_for_a_favourable_outcome(tmp_path: Path, word: str) -> None:
    table = pl.read_csv(write_table(tmp_path, n=300))
    words = table.with_columns(hired=pl.Series(["False", "True"]).gather(table["hired"]))
    words.write_csv(tmp_path / "words.csv")
    asked = config(tmp_path / "words.csv", tmp_path / "out", methods=["reweighing"], positive=word)
    found = mitigate.run(asked)
    labels = pl.read_parquet(found.predictions["none"])["label"]
    assert labels.to_list() == table["hired"].to_list()


def test_features_that_are_lists(tmp_path: Path) -> None:
    table = pl.read_csv(write_table(tmp_path, n=200)).with_columns(both=pl.concat_list("skill", "score"))
    table.write_parquet(tmp_path / "t.parquet")
    with pytest.raises(UserError, match="--features both: got List"):
        mitigate.run(config(tmp_path / "t.parquet", tmp_path / "out"))


def test_recourse_is_measured_for_every_method(tmp_path: Path) -> None:
    """Skill decides and b has less of it: a step helps fewer of b's refused, under the plain model."""
    actions = tmp_path / "actions.csv"
    actions.write_text("feature,change,cost\nskill,+1,2\nscore,+1,1\ntown,south,0.5\n")
    asked = config(write_table(tmp_path, 1500), tmp_path / "out", methods=["thresholds-parity"], actions=actions)
    found = mitigate.run(asked)
    for method in ("none", "thresholds-parity"):
        a, b = (find(found.metrics, recourse.WAY, f"{method}: {sex}") for sex in "ab")
        said = pl.read_parquet(found.predictions[method])
        assert b.n == said.filter((pl.col("group") == "b") & (pl.col("prediction") == 0)).height
        gap = find(found.metrics, f"{recourse.WAY}, difference", method)
        assert a.value is not None
        assert b.value is not None
        assert gap.value == pytest.approx(abs(a.value - b.value))
    assert (find(found.metrics, recourse.WAY, "none: a").value or 0) > (b.value or 0)
    assert {f.item for f in found.findings} == {"mitigation.frontier", "fairness.recourse"}
    assert "What the refused can do" in found.report.read_text()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"label": "hird"}, "did you mean 'hired'"),
        ({"groups": ["town", "sx"]}, "unknown column .*'sx'"),
        ({"positive": "yes"}, "must be one of two or more values of hired"),
        ({"features": ["hired"]}, "is also a feature"),
        ({"min_group": 5000}, "must be two or more"),
    ],
)
def test_mistakes_are_one_line(tmp_path: Path, change: dict[str, Any], message: str) -> None:
    table = write_table(tmp_path, n=200)
    with pytest.raises(UserError, match=message) as caught:
        mitigate.run(config(table, tmp_path / "out", **change))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content"), [("t.txt", "a"), ("t.csv", "a,b\n1,2,3,4\n"), ("t.parquet", "no"), ("e.csv", "a\n")]
)
def test_files_that_are_no_table(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(UserError, match=name):
        mitigate.run(config(tmp_path / name, tmp_path / "out"))


@pytest.mark.parametrize(
    "change", [{"methods": ["reweighting"]}, {"methods": []}, {"groups": []}, {"groups": ["sex", "sex"]}, {"folds": 1}]
)
def test_settings_are_checked(tmp_path: Path, change: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=r"must be|did you mean|greater"):
        config(tmp_path / "t.csv", tmp_path / "out", **change)


def test_a_model_that_overfits_gives_its_rows_away_and_a_linear_one_does_not(tmp_path: Path) -> None:
    """A third of the labels are wrong: hundred trees on 400 rows learn them by heart, seven weights cannot."""
    trees = mitigate.run(
        config(write_table(tmp_path, flipped=0.33), tmp_path / "a", methods=["reweighing"], model="boosting")
    )
    linear = mitigate.run(config(tmp_path / "people.csv", tmp_path / "b", methods=["reweighing"]))
    for method in ("none", "reweighing"):
        assert (find(trees.metrics, "membership attack (AUC)", method).value or 0) > 0.6
        assert find(linear.metrics, "membership attack (AUC)", method).value == pytest.approx(0.5, abs=0.04)
