"""A configuration class as a flat table of flags, and a configuration as the command that gives it.

One `Flag` is one leaf of the nested configuration: `solver.lambda_` is the flag `--solver.lambda` and the
key `lambda` in the TOML table `[solver]`. A field that is a union of configurations told apart by `type`
becomes a flag for the type (`--solver memit`) and one for every field of any member.
"""

import json
import shlex
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from upright.run.config import Positional, RunConfig

REQUIRED = PydanticUndefined


@dataclass(frozen=True)
class Flag:
    """One leaf of a configuration class, as the command line sees it."""

    path: tuple[str, ...]  # keys as in a TOML file, outermost first
    annotation: Any  # the field's type without metadata
    help: str
    default: Any = REQUIRED
    positional: bool = False
    shared: bool = False  # declared by RunConfig, so the same in every verb
    only: tuple[str, ...] = ()  # union members that have this field; empty: always there
    inherits: bool = False  # the default comes from a default object of the parent field
    tag: tuple[str, ...] = ()  # path of the type flag of the union this field lies in

    @property
    def name(self) -> str:
        """The flag as typed: `--solver.lambda`, or `DIR` for a positional."""
        text = ".".join(self.path).replace("_", "-")
        return text.upper() if self.positional else f"--{text}"

    @property
    def negative(self) -> str:
        """The flag that switches a boolean off: `--no-solver.lambda`."""
        return "--no-" + self.name.removeprefix("--")

    @property
    def types(self) -> tuple[Any, ...]:
        """The alternatives of the type without None, aliases and metadata."""
        return tuple(alternatives(self.annotation))

    @property
    def optional(self) -> bool:
        """Whether None is a value."""
        return NoneType in alternatives(self.annotation, keep_none=True)

    @property
    def switch(self) -> bool:
        """Whether the flag stands alone, without a value."""
        return self.types == (bool,)

    @property
    def many(self) -> bool:
        """Whether the flag may be given several times, each time adding values."""
        return any(get_origin(kind) in (list, tuple, set, frozenset) for kind in self.types)

    @property
    def mapping(self) -> bool:
        """Whether the values are KEY=VALUE."""
        return any((get_origin(kind) or kind) is dict for kind in self.types)

    @property
    def choices(self) -> tuple[str, ...]:
        """The allowed words of a Literal, else empty."""
        return tuple(str(value) for kind in self.types if get_origin(kind) is Literal for value in get_args(kind))


def alternatives(annotation: Any, keep_none: bool = False) -> Iterator[Any]:
    """The members of nested unions, in order."""
    if get_origin(annotation) is Annotated:
        yield from alternatives(get_args(annotation)[0], keep_none)
    elif get_origin(annotation) in (Union, UnionType):
        for member in get_args(annotation):
            yield from alternatives(member, keep_none)
    elif keep_none or annotation is not NoneType:
        yield annotation


@cache
def flags_of(config: type[BaseModel]) -> tuple[Flag, ...]:
    """All flags of a configuration class, in the order of declaration."""
    return tuple(_walk(config, (), None))


def _walk(model: type[BaseModel], prefix: tuple[str, ...], instance: BaseModel | None) -> Iterator[Flag]:
    """Flags of `model`'s fields; `instance`, when given, supplies the defaults."""
    for name, info in model.model_fields.items():
        path = (*prefix, info.alias or name)
        default = getattr(instance, name) if instance else info.get_default(call_default_factory=True)
        members = [kind for kind in alternatives(info.annotation) if _is_config(kind)]
        if not members:
            yield _leaf(path, info, default, inherits=instance is not None, shared=name in RunConfig.model_fields)
        elif info.discriminator is None:
            yield from _walk(members[0], path, default if isinstance(default, members[0]) else None)
        else:
            yield from _union(path, info, members, default)


def _is_config(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _leaf(path: tuple[str, ...], info: FieldInfo, default: Any, inherits: bool, shared: bool) -> Flag:
    positional = Positional in info.metadata
    shared = shared and len(path) == 1
    return Flag(path, info.annotation, info.description or "", default, positional, shared, (), inherits)


def _union(path: tuple[str, ...], info: FieldInfo, members: list[type[BaseModel]], default: Any) -> Iterator[Flag]:
    """The type flag of a tagged union, then every other field once, with the members that have it."""
    tag = str(info.discriminator)
    by_name = {tag_of(member, tag): member for member in members}
    chosen = getattr(default, tag) if isinstance(default, BaseModel) else REQUIRED
    kinds = Literal[tuple(by_name)]  # type: ignore[valid-type]
    yield Flag((*path, tag), kinds, "Which kind is used.", chosen, inherits=chosen is not REQUIRED)
    merged: dict[tuple[str, ...], Flag] = {}
    for name, member in sorted(by_name.items(), key=lambda item: item[0] != chosen):
        for flag in _walk(member, path, default if name == chosen else None):
            if flag.path != (*path, tag):
                known = merged.setdefault(flag.path, flag)
                merged[flag.path] = replace(known, only=(*known.only, name), tag=flag.tag or (*path, tag))
    for flag in merged.values():
        yield replace(flag, only=() if len(flag.only) == len(members) else flag.only)


def tag_of(member: type[BaseModel], tag: str) -> str:
    """The word by which a tagged union knows `member`."""
    return str(get_args(member.model_fields[tag].annotation)[0])


def keeps_default(
    flag: Flag, table: Mapping[tuple[str, ...], Flag], value_at: Callable[[tuple[str, ...]], Any]
) -> bool:
    """Whether leaving a flag out means `flag.default`: its parent has a default object of the type in use."""
    if len(flag.path) > 1 and not flag.inherits:
        return False
    tag = table.get(flag.tag)
    return tag is None or (value_at(tag.path) == tag.default and keeps_default(tag, table, value_at))


def command(config: BaseModel, verb: str) -> str:
    """The shortest command line that gives `config` again, except for where the run is written.

    >>> command(RunConfig(seed=3), "edit")
    'upright edit --seed 3'
    """
    dump = config.model_dump(mode="json", by_alias=True)
    table = {flag.path: flag for flag in flags_of(type(config))}
    words: list[str] = []
    for flag in sorted(table.values(), key=lambda flag: not flag.positional):
        value = lookup(dump, flag.path)
        if value is REQUIRED or (flag.shared and flag.path[0] in ("out", "overwrite")):
            continue
        known = keeps_default(flag, table, lambda path: lookup(dump, path))
        if not known or value != to_jsonable_python(flag.default, by_alias=True, fallback=str):
            words += _words(flag, value)
    return shlex.join(["upright", *verb.split(), *words])


def lookup(tree: Any, path: tuple[str, ...]) -> Any:
    """The value at `path` in nested dictionaries, or REQUIRED when there is none."""
    for key in path:
        if not isinstance(tree, dict) or key not in tree:
            return REQUIRED
        tree = tree[key]
    return tree


def _words(flag: Flag, value: Any) -> list[str]:
    if flag.switch and isinstance(value, bool):
        return [flag.name if value else flag.negative]
    if flag.positional:
        return [_plain(item) for item in value] if flag.many else [_plain(value)]
    text = _joined(value) if flag.many else _plain(value)
    return [f"{flag.name}={text}"] if text.startswith("-") else [flag.name, text]


def _plain(value: Any) -> str:
    """A value as one word."""
    return "none" if value is None else value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _joined(value: Any) -> str:
    """A list as one word: its items between commas, or JSON where they hold commas themselves."""
    if not value or not all(isinstance(item, str | int | float) for item in value):
        return _plain(value)
    parts = [_plain(item) for item in value]
    return _plain(value) if any("," in part or part[:1] in ("", "[") for part in parts) else ",".join(parts)
