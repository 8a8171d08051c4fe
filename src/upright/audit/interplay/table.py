"""The records as numbers: read, checked, split into those that are public and those that are audited."""

from dataclasses import dataclass

import numpy as np
import polars as pl
import torch
from numpy.typing import NDArray
from polars import selectors as cs
from torch import Tensor

from upright.audit.interplay.config import Config
from upright.audit.people import Ints, People, read_people
from upright.errors import UserError
from upright.run.folder import RunFolder

PUBLIC = 0.1
MIN_OUTCOMES = 10
MAX_WORDS = 200
FARTHEST = 5.0  # standard deviations, so that one odd number does not own a gradient


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
    """The usable records. Raises UserError as `read_people` does."""
    people = read_people(config, folder, MIN_OUTCOMES)
    if config.rows is not None and config.rows < len(people.row):
        rng = np.random.default_rng(folder.seed_for("rows"))
        people = people.pick(np.sort(rng.choice(len(people.row), config.rows, replace=False)))
    return _split(people, np.random.default_rng(folder.seed_for("public")))


def _split(people: People, rng: np.random.Generator) -> Problem:
    alike = people.features.select(pl.struct(pl.all()).rank("dense").cast(pl.Int64)).to_series().to_numpy()
    _, twin = np.unique(np.stack([alike, people.label, people.group]), axis=1, return_inverse=True)
    public = half_of(twin, PUBLIC, rng)
    x, y = torch.from_numpy(_encode(people.features, public)), torch.from_numpy(people.label.astype(np.float32))
    group, out = torch.from_numpy(people.group.astype(np.int64)), torch.from_numpy(public)
    return Problem(x[~out], y[~out], group[~out], twin[~public], people.names, x[out], y[out])


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
