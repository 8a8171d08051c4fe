"""Key statistics must not outlive a test; models and worlds on disk are made once."""

from pathlib import Path

import pytest
import torch

from tests.tiny import write_model, write_world


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty cache for each test, and one thread: tiny matrices are slower on many."""
    monkeypatch.setenv("UPRIGHT_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of an untrained model."""
    return write_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def world(tmp_path: Path) -> Path:
    """Folder of the tiny world."""
    return write_world(tmp_path / "world")
