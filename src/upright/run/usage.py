"""The help of a verb, made from its configuration class."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel

from upright.run.flags import REQUIRED, Flag, flags_of
from upright.run.parse import metavar
from upright.run.text import HARD_SPACE, entry, paragraph, section, shell

COLUMN = 30  # where the explanations begin

COMMON = (
    Flag(("config",), Path, "TOML file of settings; may be repeated, flags win.", None),
    Flag(("dry_run",), bool, "Print the resolved settings as JSON and stop.", False),
    Flag(("help",), bool, "Show this help and stop.", False),
)


def help_text(
    config: type[BaseModel],
    prog: str,
    summary: str,
    examples: Iterable[str] = (),
    related: Iterable[str] = (),
) -> str:
    """The whole help page of a verb: purpose, usage, examples, flags in groups, related verbs."""
    flags = flags_of(config)
    parts = [paragraph(summary), section("Usage", shell(_usage(prog, flags)))]
    if examples:
        parts.append(section("Examples", *map(shell, examples)))
    parts += [section(_heading(config, group), *map(_line, members)) for group, members in _groups(flags)]
    if related:
        parts.append(section("See also", *(f"  {verb} --help" for verb in related)))
    return "\n\n".join(parts)


def _usage(prog: str, flags: tuple[Flag, ...]) -> str:
    slots = [flag.name + (" …" if flag.many else "") for flag in flags if flag.positional]
    needed = [f"{flag.name} {metavar(flag)}" for flag in flags if flag.default is REQUIRED and not flag.positional]
    return " ".join([prog, *slots, *needed, "[options]"])


def _groups(flags: tuple[Flag, ...]) -> list[tuple[str, list[Flag]]]:
    """The verb's own flags first, then one group for each nested configuration, then what all runs share."""
    groups: dict[str, list[Flag]] = {"": [], "speed": [], "run": []}
    for flag in flags:
        name = "run" if flag.shared else flag.path[0] if len(flag.path) > 1 else ""
        groups.setdefault(name, []).append(flag)
    groups["run"].extend(COMMON)
    order = sorted(groups, key=lambda name: ["", "speed", "run"].index(name) if name in ("speed", "run") else 0)
    return [(name, groups[name]) for name in order if groups[name]]


def _heading(config: type[BaseModel], group: str) -> str:
    fixed = {"": "Options", "speed": "Speed (never changes the result)", "run": "Run"}
    if group in fixed:
        return fixed[group]
    info = next(info for name, info in config.model_fields.items() if (info.alias or name) == group)
    title = group.replace("_", " ").capitalize()
    return f"{title}: {info.description.rstrip('.')}" if info.description else title


def _line(flag: Flag) -> str:
    """One flag: its name on the left, what it means and its default on the right."""
    left = flag.name if flag.switch or flag.positional else f"{flag.name} {metavar(flag)}"
    if flag.switch and flag.default is True:
        left = f"{flag.name}, {flag.negative}"
    members = f"[{', '.join(flag.only)}] " if flag.only else ""
    return entry(left, f"{members}{flag.help} {_default(flag)}".strip(), COLUMN)


def _default(flag: Flag) -> str:
    """The default in words; none where it says nothing (an unset option, a switch that is off)."""
    if flag.default is REQUIRED:
        return "" if flag.positional else "(required)"
    if flag.default in (None, False, "", [], (), {}):
        return ""
    if isinstance(flag.default, list | tuple):
        shown = ",".join(str(item) for item in flag.default)
    else:
        shown = f"{flag.default:g}" if isinstance(flag.default, float) else str(flag.default)
    return f"(default:{HARD_SPACE}{'on' if flag.default is True else shown})"
