"""Fixtures that tests of several packages share."""

import os
import subprocess
import sys
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest

import upright
from upright.cli import COMMANDS

TESTS = Path(__file__).parent
SRC = Path(upright.__file__).parents[1]

Process = subprocess.CompletedProcess[str]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Any:
    """The module of the test verb `probe`, which the command line knows during the test."""
    monkeypatch.syspath_prepend(str(TESTS))
    module = import_module("probe_verb")
    monkeypatch.setitem(COMMANDS, "probe", module.COMMAND)
    return module


@pytest.fixture
def shell(tmp_path: Path) -> Callable[..., Process]:
    """Run the command line in a process of its own, with the verb `probe`, inside `tmp_path`."""

    def run(*words: str, stop: str = "") -> Process:
        paths = os.pathsep.join([str(SRC), str(TESTS)])
        env = {**os.environ, "PYTHONPATH": paths, "PROBE_STOP": stop, "COLUMNS": "80"}
        argv = [sys.executable, str(TESTS / "probe_verb.py"), *words]
        return subprocess.run(argv, cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=False)

    return run
