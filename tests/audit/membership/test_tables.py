"""The table of outputs: what its columns mean, what is dropped, what is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from numpy.testing import assert_allclose

from upright.audit.membership.tables import read_outputs
from upright.errors import UserError


def write(path: Path, **changes: Any) -> Path:
    """Four records of two classes, one reference model with its mask; keywords change columns (None removes)."""
    columns: dict[str, Any] = {
        "id": ["a", "b", "c", "d"],
        "member": [1, 1, 0, 0],
        "label": ["yes", "no", "yes", "no"],
        "logit_no": [0.0, 2.0, 0.0, 1.0],
        "logit_yes": [3.0, 0.0, 1.0, 0.0],
        "ref_r1_logit_no": [0.0, 1.0, 0.0, 1.0],
        "ref_r1_logit_yes": [1.0, 0.0, 1.0, 0.0],
        "ref_r1_in": [1, 0, 1, 0],
        "x_age": [30.0, 40.0, 50.0, 60.0],
        "sex": ["f", "m", "m", None],
        **changes,
    }
    pl.DataFrame({name: values for name, values in columns.items() if values is not None}).write_parquet(path)
    return path


def test_columns_by_hand(tmp_path: Path) -> None:
    """Two classes: φ is the difference of the logits in favour of the label, ln p = −ln(1 + e^−φ)."""
    table, drops = read_outputs(write(tmp_path / "t.parquet"), [], "sex")
    assert not drops
    assert table.member.tolist() == [True, True, False, False]
    assert_allclose(table.phi, [3, 2, 1, 1])
    assert_allclose(table.log_p, -np.log1p(np.exp([-3.0, -2, -1, -1])))
    assert_allclose(table.reference_phi, [[1, 1, 1, 1]])
    assert table.masks.tolist() == [[True, False, True, False]]
    assert (table.names, table.masked, table.group) == (["r1"], True, ["f", "m", "m", None])
    assert table.described.columns == ["x_age", "label"]


def test_log_probabilities_alone(tmp_path: Path) -> None:
    gone = dict.fromkeys(("label", "logit_no", "logit_yes", "ref_r1_logit_no", "ref_r1_logit_yes", "x_age"))
    path = write(tmp_path / "t.parquet", **gone, log_prob=[-0.5] * 4, ref_r1_log_prob=[-1.0] * 4, ref_r1_in=None)
    table, _ = read_outputs(path, ["sex"], None)
    assert_allclose(table.log_p, -0.5)
    assert_allclose(table.phi, -0.5 - np.log(1 - np.exp(-0.5)))
    assert_allclose(table.reference_log_p, -1.0)
    assert (table.masked, bool(table.masks.any()), table.described.columns) == (False, False, ["sex"])


def test_rows_that_cannot_be_used(tmp_path: Path) -> None:
    path = write(tmp_path / "t.parquet", logit_no=[0.0, float("nan"), 0.0, 1.0], id=["a", "b", "a", "d"])
    table, drops = read_outputs(path, [], None)
    assert table.ids == ["d"]
    assert {(d.row, d.reason) for d in drops} == {("a", "id on both sides"), ("b", "an output is not a finite number")}
    path = write(tmp_path / "u.parquet", x_age=[30.0, 40.0, 30.0, 60.0])
    table, drops = read_outputs(path, [], None)
    assert table.ids == ["b", "d"]
    assert {d.reason for d in drops} == {"same features and label on both sides"}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"member": None}, "unknown column of .* 'member'"),
        ({"member": [1, 2, 0, 0]}, "row 2: member is 2; must be 0 or 1"),
        ({"ref_r1_in": [1, 0, None, 0]}, "row 3: ref_r1_in is None; must be 0 or 1"),
        ({"label": None}, "unknown column of .* 'label'"),
        ({"label": ["yes", "maybe", "yes", "no"]}, "row 2: label is 'maybe'; the logits are of no, yes"),
        ({"logit_no": None, "logit_yes": None}, "has neither logit_CLASS nor log_prob"),
        ({"logit_no": None}, "has one column logit_yes; needs one for each of 2 classes"),
        ({"logit_no": ["a"] * 4}, "column 'logit_no' holds String; needs numbers"),
        ({"ref_r1_logit_no": None, "ref_r1_logit_yes": None}, "has neither ref_r1_logit_CLASS nor ref_r1_log_prob"),
        (
            {"logit_no": None, "logit_yes": None, "log_prob": [-1.0, 0.5, -1.0, -1.0]},
            "row 2: log_prob is 0.5; must be at most 0",
        ),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_outputs(write(tmp_path / "t.parquet", **changes), [], None)
    with pytest.raises(UserError, match="unknown column"):
        read_outputs(write(tmp_path / "t.parquet"), ["x_agee"], None)
