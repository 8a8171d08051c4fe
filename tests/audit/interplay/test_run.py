"""The whole audit on an invented table: what it writes, resumes and refuses."""

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch
from pydantic import ValidationError

from upright.audit import interplay
from upright.audit.findings import read_findings
from upright.audit.interplay import grid as grid_module
from upright.audit.interplay.config import Config
from upright.audit.interplay.grid import Cell
from upright.errors import UserError
from upright.run.flags import command
from upright.run.parse import from_file, parse

Make = Callable[..., Config]
Finished = tuple[Config, interplay.Result]


def test_a_run_from_end_to_end(finished: Finished) -> None:
    """Six cells of 4 models; every number has its interval; ε is earned by private cells and by no other."""
    _, result = finished
    assert [finding.item for finding in read_findings(result.out)] == [
        "both.interplay-utility",
        "both.interplay-clipping",
        "both.interplay-attack",
        "both.interplay-leakage",
        "both.fair-to-privacy",
    ]
    assert list(result.findings) == read_findings(result.out)
    earned = {m.split: m.value for m in result.metrics if m.name == "epsilon earned"}
    assert list(earned) == ["ε 2, none", "ε 2, reweighing", "ε 2, parity"]
    assert all(1.9 < (value or 0) <= 2.0 for value in earned.values())
    for metric in result.metrics:
        if metric.value is not None and metric.name != "epsilon earned":
            assert metric.ci_low is not None, metric.name
            assert metric.n > 1
    page = result.report.read_text()
    assert "ε holds for each model by itself" in page
    assert page.count("<svg") >= 14
    assert {m.name for m in result.summary()} >= {"accuracy", "selection rate gap"}


def test_accuracy_lost_is_that_of_the_stored_models(finished: Finished) -> None:
    """Recomputed with plain loops from the models' outputs, for the group f at ε 2 without constraint."""
    _, result = finished
    y, group = result.problem.y.numpy(), result.problem.group.numpy()
    right: dict[float, list[float]] = {math.inf: [], 2.0: []}
    for epsilon, hits in right.items():
        for s in range(2):
            said = result.grid.cells[Cell(epsilon, "none")][s]["logits"].numpy() > 0
            for i in np.flatnonzero(~result.grid.masks[s] & (group == 0)):
                hits.append(float(said[i] == (y[i] > 0.5)))
    lost = next(m for m in result.metrics if (m.name, m.split) == ("accuracy lost to privacy", "ε 2, none, f"))
    assert lost.value is not None
    assert lost.value == pytest.approx(100 * (np.mean(right[math.inf]) - np.mean(right[2.0])))
    assert lost.ci_low is not None
    assert lost.ci_high is not None
    assert lost.ci_low <= lost.value <= lost.ci_high


def test_narrowing_is_the_difference_of_differences(finished: Finished) -> None:
    """(gap of plain − gap of fair) at ∞ minus the same at ε 2; men have the higher base rate in the table."""
    _, result = finished
    found = {(m.name, m.split): m.value or 0.0 for m in result.metrics}

    def gap(cell: str) -> float:
        return 100 * (found["selection rate", f"{cell}, m"] - found["selection rate", f"{cell}, f"])

    at_large, strict = gap("ε ∞, none") - gap("ε ∞, parity"), gap("ε 2, none") - gap("ε 2, parity")
    rates = [float(result.problem.y[result.problem.group == g].mean()) for g in range(2)]
    sign = 1 if rates[1] > rates[0] else -1
    assert found["selection gap narrowed by the constraint", "ε 2, parity"] == pytest.approx(sign * strict, abs=1e-4)
    assert found["narrowing lost to privacy", "ε 2, parity"] == pytest.approx(sign * (at_large - strict), abs=1e-4)


def test_a_killed_run_goes_on_and_ends_the_same(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, whole = finished
    config = asked.model_copy(update={"out": tmp_path / "broken"})
    observe = grid_module._observe
    trained: list[int] = []

    def counting(*args: Any) -> Any:
        trained.append(args[-1])
        if len(trained) == 9:
            raise KeyboardInterrupt
        return observe(*args)

    monkeypatch.setattr(grid_module, "_observe", counting)
    with pytest.raises(KeyboardInterrupt):
        interplay.run(config)
    resumed = interplay.run(config)
    assert len(trained) == 6 * 4 + 1  # cells × models, each once, and the one that was killed
    assert [m.model_dump() for m in resumed.metrics] == [m.model_dump() for m in whole.metrics]
    assert list(resumed.findings) == list(whole.findings)


def test_memorised_records_are_found_and_privacy_hides_them(make: Make) -> None:
    """180 records a model, 40 features of pure noise and random labels: without privacy the model can only remember."""
    rng = np.random.default_rng(0)
    frame = pl.DataFrame({f"x{i}": rng.normal(size=400) for i in range(40)})
    frame = frame.with_columns(sex=pl.Series(rng.choice(["f", "m"], 400)), hired=pl.Series(rng.integers(0, 2, 400)))
    training = {"steps": 150, "batch": 90, "hidden": 64, "learning_rate": 0.03}
    result = interplay.run(make(frame, constraints=["none"], epsilons=[math.inf, 0.5], training=training))
    attack = {f.item: f for f in result.findings}["both.interplay-attack"]
    assert attack.verdict == "concern"
    areas = {m.split: m for m in result.metrics if m.name == "loss attack AUC"}
    for group in ("f", "m"):
        assert (areas[f"ε ∞, none, {group}"].ci_low or 0) > (areas[f"ε 0.5, none, {group}"].ci_high or 1)


# --- settings --------------------------------------------------------------------------------------------------


def test_infinity_survives_flags_and_files(make: Make) -> None:
    words = ["t.csv", "--label", "y", "--groups", "a,b", "--epsilons", "1,inf", "--constraints", "parity,none"]
    config = parse(Config, words)
    assert config.epsilons == [math.inf, 1.0]
    assert config.constraints == ["none", "parity"]
    assert "--epsilons inf,1.0" in command(config, "audit interplay")
    stored = make().out
    assert stored is not None
    path = stored.parent / "config.json"
    path.write_text(json.dumps(config.model_dump(mode="json", by_alias=True), allow_nan=False))
    assert from_file(Config, path) == config


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--epsilons", "inf,0"], "must be > 0"),
        (["--epsilons", "inf,-1"], "must be > 0"),
        (["--epsilons", "8,4"], "got 8,4; must be different budgets, with inf, the control, among them"),
        (["--constraints", "parity"], "with none, the plain model, among them"),
        (["--constraints", "none,odds"], "odds"),
        (["--seeds", "0"], "seeds"),
        (["--groups", "a,a"], "one or more different columns"),
    ],
)
def test_settings_that_ask_for_nothing_are_refused(words: list[str], message: str) -> None:
    start = ["t.csv", "--label", "y", *([] if "--groups" in words else ["--groups", "a"])]
    with pytest.raises((UserError, ValidationError), match=message):
        parse(Config, [*start, *words])


def test_a_delta_that_protects_nobody_is_refused(make: Make) -> None:
    with pytest.raises(UserError, match=r"--training.delta 0\.01: must be below 1/315, as each model"):
        interplay.run(make(training={"delta": 0.01}))


def test_one_seed_and_no_reference_still_give_intervals(make: Make) -> None:
    result = interplay.run(make(seeds=1, references=0, epsilons=[math.inf], constraints=["none"]))
    assert {f.item: f.verdict for f in result.findings}["both.interplay-utility"] == "undecided"
    area = next(m for m in result.metrics if m.name == "loss attack AUC")
    assert area.ci_low is not None
    assert not any(m.name.startswith("RMIA") for m in result.metrics)
    assert torch.is_tensor(result.grid.inputs[0])
