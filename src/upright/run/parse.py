"""From words and files to a configuration: defaults < files left to right < flags.

Every mistake is a `UserError` that names the flag or the file and key, what was got and what is allowed.
"""

import json
import re
import tomllib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from upright.errors import UserError, closest, unknown
from upright.run.flags import REQUIRED, Flag, alternatives, flags_of, keeps_default

C = TypeVar("C", bound=BaseModel)
Path_ = tuple[str, ...]


def parse(config: type[C], words: Sequence[str], prog: str = "upright") -> C:
    """The configuration that the command-line `words` (after the verb) describe.

    Raises: UserError for an unknown flag or key, a missing or malformed value, an unreadable file.
    """
    files, given = _read_words(flags_of(config), words, prog)
    layers = [(f" in {file}", read_file(config, file)) for file in files]
    return _build(config, [*layers, ("", given)], prog)


def from_file(config: type[C], file: Path) -> C:
    """The configuration that a TOML or JSON file holds. Raises UserError as `parse` does."""
    return _build(config, [(f" in {file}", read_file(config, file))], "upright")


# --- words ---


def _read_words(flags: Iterable[Flag], words: Sequence[str], prog: str) -> tuple[list[Path], dict[Path_, Any]]:
    """Split words into --config files and raw values by path."""
    named = {flag.name: flag for flag in flags if not flag.positional}
    named |= {flag.name.rpartition(".")[0]: flag for flag in flags if flag.path[-1:] == ("type",) and flag.choices}
    slots = [flag for flag in flags if flag.positional]
    files: list[Path] = []
    given: dict[Path_, Any] = {}
    queue = list(words)
    while queue:
        word = queue.pop(0)
        if not word.startswith("-") or word == "-":
            _fill_slot(slots, given, word, prog)
            continue
        name, equals, value = word.partition("=")
        name = name.replace("_", "-")
        flag = named.get(name) or named.get(re.sub("^--no-", "--", name))
        if flag is None and name != "--config":
            raise _unknown_flag(name, [*named, "--config"], prog)
        if flag and flag.switch and not equals:
            given[flag.path] = name == flag.name
            continue
        if not equals:
            value = _next_value(queue, name, flag)
        if flag is None:
            files.append(Path(value))
        else:
            _add(given, flag, value)
    return files, given


def _unknown_flag(name: str, names: list[str], prog: str) -> UserError:
    near = closest(name, names)
    return UserError(f"unknown flag {name}{f'; did you mean {near}?' if near else ''} (all flags: {prog} --help)")


def _next_value(queue: list[str], name: str, flag: Flag | None) -> str:
    if not queue or queue[0].startswith("--"):
        kind = metavar(flag) if flag else "FILE"
        raise UserError(f"{name} needs a value: {name} {kind}")
    return queue.pop(0)


def _fill_slot(slots: list[Flag], given: dict[Path_, Any], word: str, prog: str) -> None:
    free = next((flag for flag in slots if flag.many or flag.path not in given), None)
    if free is None:
        raise UserError(f"unexpected word {word!r}; values follow their flag (see {prog} --help)")
    if free.many:  # each word is one value as it stands: the shell has already split them
        given.setdefault(free.path, []).append(word)
    else:
        _add(given, free, word)


def _add(given: dict[Path_, Any], flag: Flag, text: str) -> None:
    """Store the value `text` of `flag`; lists and mappings gather, anything else is replaced."""
    if flag.optional and text.lower() == "none":
        given[flag.path] = None
    elif flag.mapping:
        given[flag.path] = {**(given.get(flag.path) or {}), **_mapping(flag, text)}
    elif flag.many:
        items = _json(flag, text) if text.startswith("[") else text.split(",")
        given[flag.path] = [*(given.get(flag.path) or []), *items]
    else:
        structured = text[:1] in ("{", "[") and not {str, Path} & set(flag.types)
        given[flag.path] = _json(flag, text) if structured else text


def _mapping(flag: Flag, text: str) -> dict[str, Any]:
    if text.startswith("{"):
        return dict(_json(flag, text))
    key, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"{flag.name}: got {text!r}; must be KEY=VALUE")
    return {key: value}


def _json(flag: Flag, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        raise UserError(f"{flag.name}: got {text!r}, which is not valid JSON ({error.msg})") from error


def metavar(flag: Flag) -> str:
    """What stands for the value in help, such as INT, TEXT or {a,b}."""
    if flag.choices:
        return "{" + ",".join(flag.choices) + "}"
    if flag.mapping:
        return "KEY=VALUE"
    inner = flag.types[0]
    if flag.many:
        inner = next(alternatives((*get_args(inner), str)[0]))
    names = {int: "INT", float: "NUMBER", str: "TEXT", Path: "PATH", bool: "true|false"}
    return names.get(inner, "TEXT") + (" …" if flag.many else "")


# --- files ---


def read_file(config: type[BaseModel], file: Path) -> dict[Path_, Any]:
    """Values by path of a TOML file (or of a run's `config.json`), its keys checked against `config`."""
    try:
        text = file.read_text(encoding="utf-8")
        tree = json.loads(text) if file.suffix == ".json" else tomllib.loads(text)
    except OSError as error:
        raise UserError(f"--config {file}: cannot be read ({error.strerror}); give a TOML file") from error
    except (tomllib.TOMLDecodeError, json.JSONDecodeError, UnicodeDecodeError) as error:
        raise UserError(f"--config {file}: not valid {file.suffix.lstrip('.').upper() or 'TOML'}: {error}") from error
    if not isinstance(tree, dict):
        raise UserError(f"--config {file}: must hold a table of settings, got {type(tree).__name__}")
    return _flatten({flag.path for flag in flags_of(config)}, tree, (), file)


def _flatten(leaves: set[Path_], tree: dict[str, Any], prefix: Path_, file: Path) -> dict[Path_, Any]:
    flat: dict[Path_, Any] = {}
    for key, value in tree.items():
        path = (*prefix, key.replace("-", "_"))
        branch = any(leaf[: len(path)] == path for leaf in leaves)
        if path in leaves or (branch and value is None):
            flat[path] = value
        elif not branch:
            allowed = dict.fromkeys(leaf[len(prefix)] for leaf in sorted(leaves) if leaf[: len(prefix)] == prefix)
            where = f"[{'.'.join(prefix)}] of {file}" if prefix else str(file)
            raise unknown(f"key in {where}:", key, allowed)
        elif isinstance(value, dict):
            flat |= _flatten(leaves, value, path, file)
        else:
            raise UserError(f"{'.'.join(path)} in {file}: got {value!r}; must be a table [{'.'.join(path)}]")
    return flat


# --- building ---


def _build(config: type[C], layers: list[tuple[str, dict[Path_, Any]]], prog: str) -> C:
    table = {flag.path: flag for flag in flags_of(config)}
    given: dict[Path_, Any] = {}
    source: dict[Path_, str] = {}
    for where, values in layers:
        given |= values
        source |= dict.fromkeys(values, where)
    _refuse_strangers(table, given, source)
    try:
        return config.model_validate(_nest(table, given))
    except ValidationError as error:
        raise _explain(error, table, source, prog) from error


def _value_at(table: dict[Path_, Flag], given: dict[Path_, Any], path: Path_) -> Any:
    return given.get(path, table[path].default)


def _refuse_strangers(table: dict[Path_, Flag], given: dict[Path_, Any], source: dict[Path_, str]) -> None:
    """A field of one member of a union, given together with another member's type."""
    for path in given:
        flag = table.get(path)
        kind = _value_at(table, given, flag.tag) if flag and flag.only else REQUIRED
        if flag and kind is not REQUIRED and kind in table[flag.tag].choices and kind not in flag.only:
            where, tag = _where(flag, source), table[flag.tag].name
            raise UserError(f"{where} belongs to {tag} {' or '.join(flag.only)}, but {tag} is {kind}")


def _nest(table: dict[Path_, Flag], given: dict[Path_, Any]) -> dict[str, Any]:
    """Nested values for validation; an object that is given in part keeps the rest of its default object."""
    touched = {path[:depth] for path in given for depth in range(1, len(path))}
    flat = dict(given)
    for flag in table.values():
        in_use = flag.path not in given and flag.path[:-1] in touched and flag.default is not REQUIRED
        if in_use and flag.inherits and keeps_default(flag, table, lambda path: _value_at(table, given, path)):
            kind = _value_at(table, given, flag.tag) if flag.tag else None
            if not flag.only or kind in flag.only:
                flat[flag.path] = flag.default
    tree: dict[str, Any] = {}
    for path, value in flat.items():
        branch = tree
        for key in path[:-1]:
            branch = branch.setdefault(key, {})
        branch[path[-1]] = value
    return tree


# --- explaining ---


def _explain(error: ValidationError, table: dict[Path_, Flag], source: dict[Path_, str], prog: str) -> UserError:
    """One line for what pydantic found."""
    problems = error.errors()
    missing = [_flag_at(problem["loc"], table) for problem in problems if problem["type"] == "missing"]
    if missing:
        names = [
            flag.name if flag else str(problem["loc"][-1]) for flag, problem in zip(missing, problems, strict=False)
        ]
        first = missing[0]
        hint = f": {first.help.rstrip('.')}" if first and first.help and len(names) == 1 else ""
        return UserError(f"{' and '.join(names)} must be given{hint} (see {prog} --help)")
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return UserError(_one_line(problems[0], table, source) + more)


def _one_line(problem: ErrorDetails, table: dict[Path_, Flag], source: dict[Path_, str]) -> str:
    flag = _flag_at(problem["loc"], table)
    if problem["type"] == "union_tag_invalid":
        flag = next(flag for flag in table.values() if flag.path[:-1] == problem["loc"] and flag.choices)
        return f"{_where(flag, source)}: {unknown('kind', problem['ctx']['tag'], flag.choices)}"
    text = re.sub(r"^(Value error, |Assertion failed, )", "", problem["msg"])
    text = re.sub(r"^Input should (be )?", lambda match: "must be " if match[1] else "must ", text)
    text = text.removesuffix(", unable to parse string as an integer").removesuffix(
        ", unable to parse string as a number"
    )
    if flag is None:  # a rule over several fields: its own message names them
        return text
    near = closest(str(problem["input"]), flag.choices)
    hint = f"; did you mean {near!r}?" if near else ""
    return f"{_where(flag, source)}: got {_shown(problem['input'])}; {text}{hint}"


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else text[:79] + "…"


def _where(flag: Flag, source: dict[Path_, str]) -> str:
    file = source.get(flag.path)
    return ".".join(flag.path) + file if file else flag.name


def _flag_at(loc: tuple[int | str, ...], table: dict[Path_, Flag]) -> Flag | None:
    """The flag an error location points to; union tags and list indices in the location are passed over."""
    path: Path_ = ()
    for part in loc:
        longer = (*path, str(part))
        if any(leaf[: len(longer)] == longer for leaf in table):
            path = longer
    return table.get(path)
