"""Imports run one way: command line, then capability, then core. Modules are read, not imported."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from importlib.util import resolve_name
from pathlib import Path

import pytest

import upright
from upright.cli import COMMANDS

ROOT = Path(upright.__file__).parent
CORE = {"run", "models", "knowledge", "training", "engines", "errors"}
CAPABILITIES = {
    "alignment",
    "audit",
    "constraint",
    "deliberation",
    "editing",
    "evaluation",
    "family",
    "federated",
    "persona",
    "serving",
    "synthesis",
    "traversal",
}
ON_TOP = {"cli", "__main__"}
LAB_ON_TOP = {"actors", "builder", "tour", "run"}  # the builders of the lab and the tour stand on the capabilities
HEAVY = {"torch", "transformers", "matplotlib", "rich", "numpy", "polars", "pyarrow", "openai", "httpx", "httpx2"}


def modules() -> list[str]:
    """Dotted names of all modules, without `upright.`; a package goes by its folder."""
    paths = [path.relative_to(ROOT).with_suffix("") for path in ROOT.rglob("*.py")]
    return sorted({".".join(p.parent.parts if p.name == "__init__" else p.parts) for p in paths} - {""})


def imported(module: str) -> Iterator[str]:
    """Modules of upright that `module` imports anywhere in its source, without `upright.`."""
    path = ROOT / Path(*module.split("."))
    package = (path / "__init__.py").exists()
    tree = ast.parse((path / "__init__.py" if package else path.with_suffix(".py")).read_text())
    parent = f"upright.{module}" if package else f"upright.{module}".rpartition(".")[0]
    for node in ast.walk(tree):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = resolve_name("." * node.level + (node.module or ""), parent) if node.level else node.module or ""
            names = [f"{base}.{alias.name}" for alias in node.names]
        yield from (name.removeprefix("upright.") for name in names if name.startswith("upright."))


def layer(module: str) -> str:
    return module.split(".")[0]


def allowed(module: str, target: str) -> bool:
    """Whether `module` may import `target`; `lab` alone is the door to the lab's resources, by name."""
    own, other = layer(module), layer(target)
    if other not in CORE | CAPABILITIES | ON_TOP | {"lab"}:
        return True  # a name of the package itself, such as __version__
    if own == other or other == "errors" or own in ON_TOP:
        return True
    if other in ON_TOP:
        return False
    if other == "lab":
        rest = target.split(".")[1:]
        return not (rest and (ROOT / "lab" / f"{rest[0]}.py").exists())
    if own == "lab":
        return other in CORE or any(part in LAB_ON_TOP for part in module.split(".")[1:2])
    return own != "errors" and other in CORE


@pytest.mark.parametrize("module", modules())
def test_imports_run_one_way(module: str) -> None:
    assert layer(module) in CORE | CAPABILITIES | ON_TOP | {"lab"}, "a new package must find its place here"
    wrong = sorted({target for target in imported(module) if not allowed(module, target)})
    assert not wrong, f"upright.{module} must not import {', '.join(wrong)}"


@pytest.mark.parametrize(
    ("module", "target", "expected"),
    [
        ("cli", "editing.run.run", True),
        ("editing.run", "run.folder.open_run", True),
        ("editing.run", "editing.method.solve", True),
        ("editing.run", "alignment.method.loss", False),
        ("run.folder", "editing.Config", False),
        ("run.records", "cli.main", False),
        ("models.causal", "lab", True),
        ("models.causal", "lab.builder.build", False),
        ("lab.builder", "editing.run", True),
        ("lab.corpus", "editing.run", False),
        ("errors", "run.files", False),
        ("run.manifest", "__version__", True),
    ],
)
def test_the_rule_itself(module: str, target: str, expected: bool) -> None:
    assert allowed(module, target) is expected


@pytest.mark.parametrize("target", sorted({command.config for command in COMMANDS.values()}))
def test_configurations_import_nothing_heavy(target: str) -> None:
    module, _, name = target.partition(":")
    code = f"import sys, {module} as m; m.{name}; print(*sorted(set(sys.modules) & {HEAVY!r}))"
    argv = [sys.executable, "-c", code]
    env = {"PYTHONPATH": str(ROOT.parent)}
    done = subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []
