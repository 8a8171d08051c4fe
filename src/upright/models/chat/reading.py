"""Prompts that begin alike are read once: the trees of a search share most of their text."""

import copy
from collections.abc import Sequence
from typing import Any, Self

import torch
from torch import Tensor
from torch.nn.functional import pad as fill
from transformers import DynamicCache

from upright.models.causal import CausalModel
from upright.models.generate import Prefix

_WORTH = 16  # tokens; a shorter common beginning is not worth a pass of its own


class SharedPrefix(Prefix):
    """Rows read as `Prefix` reads them; what the rows of a family begin with goes through the model once.

    Each row has the states it would have alone. All padding stays on the left: a row keeps as much of the common
    part as leaves every row of the family an equally long rest, so that the rests form a full matrix.
    A model whose cache forgets (sliding windows) reads every row whole.
    """

    def __init__(self, model: CausalModel, rows: Sequence[Sequence[int]]) -> None:
        """Read `rows`, each of at least one token id."""
        groups = families(rows) if _remembers(model) else [(list(range(len(rows))), 0)]
        alone = [i for members, shared in groups if not shared for i in members]
        parts = [(members, _read_family(model, [rows[i] for i in members], n)) for members, n in groups if n]
        if alone:
            parts.append((alone, Prefix(model, [rows[i] for i in alone])))
        order = [i for members, _ in parts for i in members]
        self._take(model, [part for _, part in parts])
        self.select([order.index(i) for i in range(len(rows))])

    def _take(self, model: CausalModel, parts: Sequence[Prefix]) -> None:
        self._model = model
        width = max(part._mask.shape[1] for part in parts)
        self._mask = torch.cat([fill(part._mask, (width - part._mask.shape[1], 0)) for part in parts])
        self.hidden = torch.cat([part.hidden for part in parts])
        self._cache = parts[0]._cache if len(parts) == 1 else _stacked(model, [part._cache for part in parts], width)

    def fork(self) -> Self:
        """A second one that goes its own way; the states read so far are shared, not copied."""
        other = copy.copy(self)
        other._cache = copy.copy(self._cache)
        other._cache.layers = [
            copy.copy(layer) for layer in self._cache.layers
        ]  # each replaces its tensors, never in place
        return other


def families(rows: Sequence[Sequence[int]]) -> list[tuple[list[int], int]]:
    """Numbers of rows that begin alike, and with how many tokens; 0 for a row alone.

    Within a family more than half of the longest row is common, and every row has at least one token more.
    """
    order = sorted(range(len(rows)), key=lambda i: list(rows[i]))
    groups: list[tuple[list[int], int]] = []
    for i in order:
        if groups:
            members, _ = groups[-1]
            shared = min(common(rows[members[0]], rows[i]), min(len(rows[j]) for j in (*members, i)) - 1)
            if shared >= _WORTH and 2 * shared > max(len(rows[j]) for j in (*members, i)):
                groups[-1] = [*members, i], shared
                continue
        groups.append(([i], 0))
    return groups


def common(first: Sequence[int], second: Sequence[int]) -> int:
    """How many tokens two rows begin with alike."""
    low, high = 0, min(len(first), len(second))
    while low < high:  # slices compare faster than a loop over tokens
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first[low:middle] == second[low:middle] else (low, middle - 1)
    return low


def _remembers(model: CausalModel) -> bool:
    return not any(DynamicCache(config=model.model.config).is_sliding)


def _read_family(model: CausalModel, rows: Sequence[Sequence[int]], shared: int) -> Prefix:
    """Rows whose first `shared` tokens are equal."""
    part = Prefix(model, [rows[0][:shared]])
    rest = max(len(row) for row in rows) - shared
    kept = [max(0, len(row) - rest) for row in rows]
    part._cache = _prefixes(model, part._cache, kept)
    width = max(kept)
    device = part._mask.device
    steps = torch.arange(width, device=device)
    part._mask = (steps >= width - torch.tensor(kept, device=device)[:, None]).long()
    ids = torch.full((len(rows), rest), model.pad_id, device=device)
    mask = torch.zeros_like(ids)
    for i, (row, n) in enumerate(zip(rows, kept, strict=True)):
        tail = torch.tensor(row[n:], device=device)
        ids[i, rest - len(tail) :], mask[i, rest - len(tail) :] = tail, 1
    part.feed(ids, mask)
    return part


def _prefixes(model: CausalModel, cache: Any, kept: Sequence[int]) -> DynamicCache:
    """The first states of a cache of one row, `kept[i]` of them for row i, padded on the left."""
    width = max(kept)

    def cut(states: Tensor) -> Tensor:
        return torch.cat([fill(states[:, :, :n], (0, 0, width - n, 0)) for n in kept])

    return _cache(model, [(cut(layer.keys), cut(layer.values)) for layer in cache.layers])


def _stacked(model: CausalModel, caches: Sequence[Any], width: int) -> DynamicCache:
    """Caches of several batches as one of `width`, padded on the left."""

    def stack(parts: Sequence[Tensor]) -> Tensor:
        return torch.cat([fill(part, (0, 0, width - part.shape[2], 0)) for part in parts])

    layers = zip(*(cache.layers for cache in caches), strict=True)
    return _cache(model, [(stack([x.keys for x in same]), stack([x.values for x in same])) for same in layers])


def _cache(model: CausalModel, states: Sequence[tuple[Tensor, Tensor]]) -> DynamicCache:
    cache = DynamicCache(config=model.model.config)
    for number, (keys, values) in enumerate(states):
        cache.update(keys, values, number)
    return cache
