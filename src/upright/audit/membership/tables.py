"""The table of outputs that `upright audit membership --scores` reads.

One row a record:

| column | what |
|---|---|
| `id` | name of the record (optional; default: its number) |
| `member` | 1 if the audited model was trained on it, else 0 |
| `label` | its true class (not needed with `log_prob`) |
| `logit_CLASS`, one for each class | logits or log-probabilities of the audited model |
| `log_prob` | or only the log-probability of the true class, or of a text per token |
| `ref_NAME_logit_CLASS`, `ref_NAME_log_prob` | the same of a reference model |
| `ref_NAME_in` | 1 if that reference model was trained on the record, else 0 (absent: it never was) |
| `x_NAME` | features, for the blind check and the quantile attack |
"""

import re
from pathlib import Path
from typing import NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from upright.audit.membership.attacks import confidence, confidence_of, log_probability
from upright.audit.membership.texts import Drop
from upright.errors import UserError, unknown
from upright.run.tables import read_table

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

REFERENCE = re.compile(r"ref_(?P<name>.+?)_(?:logit_.+|log_prob|in)")


class Outputs(NamedTuple):
    """A checked table. n records, M reference models."""

    ids: list[str]
    member: Bools
    log_p: Floats
    """ln of the true class's probability (n,)."""
    phi: Floats
    """Scaled confidence (n,)."""
    names: list[str]
    """Reference models."""
    reference_log_p: Floats
    """(M, n)."""
    reference_phi: Floats
    """(M, n)."""
    masks: Bools
    """(M, n): trained on the record."""
    masked: bool
    """Whether the masks were given."""
    described: pl.DataFrame
    """What is known of a record without the model: its features and its label."""
    group: list[str | None]


def read_outputs(path: Path, features: list[str], group: str | None) -> tuple[Outputs, list[Drop]]:
    """The table at `path`, without rows that cannot be used.

    Raises UserError for a missing column, an unknown label, and masks that are not 0 or 1, with the first bad row.
    """
    frame = read_table(path)
    for name in ("member", *features, *([group] if group else [])):
        if name not in frame.columns:
            raise unknown(f"column of {path}", name, frame.columns)
    chosen = features or [name for name in frame.columns if name.startswith("x_")]
    member = _binary(path, frame, "member")
    ids = frame["id"].cast(pl.String).to_list() if "id" in frame.columns else [str(i + 1) for i in range(frame.height)]
    own = _outputs(path, frame, "")
    names = list(dict.fromkeys(found["name"] for name in frame.columns if (found := REFERENCE.fullmatch(name))))
    others = [_outputs(path, frame, f"ref_{name}_") for name in names]
    given = [name for name in names if f"ref_{name}_in" in frame.columns]
    masks = [
        _binary(path, frame, f"ref_{name}_in") if name in given else np.zeros(frame.height, bool) for name in names
    ]
    label = ["label"] if "label" in frame.columns else []
    shape = (len(names), frame.height)
    table = Outputs(
        ids=[str(name) for name in ids],
        member=member,
        log_p=own[0],
        phi=own[1],
        names=names,
        reference_log_p=np.array([log_p for log_p, _ in others]).reshape(shape),
        reference_phi=np.array([phi for _, phi in others]).reshape(shape),
        masks=np.array(masks, dtype=bool).reshape(shape),
        masked=bool(given),
        described=frame.select([*dict.fromkeys([*chosen, *label])]),
        group=frame[group].cast(pl.String).to_list() if group else [None] * frame.height,
    )
    return _usable(table)


def _binary(path: Path, frame: pl.DataFrame, column: str) -> Bools:
    values = frame[column].cast(pl.Int64, strict=False)
    bad = (values.is_null() | ~values.is_in([0, 1])).arg_true()
    if len(bad):
        row = int(bad[0])
        raise UserError(f"{path} row {row + 1}: {column} is {frame[column][row]!r}; must be 0 or 1")
    return values.cast(pl.Boolean).to_numpy()


def _outputs(path: Path, frame: pl.DataFrame, prefix: str) -> tuple[Floats, Floats]:
    """Log-probability of the true class and phi, (n,) each, of the model whose columns begin with `prefix`."""
    classes = [
        name.removeprefix(f"{prefix}logit_") for name in frame.columns if re.match(f"{re.escape(prefix)}logit_", name)
    ]
    if not classes:
        if f"{prefix}log_prob" not in frame.columns:
            raise UserError(f"{path}: has neither {prefix}logit_CLASS nor {prefix}log_prob; give the model's outputs")
        log_p = _numbers(path, frame, f"{prefix}log_prob")
        if np.nanmax(log_p, initial=-1) > 0:
            row = int(np.nanargmax(log_p))
            raise UserError(f"{path} row {row + 1}: {prefix}log_prob is {log_p[row]:g}; must be at most 0")
        return log_p, confidence_of(log_p)
    if len(classes) < 2:
        raise UserError(f"{path}: has one column {prefix}logit_{classes[0]}; needs one for each of 2 classes or more")
    logits = np.stack([_numbers(path, frame, f"{prefix}logit_{name}") for name in classes], axis=1)
    labels = _labels(path, frame, classes)
    return log_probability(logits, labels), confidence(logits, labels)


def _numbers(path: Path, frame: pl.DataFrame, column: str) -> Floats:
    if not frame[column].dtype.is_numeric():
        raise UserError(f"{path}: column {column!r} holds {frame[column].dtype}; needs numbers")
    return frame[column].cast(pl.Float64).to_numpy()


def _labels(path: Path, frame: pl.DataFrame, classes: list[str]) -> NDArray[np.int64]:
    if "label" not in frame.columns:
        raise unknown(f"column of {path}", "label", frame.columns)
    values = frame["label"].cast(pl.String)
    bad = (values.is_null() | ~values.is_in(classes)).arg_true()
    if len(bad):
        row = int(bad[0])
        raise UserError(f"{path} row {row + 1}: label is {values[row]!r}; the logits are of {', '.join(classes)}")
    place = {name: number for number, name in enumerate(classes)}
    return values.replace_strict(place, return_dtype=pl.Int64).to_numpy()


def _usable(table: Outputs) -> tuple[Outputs, list[Drop]]:
    """Without outputs that are not numbers, ids of both sides, and records that stand on both sides."""
    finite = np.isfinite(table.phi) & np.isfinite(table.reference_phi).all(axis=0)
    keys = [("id on both sides", pl.Series(table.ids))]
    features = [name for name in table.described.columns if name != "label"]
    if features:
        keys.append(("same features and label on both sides", table.described.hash_rows()))
    reasons = np.where(finite, "", "an output is not a finite number").astype(object)
    for reason, key in keys:
        sides = pl.DataFrame({"key": key, "member": table.member}).with_columns(
            both=pl.col("member").n_unique().over("key") > 1
        )
        reasons[(reasons == "") & sides["both"].to_numpy()] = reason
    kept = np.flatnonzero(reasons == "")
    drops = [Drop(reasons[i], table.ids[i]) for i in np.flatnonzero(reasons != "")]
    return _rows(table, kept), drops


def _rows(table: Outputs, kept: NDArray[np.int64]) -> Outputs:
    return Outputs(
        ids=[table.ids[i] for i in kept],
        member=table.member[kept],
        log_p=table.log_p[kept],
        phi=table.phi[kept],
        names=table.names,
        reference_log_p=table.reference_log_p[:, kept],
        reference_phi=table.reference_phi[:, kept],
        masks=table.masks[:, kept],
        masked=table.masked,
        described=table.described[kept],
        group=[table.group[i] for i in kept],
    )
