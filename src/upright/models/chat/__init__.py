"""Chat models: one protocol, several kinds of model, and one client that every call goes through.

    async with open_chat(ChatConfig(model="lab:atlas")) as chat:
        answers = await chat.complete([Message("user", "The capital of France is")], Sampling(max_tokens=8))

`openai.py` talks to any server with the API of OpenAI, `local.py` runs a model here. Neither caches, retries or
counts: the `Client` around them does.
"""

from upright.models.chat.client import Client, Limits, open_chat, together
from upright.models.chat.config import ChatConfig
from upright.models.chat.meter import Meter, Prices, Spent
from upright.models.chat.protocol import (
    ChatModel,
    Completion,
    Message,
    Sampling,
    TokenLogprobs,
    Usage,
)

__all__ = [
    "ChatConfig",
    "ChatModel",
    "Client",
    "Completion",
    "Limits",
    "Message",
    "Meter",
    "Prices",
    "Sampling",
    "Spent",
    "TokenLogprobs",
    "Usage",
    "open_chat",
    "together",
]
