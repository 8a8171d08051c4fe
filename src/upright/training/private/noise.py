"""Where chance comes from: a seeded generator, so that a run repeats, or the operating system's, so that none can.

A guarantee in the strict sense needs `Secure`: whoever knows the seed can take the noise off again.
"""

import math
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from ssl import RAND_bytes
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

AT_ONCE = 2**17
"""Normals that a thread draws together."""
TOGETHER = 2**22
"""Normals that small tensors share a draw of: a draw of its own for each would leave threads idle."""


class Randomness(Protocol):
    """Draws of the sampler and of the noise, independent of each other."""

    def chosen(self, n: int, rate: float) -> Tensor:
        """Poisson sampling: indices of the records, each in with probability `rate`, whatever the others do."""

    def normal(self, like: Tensor) -> Tensor:
        """Independent standard normals of `like`'s shape, type and device."""

    def state(self) -> Tensor | None:
        """What `restore` needs to go on with the same draws; None where nothing can repeat them."""

    def restore(self, state: Tensor | None) -> None:
        """Go on where `state` was taken. Raises ValueError for the state of another kind."""


def normals(source: Randomness, like: Sequence[Tensor]) -> Iterator[Tensor]:
    """Independent standard normals of the shape, type and device of each tensor, few of them held at once."""
    start = 0
    while start < len(like):
        first, end, size = like[start], start + 1, like[start].numel()
        while end < len(like) and size + like[end].numel() <= TOGETHER and _alike(first, like[end]):
            size, end = size + like[end].numel(), end + 1
        few = like[start:end]
        parts = source.normal(first.new_empty(size)).split([tensor.numel() for tensor in few])
        yield from (part.view(tensor.shape) for part, tensor in zip(parts, few, strict=True))
        start = end


def _alike(one: Tensor, other: Tensor) -> bool:
    return one.dtype == other.dtype and one.device == other.device


class Seeded:
    """Draws from a `torch.Generator` that belongs to this object alone. Repeatable, so not for a real release."""

    def __init__(self, generator: torch.Generator) -> None:
        self._generator = generator

    def chosen(self, n: int, rate: float) -> Tensor:
        uniform = torch.rand(n, generator=self._generator, dtype=torch.float64, device=self._generator.device)
        return (uniform < rate).nonzero().squeeze(1)

    def normal(self, like: Tensor) -> Tensor:
        drawn = torch.randn(like.shape, generator=self._generator, dtype=like.dtype, device=self._generator.device)
        return drawn.to(like.device)

    def state(self) -> Tensor | None:
        return self._generator.get_state()

    def restore(self, state: Tensor | None) -> None:
        if state is None:
            raise ValueError("got a state without a generator (cryptographic noise); must come from a seeded run")
        self._generator.set_state(state)


class Secure:
    """Draws from OpenSSL's cryptographic generator, which the operating system seeds; nothing repeats them.

    Each normal is the scaled sum of four, so that its floating-point grid does not give away the value under the
    noise (Holohan & Braghin 2021, section 5).
    """

    def chosen(self, n: int, rate: float) -> Tensor:
        return torch.from_numpy(np.flatnonzero(_uniform(n) <= rate))

    def normal(self, like: Tensor) -> Tensor:
        sizes = [min(AT_ONCE, like.numel() - start) for start in range(0, like.numel(), AT_ONCE)]
        if len(sizes) < 2:
            drawn = _sum_of_four(like.numel())
        else:
            with ThreadPoolExecutor(os.cpu_count()) as pool:  # the generator and the functions let other threads run
                drawn = torch.cat([*pool.map(_sum_of_four, sizes)])
        return drawn.to(like.dtype).reshape(like.shape).to(like.device)

    def state(self) -> Tensor | None:
        return None

    def restore(self, state: Tensor | None) -> None:
        if state is not None:
            raise ValueError("got the state of a seeded generator; must come from a run with cryptographic noise")


def _sum_of_four(count: int) -> Tensor:
    """Standard normals (count,), each half the sum of four of Box and Muller's (1958)."""
    half = (count + 1) // 2
    total = torch.zeros(2, half, dtype=torch.float64)
    for _ in range(4):
        radius = torch.from_numpy(_uniform(half)).log_().mul_(-2).sqrt_()
        angle = torch.from_numpy(_uniform(half)).mul_(2 * math.pi)
        total[0] += radius * angle.cos()
        total[1] += radius * angle.sin()
    return total.flatten()[:count] / 2


def _uniform(count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Multiples of 2^-53 in (0, 1]."""
    bits = np.frombuffer(RAND_bytes(8 * count), dtype=np.uint64) >> np.uint64(11)
    return (bits + np.uint64(1)).astype(np.float64) * 2.0**-53
