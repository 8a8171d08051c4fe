"""Whole runs: what they find, that they repeat and resume, and every mistake they refuse."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest

from tests.audit.fairness.conftest import config, find, verdicts, write
from upright.audit import fairness
from upright.audit.fairness import counts as c
from upright.audit.fairness import reading, runner, verdict
from upright.audit.fairness.config import Config
from upright.audit.findings import read_findings
from upright.errors import UserError
from upright.run.parse import parse


@pytest.fixture(scope="module")
def result(tmp_path_factory: pytest.TempPathFactory) -> fairness.Result:
    path = write(tmp_path_factory.mktemp("whole") / "t.csv", seed=2)
    return fairness.run(config(path, score="score", features=["score", "race"], lipschitz=0.5))


def test_the_run_finds_what_was_put_in(result: fairness.Result) -> None:
    found = verdicts(result.findings)
    assert {f.item for f in result.findings} == {
        *(verdict.GROUP, verdict.CROSSED, verdict.SUBGROUPS, verdict.CALIBRATION, verdict.INDIVIDUAL),
        *(verdict.INEQUALITY, verdict.PROXY),
    }
    assert found["Ratio of selection rates"].verdict == "concern"
    assert found["Larger gap of true and false positive rates"].verdict == "concern"
    assert found["Gap of positive predictive values"].verdict in ("undecided", "concern")
    assert "by race" in found["Gap of selection rates"].text
    even = find(result.metrics, "mean benefit, ratio", "by sex")
    assert even.ci_low is not None
    assert found["fairness.inequality"].verdict == verdict.at_least(even.ci_low, even.ci_high, 0.8)
    gap = find(result.metrics, "selection rate, difference", "by sex")
    assert gap.ci_low is not None
    assert gap.ci_high is not None
    assert gap.ci_low < 0.25 < gap.ci_high
    none = find(result.metrics, "selection rate, difference", "by race")
    assert none.ci_low == 0.0


def test_every_number_has_an_interval(result: fairness.Result) -> None:
    for m in result.metrics:
        known = m.value is None or m.name == "rows that cannot be used" or m.ci_low is not None
        assert known, m
        if m.value is not None and m.ci_low is not None and m.ci_high is not None:
            assert m.ci_low - 1e-9 <= m.value <= m.ci_high + 1e-9 or "null" in m.name or "p of" in m.name, m


def test_numbers_of_the_run_are_those_of_the_rows(result: fairness.Result) -> None:
    frame = pl.read_csv(result.out.parent / "t.csv")
    for sex in "fm":
        own = frame.filter(pl.col("sex") == sex)
        assert find(result.metrics, "selection rate", f"sex: {sex}").value == pytest.approx(own["said"].mean())
        positive = own.filter(pl.col("y") == 1)
        assert find(result.metrics, "true positive rate", f"sex: {sex}").value == pytest.approx(positive["said"].mean())
        assert find(result.metrics, "true positive rate", f"sex: {sex}").n == len(positive)


def test_what_is_written(result: fairness.Result) -> None:
    assert read_findings(result.out) == list(result.findings)
    page = result.report.read_text(encoding="utf-8")
    for text in ("By sex × race", "Calibration by race", "Worst subgroups", "differential fairness of predictions"):
        assert text in page
    assert {m.name for m in result.summary()} >= {"selection rate, ratio", "equalised odds, larger gap"}
    assert result.counts is not None
    assert result.counts.usable["records"].sum() == 3000


def test_the_scan_names_the_group_whose_score_is_wrong(result: fairness.Result) -> None:
    found = verdicts(result.findings)["fairness.subgroups"]
    assert found.verdict == "concern"
    assert "race=z" in found.text


def test_alike_people(result: fairness.Result) -> None:
    """Decisions follow the label and the sex, which the features hardly tell: neighbours are not treated alike."""
    alike = find(result.metrics, "consistency", "all")
    assert alike.n == 3000
    assert alike.value is not None
    assert 0.5 < alike.value < 0.8
    assert verdicts(result.findings)["fairness.individual"].verdict == "concern"
    assert find(result.metrics, "pairs treated more unlike than they are", "all").n == 1500


def test_the_same_seed_gives_the_same_numbers(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600)
    first, second = (fairness.run(config(path, out, score="score")) for out in ("a", "b"))
    assert first.metrics == second.metrics
    other = fairness.run(config(path, "c", score="score", seed=1))
    assert other.metrics != first.metrics


def test_a_killed_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write(tmp_path / "t.csv", 600)
    whole = fairness.run(config(path, "whole"))
    counted: list[Path] = []
    count = reading.count

    def watched(one: Path, asked: Config) -> c.Counts:
        counted.append(one)
        return count(one, asked)

    monkeypatch.setattr(reading, "count", watched)
    with monkeypatch.context() as broken:
        broken.setattr(runner, "_searches", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            fairness.run(config(path, "killed"))
    again = fairness.run(config(path, "killed"))
    assert len(counted) == 1  # the table was not read again
    assert again.metrics == whole.metrics
    assert list(again.findings) == list(whole.findings)


def test_small_groups_are_listed_and_not_compared(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600)
    frame = pl.read_csv(path)
    few = frame.head(8).with_columns(sex=pl.lit("other"), said=pl.lit(1, pl.Int64))
    pl.concat([frame, few]).write_csv(path)
    found = fairness.run(config(path))
    small = find(found.metrics, "selection rate", "sex: other")
    assert small.value is None
    assert small.n == 8
    value = find(found.metrics, "selection rate, difference", "by sex").value
    assert value is not None
    assert value < 0.5  # the 8 would make it 0.6 and more
    assert "other (8)" in found.report.read_text(encoding="utf-8")


def test_too_little_data_is_undecided(tmp_path: Path) -> None:
    found = verdicts(fairness.run(config(write(tmp_path / "t.csv", 40), groups=["race"])).findings)
    assert {f.verdict for item, f in found.items() if item != "fairness.subgroups"} == {"undecided"}


def test_unusable_rows_are_reported(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600)
    with path.open("a") as stream:
        stream.write("f,x,,1,0.5\nf,x,1,1,7\n,x,1,1,0.5\n")
    found = fairness.run(config(path, score="score"))
    rows = [json.loads(line) for line in (found.out / "failures.jsonl").read_text().splitlines()]
    assert [row["reason"] for row in rows] == ["label is missing", "score is outside 0 to 1"]
    assert [row["row"]["row"] for row in rows] == [601, 602]
    page = found.report.read_text(encoding="utf-8")
    assert "2 rows could not be used" in page
    assert "form a group of their own" in page


def test_weights_count(tmp_path: Path) -> None:
    """Weight 2 on every record changes no rate; the intervals do not pretend to twice the data."""
    path = write(tmp_path / "t.csv", 600, w=np.full(600, 2.0))
    plain, weighted = fairness.run(config(path, "a")), fairness.run(config(path, "b", weight="w"))
    for name in ("selection rate", "true positive rate"):
        one, two = (find(r.metrics, name, "sex: f") for r in (plain, weighted))
        assert two.value == pytest.approx(one.value)
        assert two.ci_low == pytest.approx(one.ci_low)
    assert not [m for m in weighted.metrics if "p of" in m.name]
    assert "Records are weighted" in weighted.report.read_text(encoding="utf-8")


def test_a_folder_of_shards(tmp_path: Path) -> None:
    whole = write(tmp_path / "t.csv", 600)
    (tmp_path / "parts").mkdir()
    frame = pl.read_csv(whole)
    for i in range(3):
        frame[200 * i : 200 * i + 200].write_parquet(tmp_path / "parts" / f"{i}.parquet")
    one = fairness.run(config(whole, "a", score="score"))
    many = fairness.run(config(whole, "b", score="score").model_copy(update={"table": tmp_path / "parts"}))
    assert one.metrics == many.metrics


def test_strata(tmp_path: Path) -> None:
    """Departments decide alike for all, but take different people: a plain gap, no conditional one."""
    rng = np.random.default_rng(1)
    n = 4000
    sex = rng.choice(["f", "m"], n)
    hard = rng.random(n) < np.where(sex == "f", 0.8, 0.2)
    said = (rng.random(n) < np.where(hard, 0.2, 0.7)).astype(int)
    path = tmp_path / "t.csv"
    pl.DataFrame({"sex": sex, "dept": hard.astype(int), "y": said, "said": said}).write_csv(path)
    found = fairness.run(config(path, groups=["sex"], strata="dept"))
    plain = find(found.metrics, "selection rate, difference", "by sex").value
    within = find(found.metrics, "conditional selection rate, difference", "by sex").value
    assert plain is not None
    assert within is not None
    assert plain > 0.25
    assert within < 0.05


def test_several_classes(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    n = 3000
    sex = rng.choice(["f", "m"], n)
    y = rng.integers(0, 3, n)
    said = np.where((sex == "m") & (rng.random(n) < 0.4), 2, y)
    path = tmp_path / "t.csv"
    pl.DataFrame({"sex": sex, "y": y, "said": said}).write_csv(path)
    found = fairness.run(config(path, groups=["sex"]))
    shares = [np.bincount(said[sex == s], minlength=3) / (sex == s).sum() for s in "fm"]
    wanted = 0.5 * np.abs(shares[0] - shares[1]).sum()
    assert find(found.metrics, "parity distance", "by sex").value == pytest.approx(wanted)
    assert verdicts(found.findings)["Distance of decision laws"].verdict == "concern"
    binary = fairness.run(config(path, "b", groups=["sex"], positive="2"))
    gap = find(binary.metrics, "selection rate, difference", "by sex").value
    assert gap == pytest.approx(abs(shares[0][2] - shares[1][2]))


def test_regression(tmp_path: Path) -> None:
    rng = np.random.default_rng(3)
    n = 2000
    sex = rng.choice(["f", "m"], n)
    y = rng.normal(10, 3, n)
    pay = y + rng.normal(0, 1 + (sex == "f"), n)
    path = tmp_path / "t.csv"
    pl.DataFrame({"sex": sex, "pay": y, "said": pay}).write_csv(path)
    with path.open("a") as stream:
        stream.write("f,high,12\n")
    found = fairness.run(config(path, groups=["sex"], label="pay", task="regression"))
    for s in "fm":
        own = find(found.metrics, "mean absolute error", f"sex: {s}")
        assert own.value == pytest.approx(np.abs(pay - y)[sex == s].mean())
    assert verdicts(found.findings)["Mean absolute error, difference over the overall error"].verdict == "concern"
    assert verdicts(found.findings)["Kolmogorov-Smirnov distance of predictions (simultaneous)"].verdict == "undecided"
    assert "pay or said is missing or no number" in (found.out / "failures.jsonl").read_text()
    above = find(found.metrics, "pairs in the right order", "sex: f above m")
    assert above.value is not None
    assert above.n > 150


@pytest.mark.parametrize(("queries", "bent", "wanted"), [(1, 2.0, "concern"), (1, 0.0, "clear"), (20, 2.0, "concern")])
def test_ranking(tmp_path: Path, queries: int, bent: float, wanted: str) -> None:
    rng = np.random.default_rng(4)
    n = 400
    sex = rng.choice(["f", "m"], n)
    score = rng.normal(bent * (sex == "m"), 1)
    path = tmp_path / "t.csv"
    y = rng.integers(0, 2, n)
    pl.DataFrame({"sex": sex, "y": y, "score": score, "q": np.arange(n) % queries}).write_csv(path)
    asked = config(path, groups=["sex"], prediction=None, score="score", task="ranking", top=[10], query="q")
    found = fairness.run(asked)
    assert verdicts(found.findings)["fairness.ranking"].verdict == wanted
    ndkl, null = (find(found.metrics, name, "by sex") for name in ("NDKL", "NDKL of a random order"))
    assert ndkl.n == queries
    assert ndkl.value is not None
    assert null.ci_high is not None
    assert (ndkl.value > null.ci_high) == (wanted == "concern")


def test_scores_alone_make_decisions(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600)
    found = fairness.run(config(path, prediction=None, score="score", threshold=0.4))
    frame = pl.read_csv(path)
    wanted = (frame.filter(pl.col("sex") == "f")["score"] >= 0.4).mean()
    assert find(found.metrics, "selection rate", "sex: f").value == pytest.approx(wanted)


def test_constant_scores_are_flagged(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 600, score=np.full(600, 0.5))
    found = fairness.run(config(path, score="score"))
    assert "All scores are equal" in found.report.read_text(encoding="utf-8")
    assert find(found.metrics, "AUC", "sex: f").value == pytest.approx(0.5)
    assert find(found.metrics, "calibration slope", "sex: f").value is None


def test_reference_groups(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", 900)
    named = fairness.run(config(path, "a", reference={"sex": "f"}))
    shift = find(named.metrics, "selection rate, difference to f", "sex: m")
    assert shift.value is not None
    assert shift.ci_low is not None
    assert shift.value > shift.ci_low > 0
    best = fairness.run(config(path, "b", against="best"))
    assert find(best.metrics, "selection rate, difference to m", "sex: f").value == pytest.approx(-shift.value)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"reference": {"sex": "w"}}, "unknown --reference sex group 'w'"),
        ({"groups": ["age"]}, "unknown column in .*'age'"),
        ({"label": "wage", "score": "score"}, "unknown column in .*'wage'"),
        ({"features": ["score"], "neighbours": 5000}, "must be fewer than the records"),
        ({"groups": ["sex"], "label": "race", "prediction": "race"}, None),
        ({"label": "score", "prediction": "score"}, "at most 100 .numbers: --task regression"),
        ({"groups": ["sex"], "label": "race", "prediction": "race", "score": "score"}, "name the --positive one"),
        ({"groups": ["sex"], "task": "regression", "prediction": "race"}, "300 of 300 rows lack y or race"),
    ],
)
def test_refused_runs(tmp_path: Path, more: dict[str, Any], message: str | None) -> None:
    asked = config(write(tmp_path / "t.csv", 300), **more)
    if message is None:
        assert fairness.run(asked).findings
        return
    with pytest.raises(UserError, match=message):
        fairness.run(asked)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--groups", "a"], "--prediction and --score are both missing"),
        (["--groups", "a,a", "--prediction", "p"], "got 'a' twice"),
        (["--groups", "a", "--prediction", "p", "--reference", "b=1"], "got column 'b'"),
        (["--groups", "a", "--score", "s", "--task", "regression"], "got no --prediction"),
        (["--groups", "a", "--prediction", "p", "--task", "ranking"], "got no --score"),
        (["--groups", "a", "--prediction", "p", "--limit", "2"], "--limit: got '2'"),
        (["--groups", "a", "--prediction", "p", "--draws", "10"], "--draws: got '10'"),
        (["--groups", "y", "--prediction", "p"], "holds the label or the prediction"),
        (["--groups", "a", "--prediction", "p", "--task", "regression", "--weight", "w"], "--weight: says nothing to"),
        (["--groups", "a", "--score", "s", "--task", "ranking", "--features", "f"], "only to decisions; drop it"),
        (["--groups", "a", "--prediction", "p", "--query", "q"], "--query: says nothing to --task decisions"),
    ],
)
def test_refused_words(words: list[str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        parse(Config, ["t.csv", "--label", "y", *words])


def test_the_configuration_imports_nothing_heavy() -> None:
    code = "import sys, upright.audit.fairness; print([m for m in ('numpy', 'polars', 'torch') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
