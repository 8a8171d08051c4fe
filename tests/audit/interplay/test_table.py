"""Reading and refusing tables; nothing of an audited record is in the encoding, and no record has a twin across."""

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
import torch

from upright.audit.interplay.config import Config
from upright.audit.interplay.table import Problem, _encode, half_of, read_problem
from upright.errors import UserError
from upright.run.files import read_jsonl
from upright.run.folder import RunFolder, open_run

Make = Callable[..., Config]
People = Callable[..., pl.DataFrame]


class Done(Exception):
    pass


def problem_of(config: Config, look: Callable[[RunFolder], None] = lambda folder: None) -> Problem:
    found: list[Problem] = []
    with suppress(Done), open_run(config, "audit interplay") as folder:
        found.append(read_problem(config, folder))
        look(folder)
        raise Done
    return found[0]


def test_no_audited_record_is_in_the_encoding_of_another(people: People) -> None:
    """Changing one to extreme numbers and an unheard word changes its own row, and the columns stay as they were."""
    frame = people().drop("hired", "sex")
    public = np.arange(len(frame)) % 10 == 0
    odd = pl.int_range(pl.len()) == 5
    changed = frame.with_columns(
        age=pl.when(odd).then(pl.lit(1e9)).otherwise("age"), town=pl.when(odd).then(pl.lit("moon")).otherwise("town")
    )
    before, after = _encode(frame, public), _encode(changed, public)
    rest = np.arange(len(frame)) != 5
    np.testing.assert_array_equal(before[rest], after[rest])
    np.testing.assert_array_equal(after[5], [5.0, before[5, 1], 0, 0, 0])


def test_features_are_numbers_of_one_scale_and_words_of_one_hot(make: Make) -> None:
    plain = problem_of(make())
    numbers = plain.public_x[:, :2]
    torch.testing.assert_close(numbers.clamp(-4.9, 4.9).mean(0), torch.zeros(2), rtol=0, atol=0.1)
    assert plain.names == ["f", "m"]
    assert plain.x.shape[1] == 2 + 3
    assert plain.x[:, 2:].sum(1).unique().tolist() == [1.0]
    assert float(plain.x.abs().max()) <= 5


def test_missing_labels_and_small_groups_are_counted(make: Make, people: People) -> None:
    frame = people().with_columns(
        sex=pl.when(pl.int_range(pl.len()) < 5).then(pl.lit("x")).otherwise("sex"),
        hired=pl.when(pl.int_range(pl.len()) == 9).then(None).otherwise("hired"),
    )
    rows: list[dict[str, Any]] = []
    problem = problem_of(make(frame), lambda folder: rows.extend(read_jsonl(folder.path / "failures.jsonl")))
    assert problem.names == ["f", "m"]
    assert [row["row"]["row"] for row in rows] == [9, 0, 1, 2, 3, 4]
    assert len(problem.y) + len(problem.public_y) == 694


def test_equal_records_stay_together() -> None:
    rng = np.random.default_rng(0)
    twin = rng.integers(0, 60, 300)
    mask = half_of(twin, 0.5, rng)
    assert set(twin[mask]).isdisjoint(twin[~mask])
    assert 0.4 < mask.mean() <= 0.5


def test_groups_are_cut_to_half_of_the_smallest(make: Make) -> None:
    """Group f has some 30 % of 630 records; its half, within a fifth, is what every group is trained with."""
    problem = problem_of(make())
    mask = problem.draw_members(True, np.random.default_rng(3))
    sizes = [int(mask[problem.group.numpy() == g].sum()) for g in range(2)]
    half = int((problem.group == 0).sum()) // 2
    assert problem.members(True) == 2 * half
    assert sizes[1] == half
    assert 0.8 * half <= sizes[0] <= half
    assert problem.members(False) == len(problem.y) // 2


def test_rows_are_a_sample_by_seed(make: Make) -> None:
    config = make(rows=400)
    first = problem_of(config)
    again = problem_of(config.model_copy(update={"overwrite": True}))
    other = problem_of(config.model_copy(update={"overwrite": True, "seed": 1}))
    assert len(first.y) + len(first.public_y) == 400
    assert torch.equal(first.x, again.x)
    assert first.x.shape != other.x.shape or not torch.equal(first.x, other.x)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"label": "hire"}, "unknown column 'hire' .*did you mean 'hired'"),
        ({"features": ["hired"]}, "--label hired: is also a feature or group"),
        ({"positive": "yes"}, r"--positive 'yes': must be one of two or more values of hired \(got: 0, 1\)"),
        ({"groups": ["town"], "min_group": 500}, "got 0 groups with 500 rows"),
        ({"table": Path("people.xls")}, "got a .xls file; must be one of .csv, .parquet, .jsonl"),
        ({"table": Path("nowhere.csv")}, "nowhere.csv: is not there"),
    ],
)
def test_mistakes_are_told_in_one_line(make: Make, changes: dict[str, Any], message: str) -> None:
    config = make(**changes)
    with pytest.raises(UserError, match=message) as caught, open_run(config, "audit interplay") as folder:
        read_problem(config, folder)
    assert "\n" not in str(caught.value)


def test_one_group_is_refused(make: Make, people: People) -> None:
    config = make(people().filter(pl.col("sex") == "m"))
    with pytest.raises(UserError, match="got 1 groups"), open_run(config, "audit interplay") as folder:
        read_problem(config, folder)


def test_words_without_end_are_refused(make: Make, people: People) -> None:
    frame = pl.concat([people(), people(3000)]).with_columns(name=pl.int_range(pl.len()).cast(pl.String) + "x")
    config = make(frame)
    with pytest.raises(UserError, match=r"name: got \d+ different words"), open_run(config, "x") as folder:
        read_problem(config, folder)
