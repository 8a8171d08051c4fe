"""Where chance comes from: a seeded generator, so that a run repeats, or the operating system's, so that none can.

A guarantee in the strict sense needs `Secure`: whoever knows the seed can take the noise off again.
"""

import math
import secrets
from typing import Protocol

import numpy as np
import torch
from torch import Tensor


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
    """Draws from the operating system's cryptographic generator; nothing repeats them.

    Each normal is the scaled sum of four, so that its floating-point grid does not give away the value under the
    noise (Holohan & Braghin 2021, section 5).
    """

    def chosen(self, n: int, rate: float) -> Tensor:
        return torch.from_numpy(np.flatnonzero(_uniform(n) <= rate))

    def normal(self, like: Tensor) -> Tensor:
        count = like.numel()
        sums = np.zeros(count)
        for _ in range(4):
            sums += _box_muller(count)
        return torch.from_numpy(sums / 2).to(like.dtype).reshape(like.shape).to(like.device)

    def state(self) -> Tensor | None:
        return None

    def restore(self, state: Tensor | None) -> None:
        if state is not None:
            raise ValueError("got the state of a seeded generator; must come from a run with cryptographic noise")


def _uniform(count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    """Multiples of 2^-53 in (0, 1]."""
    bits = np.frombuffer(secrets.token_bytes(8 * count), dtype=np.uint64) >> np.uint64(11)
    return (bits + np.uint64(1)).astype(np.float64) * 2.0**-53


def _box_muller(count: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    half = (count + 1) // 2
    radius, angle = np.sqrt(-2 * np.log(_uniform(half))), 2 * math.pi * _uniform(half)
    return np.concatenate([radius * np.cos(angle), radius * np.sin(angle)])[:count]
