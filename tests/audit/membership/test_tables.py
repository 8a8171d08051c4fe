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
    assert_allclose(table.phi, [[3], [2], [1], [1]])
    assert_allclose(table.log_p, -np.log1p(np.exp([-3.0, -2, -1, -1])))
    assert_allclose(table.reference_phi, [[[1], [1], [1], [1]]])
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


def test_a_copy_has_the_same_features_label_and_outputs(tmp_path: Path) -> None:
    """Of a, b | c, d all have the same feature; a and c also the label and, when they are made so, the outputs."""
    alike: dict[str, Any] = {"x_age": [30.0] * 4}
    table, drops = read_outputs(write(tmp_path / "t.parquet", **alike), [], None)
    assert (table.ids, drops) == (["a", "b", "c", "d"], [])
    table, drops = read_outputs(write(tmp_path / "u.parquet", **alike, logit_yes=[3.0, 0.0, 3.0, 0.0]), [], None)
    assert table.ids == ["b", "d"]
    assert {d.reason for d in drops} == {"same features, label and outputs on both sides"}


def test_rows_of_one_id_are_queries_about_one_record(tmp_path: Path) -> None:
    """Two records of two rows: phi keeps both, ln p is their mean; an empty `member` is a suspect."""
    path = write(
        tmp_path / "t.parquet",
        id=["a", "b", "a", "b"],
        member=[1, None, 1, None],
        label=["yes", "no"] * 2,
        ref_r1_in=[1, 0, 1, 0],
        sex=["f", "m", "f", "m"],
    )
    table, _ = read_outputs(path, [], None)
    assert (table.ids, table.member.tolist(), table.suspect.tolist()) == (["a", "b"], [True, False], [False, True])
    assert_allclose(table.phi, [[3, 1], [2, 1]])
    assert_allclose(table.reference_phi, [[[1, 1], [1, 1]]])
    assert_allclose(table.log_p, -np.log1p(np.exp(np.array([[-3.0, -1], [-2, -1]]))).mean(axis=1))
    assert table.masks.tolist() == [[True, False]]


def test_membership_is_read_as_people_write_it(tmp_path: Path) -> None:
    table, _ = read_outputs(write(tmp_path / "t.parquet", member=["True", "1.0", "False", "0"]), [], None)
    assert table.member.tolist() == [True, True, False, False]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"member": None}, "unknown column in .*: 'member'"),
        ({"member": [1, 2, 0, 0]}, "line 2, member: got '2'; must be 0 or 1"),
        ({"ref_r1_in": [1, 0, None, 0]}, "line 3, ref_r1_in: got None; must be 0 or 1"),
        ({"member": [0.7, 1.0, 0.0, 0.0]}, "line 1, member: got '0.7'; must be 0 or 1"),
        ({"id": ["a", "a", "c", "d"]}, "the rows of id 'a' differ in label"),
        ({"id": ["a", "b", "c", "c"], "label": ["no"] * 4, "ref_r1_in": [1] * 4}, "id 'c' stands in 2 rows, 'a' in 1"),
        ({"label": None}, "unknown column in .*: 'label'"),
        ({"label": ["yes", "maybe", "yes", "no"]}, "line 2, label: got 'maybe'; the logits are of no, yes"),
        ({"logit_no": None, "logit_yes": None}, "has neither logit_CLASS nor log_prob"),
        ({"logit_no": None}, "has one column logit_yes; needs one for each of 2 classes"),
        ({"logit_no": ["a"] * 4}, "line 1, logit_no: got 'a'; must be a number"),
        ({"ref_r1_logit_no": None, "ref_r1_logit_yes": None}, "has neither ref_r1_logit_CLASS nor ref_r1_log_prob"),
        (
            {"logit_no": None, "logit_yes": None, "log_prob": [-1.0, 0.5, -1.0, -1.0]},
            "line 2, log_prob: got 0.5; must be at most 0",
        ),
    ],
)
def test_mistakes_are_named(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=message):
        read_outputs(write(tmp_path / "t.parquet", **changes), [], None)
    with pytest.raises(UserError, match="unknown column"):
        read_outputs(write(tmp_path / "t.parquet"), ["x_agee"], None)
