"""The records as numbers: read, checked, split into those that are public and those that are audited."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars import selectors as cs
from torch import Tensor

from upright.audit.interplay.config import Config
from upright.errors import UserError, unknown
from upright.run.folder import RunFolder
from upright.run.tables import read_table

ROW = "__row"
PUBLIC = 0.1
MIN_OUTCOMES = 10
MAX_WORDS = 200
FARTHEST = 5.0  # standard deviations, so that one odd number does not own a gradient
TRUE = ("1", "1.0", "true", "True")

Ints = NDArray[np.int64]


@dataclass(frozen=True)
class Problem:
    """N records that are audited and P that are public, with d features and G groups."""

    x: Tensor
    """(N, d) float32."""
    y: Tensor
    """(N,) 1 for the favourable outcome."""
    group: Tensor
    """(N,) number of the group."""
    twin: Ints
    """(N,) the same number for records that are equal in every column used."""
    names: list[str]
    """(G,)."""
    public_x: Tensor
    """(P, d); means, spreads and words are taken from these records alone, so no audited record is in them."""
    public_y: Tensor
    """(P,)."""

    def members(self, equal_sizes: bool) -> int:
        """Records that one model is trained on: half of all, or for each group half of the smallest."""
        if equal_sizes:
            return len(self.names) * (int(self.group.bincount().min()) // 2)
        return len(self.y) // 2

    def draw_members(self, equal_sizes: bool, rng: np.random.Generator) -> NDArray[np.bool_]:
        """Which records (N,) one model is trained on."""
        mask = half_of(self.twin, 0.5, rng)
        if not equal_sizes:
            return mask
        group, goal = self.group.numpy(), self.members(True) / len(self.names)
        for g in range(len(self.names)):
            own = np.flatnonzero(mask & (group == g))
            mask[own] = half_of(self.twin[own], min(1.0, goal / max(1, len(own))), rng)
        return mask


def read_problem(config: Config, folder: RunFolder) -> Problem:
    """The usable records. Those without label or group, and groups too small to judge, go to `folder.fail`.

    Raises:
        UserError: for a file that is no table, unknown columns or labels, or fewer than two groups of sufficient size.
    """
    frame = read_table(config.table).with_row_index(ROW)
    chosen = _features(config, [name for name in frame.columns if name != ROW])
    needed = [config.label, *config.groups]
    known = frame.drop_nulls(needed)
    _fail(folder, frame.join(known, on=ROW, how="anti"), "label or group is missing")
    label = _labels(config, known[config.label])
    crossed = known.select(
        pl.concat_str([pl.lit(f"{name}=") + pl.col(name).cast(pl.String) for name in config.groups], separator=" × ")
    ).to_series()
    large = _large(crossed, label, config)
    reason = f"its group has under {config.min_group} records or under {MIN_OUTCOMES} of an outcome"
    _fail(folder, known.filter(~large), reason)
    kept = known.select(ROW, *chosen).with_columns(label=label, group=crossed).filter(large)
    kept = _sample(config, kept, np.random.default_rng(folder.seed_for("rows")))
    names = sorted(kept["group"].unique().to_list())
    if len(names) < 2:
        raise UserError(
            f"--groups {','.join(config.groups)}: got {len(names)} groups with {config.min_group} records and "
            f"{MIN_OUTCOMES} of each outcome; must be two or more (give more rows, other columns, or a lower "
            "--min-group)"
        )
    return _split(kept, chosen, names, np.random.default_rng(folder.seed_for("public")))


def _features(config: Config, columns: list[str]) -> list[str]:
    for name in (config.label, *config.groups, *config.features):
        if name not in columns:
            raise unknown("column", name, columns)
    if config.label in (*config.features, *config.groups):
        raise UserError(f"--label {config.label}: is also a feature or group; give it once")
    chosen = config.features or [name for name in columns if name not in (config.label, *config.groups)]
    if not chosen:
        raise UserError(f"{config.table}: has no column left to learn from; name some with --features")
    return chosen


def _labels(config: Config, column: pl.Series) -> pl.Series:
    words = column.cast(pl.String).str.strip_chars()
    values = sorted(words.unique().to_list())
    wanted = TRUE if config.positive in TRUE else (config.positive,)
    hits = words.is_in(wanted)
    if len(values) < 2 or not hits.any() or hits.all():
        shown = ", ".join(values[:8]) + (", …" if len(values) > 8 else "")
        raise UserError(
            f"--positive {config.positive!r}: must be one of two or more values of {config.label} (got: {shown})"
        )
    return hits.cast(pl.Int64)


def _large(crossed: pl.Series, label: pl.Series, config: Config) -> pl.Series:
    sizes = pl.DataFrame({"group": crossed, "label": label}).with_columns(
        n=pl.len().over("group"), ones=pl.col("label").sum().over("group")
    )
    enough = (pl.col("ones") >= MIN_OUTCOMES) & (pl.col("n") - pl.col("ones") >= MIN_OUTCOMES)
    return sizes.select(enough & (pl.col("n") >= config.min_group)).to_series()


def _fail(folder: RunFolder, rows: pl.DataFrame, reason: str) -> None:
    for row in rows[ROW].to_list():
        folder.fail("table", reason, {"row": row})


def _sample(config: Config, frame: pl.DataFrame, rng: np.random.Generator) -> pl.DataFrame:
    if config.rows is None or config.rows >= frame.height:
        return frame
    return frame[np.sort(rng.choice(frame.height, config.rows, replace=False))]


def _split(frame: pl.DataFrame, chosen: list[str], names: list[str], rng: np.random.Generator) -> Problem:
    twin = frame.select(pl.struct([*chosen, "label", "group"]).rank("dense")).to_series().to_numpy().astype(np.int64)
    public = half_of(twin, PUBLIC, rng)
    x = torch.from_numpy(_encode(frame.select(chosen), public))
    y = torch.from_numpy(frame["label"].to_numpy().astype(np.float32))
    order = {name: number for number, name in enumerate(names)}
    group = torch.tensor([order[name] for name in frame["group"].to_list()])
    out = torch.from_numpy(public)
    return Problem(x[~out], y[~out], group[~out], twin[~public], names, x[out], y[out])


def half_of(twin: Ints, share: float, rng: np.random.Generator) -> NDArray[np.bool_]:
    """A random `share` of the records (N,) in which equal records go together, so that none has a twin outside."""
    _, which, sizes = np.unique(twin, return_inverse=True, return_counts=True)
    order = rng.permutation(len(sizes))
    taken = np.cumsum(sizes[order]) <= round(share * len(twin))
    chosen = np.zeros(len(sizes), dtype=bool)
    chosen[order[taken]] = True
    found: NDArray[np.bool_] = chosen[which]
    return found


def _encode(frame: pl.DataFrame, public: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Numbers standardised and cut at 5 standard deviations, words one-hot; both as the `public` records have them.

    A missing number becomes the mean; a missing word, or one that no public record has, all zeros.
    """
    columns: list[NDArray[np.float32]] = []
    for name in frame.select(cs.numeric() | cs.boolean()).columns:
        values = frame[name].cast(pl.Float64).to_numpy()
        seen = values[public & np.isfinite(values)]
        mean, spread = (seen.mean(), seen.std()) if seen.size else (0.0, 0.0)
        scaled = np.where(np.isfinite(values), (values - mean) / (spread or 1.0), 0.0)
        columns.append(np.clip(scaled, -FARTHEST, FARTHEST).astype(np.float32)[:, None])
    for name in frame.select(~(cs.numeric() | cs.boolean())).columns:
        words = frame[name].cast(pl.String)
        kinds = sorted(words.filter(pl.Series(public)).drop_nulls().unique().to_list())
        if len(kinds) > MAX_WORDS:
            raise UserError(f"{name}: got {len(kinds)} different words; must be at most {MAX_WORDS}, or left out")
        values = words.fill_null("").to_numpy()
        columns.append((values[:, None] == np.array(kinds or [""], dtype=object)[None]).astype(np.float32))
    return np.concatenate(columns, axis=1)
