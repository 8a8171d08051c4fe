"""The table of outputs that `upright audit membership --scores` reads.

One row a record, or several, with one id, for several queries about it (altered copies):

| column | what |
|---|---|
| `id` | name of the record (optional; default: its number) |
| `member` | 1 if the audited model was trained on it, 0 if not, empty if that is not known |
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

from upright.audit.columns import flags, numbers
from upright.audit.membership.attacks import confidence, confidence_of, log_probability
from upright.audit.texts import Drop
from upright.errors import UserError
from upright.run.tables import line_of, need_columns, read_table

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

ID = "__id"
BROKEN, TWICE, COPIED = (
    "an output is not a finite number",
    "id on both sides",
    "same features, label and outputs on both sides",
)
REFERENCE = re.compile(r"ref_(?P<name>.+?)_(?:logit_.+|log_prob|in)")


class Outputs(NamedTuple):
    """A checked table. n records, Q queries about each, M reference models."""

    ids: list[str]
    member: Bools
    suspect: Bools
    """Of which it is not known whether they were trained on."""
    log_p: Floats
    """ln of the true class's probability (n,), the mean over queries."""
    phi: Floats
    """Scaled confidence (n, Q)."""
    names: list[str]
    """Reference models."""
    reference_log_p: Floats
    """(M, n)."""
    reference_phi: Floats
    """(M, n, Q)."""
    masks: Bools
    """(M, n): trained on the record."""
    masked: bool
    """Whether the masks were given."""
    described: pl.DataFrame
    """What is known of a record without the model: its features and its label."""
    group: list[str | None]


def read_outputs(path: Path, features: list[str], group: str | None) -> tuple[Outputs, list[Drop]]:
    """The table at `path`, without records that cannot be used.

    Raises UserError for a missing column, an unknown label, masks that are not 0 or 1, with the first bad row, and
    for records with unlike numbers of rows.
    """
    frame = read_table(path)
    need_columns(path, ["member", *features, *([group] if group else [])], frame.columns)
    names = list(dict.fromkeys(found["name"] for name in frame.columns if (found := REFERENCE.fullmatch(name))))
    outputs = [_outputs(path, frame, prefix) for prefix in ("", *(f"ref_{name}_" for name in names))]
    log_p, phi = (np.array(part) for part in zip(*outputs, strict=True))  # (1 + M, rows)
    frame = _labelled(frame).with_columns(member=_side(path, frame["member"]))
    chosen = features or [name for name in frame.columns if name.startswith("x_")]
    reasons = _reasons(frame, chosen, log_p, phi)
    queries = _queries(path, frame, reasons == "")
    first = frame[queries[:, 0]]
    given = [f"ref_{name}_in" in frame.columns for name in names]
    masks = [
        flags(path, frame[f"ref_{name}_in"])[queries[:, 0]] if mask else np.zeros(len(queries), bool)
        for name, mask in zip(names, given, strict=True)
    ]
    label = ["label"] if "label" in frame.columns else []
    table = Outputs(
        ids=first[ID].to_list(),
        member=(first["member"] == 1).fill_null(False).to_numpy(),
        suspect=first["member"].is_null().to_numpy(),
        log_p=log_p[0, queries].mean(axis=1),
        phi=phi[0, queries],
        names=names,
        reference_log_p=log_p[1:, queries].mean(axis=2),
        reference_phi=phi[1:, queries],
        masks=np.array(masks, dtype=bool).reshape(len(names), len(queries)),
        masked=any(given),
        described=first.select([*dict.fromkeys([*chosen, *label])]),
        group=first[group].cast(pl.String).to_list() if group else [None] * len(queries),
    )
    return table, [Drop(reasons[i], frame[ID][int(i)]) for i in np.flatnonzero(reasons != "")]


def _labelled(frame: pl.DataFrame) -> pl.DataFrame:
    """With the name of each row's record: its id, or its number."""
    number = (pl.int_range(1, pl.len() + 1)).cast(pl.String)
    named = pl.col("id").cast(pl.String).fill_null(number) if "id" in frame.columns else number
    return frame.with_columns(named.alias(ID))


def _side(path: Path, column: pl.Series) -> pl.Series:
    """1, 0, or null where nothing is said."""
    known = flags(path, column.cast(pl.String).fill_null("0"))
    return pl.Series(known.astype(np.int64)).set(column.is_null(), None)


def _outputs(path: Path, frame: pl.DataFrame, prefix: str) -> tuple[Floats, Floats]:
    """Log-probability of the true class and phi, (rows,) each, of the model whose columns begin with `prefix`."""
    classes = [
        name.removeprefix(f"{prefix}logit_") for name in frame.columns if re.match(f"{re.escape(prefix)}logit_", name)
    ]
    if not classes:
        if f"{prefix}log_prob" not in frame.columns:
            raise UserError(f"{path}: has neither {prefix}logit_CLASS nor {prefix}log_prob; give the model's outputs")
        log_p = numbers(path, frame[f"{prefix}log_prob"])
        if np.nanmax(log_p, initial=-1) > 0:
            row = int(np.nanargmax(log_p))
            raise UserError(
                f"{path}, line {line_of(path, row)}, {prefix}log_prob: got {log_p[row]:g}; must be at most 0"
            )
        return log_p, confidence_of(log_p)
    if len(classes) < 2:
        raise UserError(f"{path}: has one column {prefix}logit_{classes[0]}; needs one for each of 2 classes or more")
    logits = np.stack([numbers(path, frame[f"{prefix}logit_{name}"]) for name in classes], axis=1)
    labels = _labels(path, frame, classes)
    return log_probability(logits, labels), confidence(logits, labels)


def _labels(path: Path, frame: pl.DataFrame, classes: list[str]) -> NDArray[np.int64]:
    need_columns(path, ["label"], frame.columns)
    values = frame["label"].cast(pl.String)
    bad = (values.is_null() | ~values.is_in(classes)).arg_true()
    if len(bad):
        row = int(bad[0])
        raise UserError(
            f"{path}, line {line_of(path, row)}, label: got {values[row]!r}; the logits are of {', '.join(classes)}"
        )
    place = {name: number for number, name in enumerate(classes)}
    return values.replace_strict(place, return_dtype=pl.Int64).to_numpy()


def _reasons(frame: pl.DataFrame, features: list[str], log_p: Floats, phi: Floats) -> NDArray[np.object_]:
    """Why each row's record cannot be used; "" if it can.

    A copy has the same features, the same label and the same outputs: features alone may be as coarse as a person's
    sex, and then stand on both sides of any table.
    """
    broken = pl.Series(~np.isfinite(phi).all(axis=0))
    said = pl.DataFrame(log_p.T.round(6), schema=[f"said {i}" for i in range(len(log_p))])
    label = ["label"] if "label" in frame.columns else []
    key = pl.concat([frame.select([*dict.fromkeys([*features, *label])]), said], how="horizontal").hash_rows()
    twice = pl.col("member").n_unique() > 1
    found = frame.select(ID, "member", broken=broken, key=key).with_columns(copied=twice.over("key"))
    reason = (
        pl.when(pl.col("broken").any().over(ID))
        .then(pl.lit(BROKEN))
        .when(twice.over(ID))
        .then(pl.lit(TWICE))
        .when(pl.col("copied").any().over(ID) & bool(features))
        .then(pl.lit(COPIED))
        .otherwise(pl.lit(""))
    )
    return found.select(reason).to_series().to_numpy().astype(object)


def _queries(path: Path, frame: pl.DataFrame, usable: Bools) -> NDArray[np.int64]:
    """Numbers of the rows of each record (n, Q)."""
    fixed = [name for name in frame.columns if name == "label" or re.fullmatch(r"ref_.+_in", name)]
    rows = frame.with_row_index("row").filter(usable).group_by(ID, maintain_order=True)
    found = rows.agg(pl.col("row"), *(pl.col(name).n_unique().alias(name) for name in fixed))
    for name in fixed:
        unlike = found.filter(pl.col(name) > 1)
        if unlike.height:
            raise UserError(
                f"{path}: the rows of id {unlike[ID][0]!r} differ in {name}; queries about a record must not"
            )
    sizes = found["row"].list.len().to_numpy()
    if len(np.unique(sizes)) > 1:
        few, many = (str(found[ID][int(place)]) for place in (sizes.argmin(), sizes.argmax()))
        raise UserError(
            f"{path}: id {many!r} stands in {sizes.max()} rows, {few!r} in {sizes.min()}; must be as many for every "
            "record, one for each query"
        )
    return np.array(found["row"].to_list(), dtype=np.int64).reshape(found.height, -1 if found.height else 1)
