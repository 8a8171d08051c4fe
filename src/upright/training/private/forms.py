"""The gradients of single records with respect to one parameter, in whichever form is cheapest to hold.

B records, T places (tokens). A linear layer's gradient is a sum of outer products, an embedding's a few rows, that of
a bias or a norm short enough to be written out. Of each form only two things are asked: the squared norm of every
record's gradient, and the sum of all of them under weights. With both, no gradient need be formed that is not short
(Li et al. 2022, section 4; Bu et al. 2023).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import torch
from torch import Tensor

AT_ONCE = 2**20
"""Numbers of written-out gradients that are looked at together: they stay in the cache of a processor."""


class Form(Protocol):
    """Gradients of B records."""

    def norm2(self) -> Tensor:
        """(B,) squared norms."""

    def weighted(self, c: Tensor) -> Tensor:
        """Σ_i c_i g_i, for c (B,); a record of weight 0 counts nothing, whatever its gradient holds."""

    def dense(self) -> "Dense":
        """Written out."""


@dataclass(frozen=True)
class Dense:
    """Gradients (B, …) as they are."""

    grads: Tensor

    def norm2(self) -> Tensor:
        return _vector_norm2(self.grads.flatten(1))

    def weighted(self, c: Tensor) -> Tensor:
        flat = _counted(self.grads.flatten(1), c)
        return (c.to(flat.dtype) @ flat).reshape(self.grads.shape[1:])

    def dense(self) -> "Dense":
        return self


@dataclass(frozen=True)
class Outer:
    """g_i = Σ_t left_it right_itᵀ, for left (B, T, m) and right (B, T, n)."""

    left: Tensor
    right: Tensor

    def norm2(self) -> Tensor:
        """From both Gram matrices, or from the gradients, a few records at a time.

        ‖g_i‖² = Σ_tu (left_t · left_u)(right_t · right_u), T² (m + n) products against T m n.
        """
        (_, t, m), n = self.left.shape, self.right.shape[2]
        if t == 1:
            return _vector_norm2(self.left[:, 0]) * _vector_norm2(self.right[:, 0])
        if t * (m + n) < m * n:
            return _inner(self, self)
        size = max(1, AT_ONCE // (m * n))
        parts = zip(self.left.split(size), self.right.split(size), strict=True)
        return torch.cat([_vector_norm2((a.mT @ b).flatten(1)) for a, b in parts])

    def weighted(self, c: Tensor) -> Tensor:
        left, right = _counted(self.left, c), _counted(self.right, c)
        scale = c.to(left.dtype)[:, None, None]
        if left.shape[2] < right.shape[2]:
            left = left * scale
        else:
            right = right * scale
        return left.flatten(0, 1).T @ right.flatten(0, 1)

    def dense(self) -> Dense:
        return Dense(self.left.mT @ self.right)

    @property
    def short(self) -> bool:
        """Whether the gradients take no more room than what they are made of."""
        (_, t, m), n = self.left.shape, self.right.shape[2]
        return m * n <= t * (m + n)


@dataclass(frozen=True)
class Rows:
    """Row v of g_i is the sum of values_it over t with ids_it = v, for ids (B, T), values (B, T, n), `rows` rows."""

    ids: Tensor
    values: Tensor
    rows: int

    def norm2(self) -> Tensor:
        size, t = self.ids.shape
        owner = torch.arange(size, device=self.ids.device).repeat_interleave(t)
        keys, places = (owner * self.rows + self.ids.flatten()).unique(return_inverse=True)
        sums = self.values.new_zeros(len(keys), self.values.shape[2])
        sums.index_add_(0, places, self.values.flatten(0, 1))
        return self.values.new_zeros(size).index_add_(0, keys // self.rows, sums.square().sum(1))

    def weighted(self, c: Tensor) -> Tensor:
        values = _counted(self.values, c) * c.to(self.values.dtype)[:, None, None]
        total = values.new_zeros(self.rows, values.shape[2])
        return total.index_add_(0, self.ids.flatten(), values.flatten(0, 1))

    def dense(self) -> Dense:
        grads = self.values.new_zeros(len(self.ids), self.rows, self.values.shape[2])
        return Dense(grads.scatter_add_(1, self.ids[:, :, None].expand_as(self.values), self.values))


@dataclass(frozen=True)
class Tied:
    """An embedding that is also the head: ‖E + H‖² = ‖E‖² + ‖H‖² + 2 ⟨E, H⟩; without the last the norm is too small.

    ⟨E, H⟩ = Σ_st left_s[id_t] (values_t · right_s), as E has only the rows id_t.
    """

    rows: Rows
    outer: Outer

    def norm2(self) -> Tensor:
        places = self.rows.ids[:, None, :].expand(-1, self.outer.left.shape[1], -1)
        shared = self.outer.left.gather(2, places) * (self.outer.right @ self.rows.values.mT)
        return self.rows.norm2() + self.outer.norm2() + 2 * shared.sum((1, 2))

    def weighted(self, c: Tensor) -> Tensor:
        return self.outer.weighted(c) + self.rows.weighted(c)

    def dense(self) -> Dense:
        return Dense(self.rows.dense().grads + self.outer.dense().grads)


def joined(forms: Sequence[Form]) -> Form:
    """The sum of the gradients of several uses of one parameter, in one form.

    Uses of one kind are one use of more places, an embedding and a head are `Tied`; anything else is written out.
    """
    outers = [form for form in forms if isinstance(form, Outer)]
    rows = [form for form in forms if isinstance(form, Rows)]
    if len(outers) + len(rows) < len(forms):
        return forms[0] if len(forms) == 1 else Dense(torch.stack([form.dense().grads for form in forms]).sum(0))
    if not outers:
        return _one_of_rows(rows)
    outer = Outer(_places([o.left for o in outers]), _places([o.right for o in outers]))
    if rows:
        return Tied(_one_of_rows(rows), outer)
    return outer.dense() if outer.short else outer


def _one_of_rows(rows: Sequence[Rows]) -> Rows:
    return Rows(_places([r.ids for r in rows]), _places([r.values for r in rows]), rows[0].rows)


def _places(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors), 1)


def _inner(one: Outer, other: Outer) -> Tensor:
    return ((one.left @ other.left.mT) * (one.right @ other.right.mT)).sum((1, 2))


def _vector_norm2(flat: Tensor) -> Tensor:
    norms: Tensor = torch.linalg.vector_norm(flat, dim=1)
    return norms.square()


def _counted(tensor: Tensor, c: Tensor) -> Tensor:
    """Zeros for records of weight 0, as zero times infinity is no zero; as it is where all count."""
    if bool((c > 0).all()):
        return tensor
    return torch.where((c > 0).reshape(-1, *[1] * (tensor.ndim - 1)), tensor, 0)
