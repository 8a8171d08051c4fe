"""Whole runs of `upright audit epsilon`: claim, verdict, exit code, resume, and what is refused."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from pydantic import ValidationError

from upright.audit import epsilon
from upright.audit.epsilon import bounds, present
from upright.audit.epsilon.config import Config, GuessConfig
from upright.audit.findings import read_findings
from upright.errors import UserError
from upright.run.measures import epsilon as method
from upright.run.records import read_metrics

Write = Callable[..., Path]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """A file of canaries by fair coins, whose scores are `signal` higher when in; noise has sd 1."""

    def build(signal: float, n: int = 1000, seed: int = 0, run: bool = False) -> Path:
        rng = np.random.default_rng(seed)
        included = rng.random(n) < 0.5
        columns: dict[str, Any] = {"score": rng.standard_normal(n) + signal * included, "included": included}
        path = tmp_path / "scores.parquet"
        pl.DataFrame(columns | ({"run": np.arange(n)} if run else {})).write_parquet(path)
        return path

    return build


def make(file: Path, **more: Any) -> Config:
    return Config.model_validate({"file": file, "delta": 1e-5, "out": file.parent / "run", **more})


def test_a_refuted_claim_ends_with_three(write: Write) -> None:
    """No noise worth the name: 250 guesses of 1,000 canaries, all right, with alpha / 3, show ε >= 4.06."""
    result = epsilon.run(make(write(30.0), claimed=2.0))
    assert (result.refuted, result.exit_code) == (True, 3)
    expected = method.epsilon_one_run(method.Guesses(250, 250, 1000), 1e-5, 0.05 / 3)
    assert result.epsilon == pytest.approx(expected)
    (answer,) = read_findings(result.out)
    assert (answer.item, answer.verdict) == ("privacy.epsilon", "concern")
    assert answer.text.startswith("The claim of ε = 2 is refuted: by the scores of 1,000 canaries, ε is at least 4.06")
    assert "δ = 1e-05 for one record (add-or-remove), with 95 % confidence" in answer.text


def test_metrics_hold_the_bound_its_ceiling_and_the_claim(write: Write) -> None:
    result = epsilon.run(make(write(0.5), claimed=3.0))
    assert (result.refuted, result.exit_code, result.findings[0].verdict) == (False, 0, "clear")
    found = {(m.name, m.split): m for m in read_metrics(result.out)}
    bound = found[present.BOUND, "one run, any mechanism"]
    assert (bound.value, bound.n) == (result.epsilon, 1000)
    assert found[present.CLAIM, "all"].value == 3.0
    assert (found[present.CEILING, "all"].value or 0) > 3.0
    assert {split for name, split in found if name == present.BOUND} == set(list(present.LABELS.values())[:3])
    right = found["guesses right", "250 guesses"]
    low, value, high = right.ci_low or 0, right.value or 0, right.ci_high or 0
    assert 0 < low < value < high
    assert [m.name for m in result.summary()] == [present.BOUND, present.CEILING, present.CLAIM, "AUC"]


@pytest.mark.parametrize("name", ["one-run", "one-run-f-dp", "many-runs"])
def test_the_report_says_unit_adjacency_and_method(write: Write, name: str) -> None:
    file = write(1.0, run=name == "many-runs")
    result = epsilon.run(make(file, method=name, unit="user", adjacency="replace", claimed=2.0))
    page = result.report.read_text(encoding="utf-8")
    for text in ("user", "replace", present.LABELS[name], "A lower bound refutes; it never confirms", "<svg"):
        assert text in page
    assert page.count('class="plot"') == (2 if name == "many-runs" else 3)


def test_a_claim_above_what_the_data_could_show_is_undecided(write: Write) -> None:
    """100 guesses, all right, refute 3.49 at most (δ = 0), so a claim of 8 cannot be refuted by them."""
    result = epsilon.run(make(write(30.0, n=100), claimed=8.0))
    assert result.findings[0].verdict == "undecided"
    assert "could not be tested" in result.findings[0].text
    assert f"{method.guesses_needed(8.0):,} guesses" in result.report.read_text(encoding="utf-8")
    assert epsilon.run(make(write(1.0), out=result.out.parent / "b")).findings[0].verdict == "undecided"


def test_a_handful_of_canaries_gives_no_number(write: Write) -> None:
    result = epsilon.run(make(write(30.0, n=4, seed=3), claimed=0.1))
    assert result.metrics[0].value is None
    assert (result.findings[0].verdict, result.exit_code) == ("undecided", 0)


def test_unfair_coins_void_the_bound(tmp_path: Path) -> None:
    """400 of 1,000 in: 6.3 standard deviations from half. The scores would refute the claim."""
    included = np.arange(1000) < 400
    pl.DataFrame({"score": included * 9.0, "included": included}).write_csv(tmp_path / "s.csv")
    result = epsilon.run(make(tmp_path / "s.csv", claimed=1.0, guess={"in": [100]}))
    assert result.epsilon > 1.0
    assert (result.refuted, result.exit_code, result.findings[0].verdict) == (False, 0, "void")
    assert epsilon.run(make(tmp_path / "s.csv", claimed=1.0, method="many-runs", out=tmp_path / "b")).refuted


def test_asked_guesses_and_thresholds_are_the_ones_made(write: Write, tmp_path: Path) -> None:
    result = epsilon.run(make(write(3.0), guess={"in": [40, 80], "out": [0, 10]}))
    made = {m.split: m.n for m in result.metrics if m.name == "guesses right"}
    assert made == {"40 guesses": 40, "90 guesses": 90}
    many = epsilon.run(make(write(3.0), method="many-runs", threshold={"at": [1.5]}, out=tmp_path / "many"))
    rates = {m.name: m.value for m in many.metrics}
    assert rates["true positives"] == pytest.approx(0.933, abs=0.04)  # Φ(1.5), both ways
    assert rates["false positives"] == pytest.approx(0.067, abs=0.04)


def test_rows_without_a_score_are_counted_and_listed(tmp_path: Path) -> None:
    rows = ["score,included", *(f"{9 * (i % 2)},{i % 2}" for i in range(200)), ",1", ",0"]
    (tmp_path / "s.csv").write_text("\n".join(rows), encoding="utf-8")
    result = epsilon.run(make(tmp_path / "s.csv"))
    failures = [json.loads(line) for line in (result.out / "failures.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [row["row"] for row in failures] == [{"row": 201}, {"row": 202}]
    assert result.metrics[0].n == 202
    assert next(m for m in result.metrics if m.name == "guesses right").n == 200
    assert "2 rows dropped" in result.report.read_text(encoding="utf-8")


def test_a_stopped_run_goes_on_and_ends_the_same(write: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped before its report: the bounds are read back, not found again, and all numbers are equal."""
    file = write(1.0)
    whole = epsilon.run(make(file, claimed=2.0))
    with monkeypatch.context() as broken:
        broken.setattr(present, "report", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            epsilon.run(make(file, claimed=2.0, out=file.parent / "again"))
    monkeypatch.setattr(bounds, "sheet", lambda *_: pytest.fail("done already"))
    again = epsilon.run(make(file, claimed=2.0, out=file.parent / "again"))
    for name in ("metrics.json", "findings.json"):
        assert (again.out / name).read_bytes() == (whole.out / name).read_bytes()
    assert again.epsilon == whole.epsilon


def test_seed_settles_ties(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    included = rng.random(500) < 0.5
    score = (included ^ (rng.random(500) < 0.2)).astype(float)
    pl.DataFrame({"score": score, "included": included}).write_csv(tmp_path / "s.csv")

    def right(out: str, seed: int) -> list[float | None]:
        result = epsilon.run(make(tmp_path / "s.csv", seed=seed, out=tmp_path / out))
        return [m.value for m in result.metrics if m.name == "guesses right"]

    assert right("a", 1) == right("b", 1) != right("c", 2)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (
            {"guess": {"in": [600], "out": [600]}},
            "--guess.in 600 and --guess.out 600: only 1,000 canaries have a score",
        ),
        ({"method": "many-runs", "columns": {"score": "loss"}}, "unknown column in .*'loss'"),
    ],
)
def test_what_the_data_cannot_give_is_refused_before_a_folder_is_made(
    write: Write, more: dict[str, Any], message: str
) -> None:
    config = make(write(1.0), **more)
    with pytest.raises(UserError, match=message):
        epsilon.run(config)
    assert config.out is not None
    assert not config.out.exists()


def test_two_runs_of_each_kind_are_needed_for_a_split(tmp_path: Path) -> None:
    (tmp_path / "s.csv").write_text("score,included\n1,1\n2,1\n0,0\n", encoding="utf-8")
    with pytest.raises(UserError, match="needs two runs with and two without the canary"):
        epsilon.run(make(tmp_path / "s.csv", method="many-runs", threshold={"pick": "split"}))


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"delta": 1.0}, "less than 1"),
        ({"claimed": 0}, "greater than 0"),
        ({"confidence": 0.4}, "greater than or equal to 0.5"),
        ({"method": "many-runs", "guess": {"in": [5]}}, "belong to one run"),
        ({"threshold": {"at": [5]}}, "belongs to many runs; --method one-run takes --guess.in"),
        ({"curve": "gaussian"}, "--curve gaussian: got --method one-run"),
        ({"curve": "gaussian", "method": "one-run-f-dp", "delta": 0}, "needs .* a delta above 0"),
        ({"guess": {"in": [5, 6], "out": [5]}}, "--guess.in has 2 numbers and --guess.out 1"),
        ({"guess": {"in": [0], "out": [0]}}, "is no guess"),
        ({"method": "many-runs", "threshold": {"ranks": []}}, "--threshold.ranks is empty"),
        ({"method": "many-runs", "threshold": {"ranks": [1.0]}}, "less than 1"),
        ({"adjacency": "swap"}, "'add-or-remove', 'replace' or 'zero-out'"),
    ],
)
def test_settings_that_do_not_fit_are_refused(tmp_path: Path, more: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        make(tmp_path / "s.csv", **more)


def test_pure_epsilon_needs_no_delta(write: Write) -> None:
    result = epsilon.run(make(write(2.0), delta=0.0, claimed=1.0))
    assert not any("Gaussian" in m.split for m in result.metrics)
    assert result.refuted


def test_scores_that_are_missing_on_one_side_void_the_bound(tmp_path: Path) -> None:
    """Noise, but half of what was out has no score: of 1,500 left two thirds were in, which guesses would cash in on.

    Fair coins give 1,000 or more of 1,500 with a chance far below 0.001. Missing on both sides alike, it is no matter.
    """
    rng = np.random.default_rng(0)
    included = np.arange(2000) < 1000
    table = pl.DataFrame({"score": rng.normal(size=2000), "included": included.astype(int)})
    missing = pl.Series(rng.permutation(2000) < 500), pl.Series(np.arange(2000) >= 1500)
    verdicts = []
    for i, gone in enumerate(missing):
        table.with_columns(score=pl.when(gone).then(None).otherwise("score")).write_parquet(tmp_path / f"{i}.parquet")
        config = Config(
            file=tmp_path / f"{i}.parquet", delta=1e-5, claimed=0.3, guess=GuessConfig(in_=[500]), out=tmp_path / str(i)
        )
        result = epsilon.run(config)
        verdicts.append((result.findings[0].verdict, result.refuted))
    assert verdicts == [("clear", False), ("void", False)]
