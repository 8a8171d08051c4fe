"""How many records each code shall have.

The share of a code is private: it is a count of people. It is asked of the records once, as a noised query of the
same plan that pays for the learning, or it is public.
"""

import math
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from upright.errors import UserError, unknown
from upright.run.tables import line_of, need_columns, read_table
from upright.synthesis.codes import Codes
from upright.synthesis.corpus import Code

QUERY = "counts"
DROWNED = "The noise drowned the counts of all codes; as many records were written for each."

Floats = NDArray[np.float64]


def contributions(members: Sequence[Sequence[Code]], combinations: Sequence[Code]) -> Tensor:
    """What each unit (U,) adds to the count of each combination (K,): its records' histogram over its length.

    Sparse (U, K), each row of L2 norm 1, or 0 for a unit that is not counted. A unit of one record adds 1 to one
    count; one of m records of m codes adds 1/√m to each, so the noise need not grow with m.
    """
    place = {code: i for i, code in enumerate(combinations)}
    rows, columns, values = [], [], []
    for row, codes in enumerate(members):
        counted = Counter(codes)
        length = math.sqrt(sum(n * n for n in counted.values()))
        for code, n in counted.items():
            rows.append(row)
            columns.append(place[code])
            values.append(n / length)
    index, shape = torch.tensor([rows, columns], dtype=torch.long), (len(members), len(combinations))
    return torch.sparse_coo_tensor(index, torch.tensor(values), shape, check_invariants=True)


def noised_shares(counts: Floats, noise: float) -> Floats:
    """Shares (K,) from noised counts (K,): what may be noise alone is 0, the rest is normalised.

    The threshold noise · √(2 ln K) is what the largest of K draws of pure noise reaches (Donoho & Johnstone 1994), so
    a combination that nobody has is seldom written for. All 0 where nothing stands out.
    """
    threshold = noise * math.sqrt(2 * math.log(len(counts))) if len(counts) > 1 else -math.inf
    kept = np.where(counts > threshold, counts, 0.0).clip(min=0)
    return kept / kept.sum() if kept.sum() > 0 else kept


def uniform_shares(combinations: int) -> Floats:
    """The same for each."""
    return np.full(combinations, 1 / combinations)


def public_shares(path: Path, codes: Codes) -> Floats:
    """Shares (K,) from a public table with the code columns and `count`.

    Raises:
        UserError: for a missing column, an unknown combination, and counts that are negative or all 0.
    """
    frame = read_table(path)
    need_columns(path, [*codes.columns, "count"], frame.columns)
    place = {code: i for i, code in enumerate(codes.combinations)}
    found = np.zeros(len(place))
    for row, (*values, count) in enumerate(frame.select(*codes.columns, "count").iter_rows()):
        code = tuple(map(str, values))
        if code not in place:
            name, value, own = next(
                (name, value, own)
                for name, value, own in zip(codes.columns, code, codes.values, strict=True)
                if value not in own
            )
            raise unknown(f"{name} in {path}, line {line_of(path, row)}:", value, own)
        if isinstance(count, bool) or not isinstance(count, int | float) or not 0 <= count < math.inf:
            raise UserError(f"{path}, line {line_of(path, row)}: count={count!r}; must be a number of 0 or more")
        found[place[code]] += count
    if not found.sum():
        raise UserError(f"{path}: all counts are 0; must be above 0 for what shall be written")
    shares: Floats = found / found.sum()
    return shares


def open_shares(counts: str, codes: Codes) -> Floats:
    """Shares that nobody needs to be asked for: of a public table, or the same for each.

    Raises UserError as `public_shares` does.
    """
    public = codes.columns and counts not in ("noised", "uniform")
    return public_shares(Path(counts), codes) if public else uniform_shares(len(codes.combinations))


def settled(shares: Floats) -> tuple[Floats, list[str]]:
    """Shares that can be drawn from, and what a reader must know of them."""
    return (shares, []) if shares.any() else (uniform_shares(len(shares)), [DROWNED])


def balanced(shares: Floats, share: float) -> Floats:
    """Shares (K,) of which a part, `share` of all, is spread evenly, so that what is rare or drowned is written too."""
    return (1 - share) * shares + share * uniform_shares(len(shares))


def apportion(shares: Floats, total: int) -> NDArray[np.int64]:
    """Whole numbers (K,) that add up to `total`, by the largest remainder (Hamilton's method).

    >>> apportion(np.array([0.5, 0.3, 0.2]), 9).tolist()
    [4, 3, 2]
    """
    exact = shares * total
    found = np.floor(exact + 1e-9).astype(np.int64)
    left = total - int(found.sum())
    largest = np.argsort(found - exact, kind="stable")[:left]
    found[largest] += 1
    return found


def drawn(codes: Sequence[Code], shares: Floats, total: int, seed: int) -> list[Code]:
    """`total` codes in these shares, in an order by the seed."""
    rows = np.repeat(np.arange(len(codes)), apportion(shares, total))
    np.random.default_rng(seed).shuffle(rows)
    return [codes[i] for i in rows.tolist()]
