"""Names of a package that are loaded when they are first asked for, so that parsing a command imports nothing heavy."""

from collections.abc import Callable
from importlib import import_module
from typing import Any


def lazily(package: str, module: str, names: tuple[str, ...] = ("Result", "run")) -> Callable[[str], Any]:
    """A module-level `__getattr__` for `package` that takes `names` from its submodule `module`."""

    def get(name: str) -> Any:
        if name not in names:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(f"{package}.{module}"), name)

    return get
