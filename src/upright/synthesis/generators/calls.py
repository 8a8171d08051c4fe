"""Calls of a chat model that a generator makes side by side, and their bill."""

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, TypeVar

from upright.models.chat import Client, Spent, together

T = TypeVar("T")
Spend = Callable[[Spent], None]
"""Takes what calls have cost."""


def answered(chat: Client, calls: Iterable[Coroutine[Any, Any, T]], spend: Spend) -> list[T]:
    """What the calls give, all made at once: the client limits them, and is closed after them.

    Also what was cut short is told to `spend`.
    """
    before = chat.meter.snapshot()

    async def all_of_them() -> list[T]:
        async with chat:
            return await together(*calls)

    try:
        return asyncio.run(all_of_them())
    finally:
        spend(chat.meter.snapshot() - before)
