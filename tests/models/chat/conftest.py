"""A client of the test server and of the lab's model, each with a cache of its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from upright.models.causal import CausalModel, load
from upright.models.chat import Client, Limits, Meter, Prices
from upright.models.chat.cache import Cache
from upright.models.chat.config import ChatConfig
from upright.models.chat.local import LocalModel
from upright.models.chat.openai import OpenAIModel

KEY = "sk-never-shown-anywhere-1234"


@pytest.fixture
def remote(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Client]:
    """`remote(server.url, retries=…, prices=…, **config)`: a client that waits 20 ms before its first retry."""
    monkeypatch.setenv("OPENAI_API_KEY", KEY)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")

    def open_client(url: str, prices: Prices | None = None, reuse: bool = True, **limits: Any) -> Client:
        speed = {"timeout": limits.pop("timeout", 10.0)}
        model = limits.pop("model", "openai:echo")
        config = ChatConfig.model_validate({"model": model, "base_url": url, "speed": speed})
        rules = Limits(**{"concurrency": 32, "retries": 3, "first_wait": 0.02, **limits})
        return Client(OpenAIModel.open(config), Cache(tmp_path), rules, Meter(prices), reuse)

    return open_client


@pytest.fixture(scope="session")
def atlas() -> CausalModel:
    """The lab's trained model."""
    return load("lab:atlas", "cpu")


@pytest.fixture
def local(atlas: CausalModel) -> Callable[..., Client]:
    """`local(batch_rows=…, raw=…, model=…)`: a client of a model here, with nothing stored yet."""

    def open_client(batch_rows: int = 16, raw: bool = True, model: CausalModel = atlas, **limits: Any) -> Client:
        backend = LocalModel(model, raw, limits.pop("context", None), batch_rows)
        rules = Limits(**{"concurrency": 64, **limits})
        return Client(backend, Cache(), rules, Meter(Prices(0, 0)))

    return open_client
