"""The command line made from a configuration class: parsing, messages, help, and the way back."""

import shlex
from pathlib import Path
from typing import Annotated, Literal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import Field, PositiveInt

from upright.errors import UserError
from upright.run.config import Config, Positional, RunConfig, SpeedConfig
from upright.run.flags import command, flags_of
from upright.run.parse import from_file, parse
from upright.run.records import Compare
from upright.run.usage import help_text


class Memit(Config):
    type: Literal["memit"] = "memit"
    lambda_: Annotated[float, Field(gt=0)] = 15000.0
    """Weight of what is kept."""
    steps: PositiveInt = 25
    """Optimiser steps."""


class Rome(Config):
    type: Literal["rome"] = "rome"
    steps: PositiveInt = 20
    """Optimiser steps."""
    clamp: float = 4.0
    """Largest norm."""


class Layers(Config):
    first: int = 3
    """First layer."""
    last: int = 8
    """Last layer."""


class Edit(RunConfig):
    model: str
    """Hugging Face id, local folder or lab:NAME."""
    facts: Path
    """Fact changes."""
    kg: list[str] = Field(default_factory=list)
    """Graphs."""
    solver: Annotated[Memit | Rome, Field(discriminator="type")] = Memit(steps=30)
    """How the update is computed."""
    window: Layers = Layers(first=1)
    """Which layers are edited."""
    layers: Layers | None = None
    """Which layers are watched."""
    precision: Literal["float32", "bfloat16"] = "float32"
    """Number format."""
    chains: bool = True
    """Edit consequences as well."""
    hidden: list[PositiveInt] | None = None
    """Hidden layers."""
    note: str | None = None
    """Free text."""
    weights: dict[str, int] = Field(default_factory=dict)
    """Weight of each relation."""
    speed: SpeedConfig = SpeedConfig()


class Copy(Config):
    source: Annotated[Path, Positional]
    """From."""
    targets: Annotated[list[Path], Positional]
    """To."""


BASE = ["--model", "m", "--facts", "f"]


def edit(*words: str) -> Edit:
    return parse(Edit, [*BASE, *words], "upright edit")


def complaint(*words: str) -> str:
    with pytest.raises(UserError) as caught:
        edit(*words)
    assert "\n" not in str(caught.value)
    return str(caught.value)


# --- parsing ---


def test_defaults() -> None:
    assert edit() == Edit(model="m", facts=Path("f"))


def test_dotted_flags_keep_the_rest_of_a_default_object() -> None:
    config = edit("--solver.lambda", "20000", "--window.last", "5")
    assert config.solver == Memit(lambda_=20000, steps=30)
    assert config.window == Layers(first=1, last=5)


def test_another_kind_starts_from_its_own_defaults() -> None:
    assert edit("--solver", "rome").solver == Rome(steps=20)
    assert edit("--solver.type", "rome", "--solver.clamp=2").solver == Rome(clamp=2)


def test_any_flag_of_an_optional_object_makes_it() -> None:
    assert edit("--layers.first", "2").layers == Layers(first=2, last=8)


def test_kebab_and_snake_name_the_same_flag() -> None:
    assert edit("--speed.batch-rows", "4") == edit("--speed.batch_rows=4")


def test_switches() -> None:
    assert not edit("--no-chains").chains
    assert not edit("--chains=false").chains
    assert edit("--overwrite").overwrite


def test_lists_repeat_or_take_commas_and_json_keeps_a_comma() -> None:
    assert edit("--kg", "a,b", "--kg", "c").kg == ["a", "b", "c"]
    assert edit("--kg", '["a,b"]').kg == ["a,b"]


def test_mappings_gather() -> None:
    assert edit("--weights", "a=1", "--weights", "b=2").weights == {"a": 1, "b": 2}


def test_none_unsets() -> None:
    assert edit("--note", "x", "--note", "none").note is None


def test_a_negative_number_is_a_value() -> None:
    assert edit("--window.first", "-1").window.first == -1


def test_positionals_fill_in_order() -> None:
    config = parse(Copy, ["a", "b", "c,d"])
    assert (config.source, config.targets) == (Path("a"), [Path("b"), Path("c,d")])


# --- files ---


def test_files_from_left_to_right_then_flags(tmp_path: Path) -> None:
    first, second = tmp_path / "a.toml", tmp_path / "b.toml"
    first.write_text('model = "a"\nseed = 1\n[solver]\nlambda = 5\nsteps = 6\n')
    second.write_text("seed = 2\n[solver]\nlambda = 7\n[speed]\nbatch-rows = 3\n")
    config = parse(Edit, ["--seed", "9", "--config", str(first), "--config", str(second), "--facts", "f"])
    assert (config.model, config.seed, config.speed.batch_rows) == ("a", 9, 3)
    assert config.solver == Memit(lambda_=7, steps=6)


def test_a_written_config_reads_back(tmp_path: Path) -> None:
    config = edit("--solver", "rome", "--layers.first", "2", "--kg", "a")
    path = tmp_path / "config.json"
    path.write_text(config.model_dump_json(by_alias=True))
    assert from_file(Edit, path) == config


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "[solver]\nlamda = 3",
            "unknown key in [solver] of FILE: 'lamda' (allowed: clamp, lambda, steps, type); did you mean 'lambda'?",
        ),
        ("[solver]\nlambda = -3", "solver.lambda in FILE: got -3; must be greater than 0"),
        ('solver = "memit"', "solver in FILE: got 'memit'; must be a table [solver]"),
        ("seed = ", "--config FILE: not valid TOML: Invalid value (at end of document)"),
    ],
)
def test_a_bad_file_is_named_with_its_key(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "bad.toml"
    file.write_text(text)
    assert complaint("--config", str(file)) == message.replace("FILE", str(file))


def test_an_absent_file() -> None:
    assert complaint("--config", "no.toml") == (
        "--config no.toml: cannot be read (No such file or directory); give a TOML file"
    )


# --- messages ---

ALL = "upright edit --help)"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ["--solver.lamda", "3"],
            "unknown flag --solver.lamda; did you mean --solver.lambda? (all flags: " + ALL,
        ),
        (["--zzzzzz", "3"], "unknown flag --zzzzzz (all flags: " + ALL),
        (["--solver.lambda", "-3"], "--solver.lambda: got '-3'; must be greater than 0"),
        (["--seed", "x"], "--seed: got 'x'; must be a valid integer"),
        (["--seed"], "--seed needs a value: --seed INT"),
        (["--seed", "--overwrite"], "--seed needs a value: --seed INT"),
        (
            ["--precision", "bfloat"],
            "--precision: got 'bfloat'; must be 'float32' or 'bfloat16'; did you mean 'bfloat16'?",
        ),
        (
            ["--solver", "rom"],
            "--solver.type: unknown kind 'rom' (allowed: memit, rome); did you mean 'rome'?",
        ),
        (
            ["--solver", "rome", "--solver.lambda", "3"],
            "--solver.lambda belongs to --solver.type memit, but --solver.type is rome",
        ),
        (["--speed.device", "gpu"], "--speed.device: got 'gpu'; must be auto, cpu, cuda, cuda:N or mps"),
        (["--weights", "a"], "--weights: got 'a'; must be KEY=VALUE"),
        (["--kg", "[a"], "--kg: got '[a', which is not valid JSON (Expecting value)"),
        (["stray"], "unexpected word 'stray'; values follow their flag (see upright edit --help)"),
        (["--seed", "x", "--precision", "y"], "--seed: got 'x'; must be a valid integer (and 1 more)"),
    ],
)
def test_messages(words: list[str], message: str) -> None:
    assert complaint(*words) == message


def test_what_must_be_given_is_named() -> None:
    with pytest.raises(UserError, match=r"^--model and --facts must be given \(see upright edit --help\)$"):
        parse(Edit, [], "upright edit")
    with pytest.raises(UserError, match=r"^--model must be given: Hugging Face id, local folder or lab:NAME \("):
        parse(Edit, ["--facts", "f"], "upright edit")
    with pytest.raises(UserError, match=r"^TARGETS must be given"):
        parse(Copy, ["a"])


# --- the way back ---

names = st.text(min_size=1, max_size=8).filter(lambda text: text.lower() != "none" and "\0" not in text)
solvers = st.one_of(
    st.builds(Memit, lambda_=st.floats(1e-3, 1e9), steps=st.integers(1, 50)),
    st.builds(Rome, steps=st.integers(1, 50), clamp=st.floats(-1e3, 1e3)),
)
windows = st.builds(Layers, first=st.integers(-3, 9), last=st.integers(-3, 9))
configs = st.builds(
    Edit,
    model=names,
    facts=names.filter(lambda text: text.strip("/.") != "").map(Path),
    kg=st.lists(st.text(max_size=5).filter(lambda text: "\0" not in text), max_size=3),
    solver=solvers,
    window=windows,
    layers=st.none() | windows,
    chains=st.booleans(),
    hidden=st.none() | st.lists(st.integers(1, 9), max_size=3),
    note=st.none() | names,
    weights=st.dictionaries(names, st.integers(), max_size=2),
    seed=st.integers(0, 99),
    speed=st.builds(SpeedConfig, batch_rows=st.integers(1, 9)),
)


@settings(max_examples=60, deadline=None)
@given(configs)
def test_the_command_of_a_config_gives_the_config(config: Edit) -> None:
    upright, verb, *words = shlex.split(command(config, "edit"))
    assert (upright, verb) == ("upright", "edit")
    assert parse(Edit, words) == config


def test_the_command_says_only_what_is_not_default() -> None:
    config = edit("--solver.lambda", "20000", "--out", "x", "--overwrite")
    assert command(config, "edit") == "upright edit --model m --facts f --solver.lambda 20000.0"


def test_positional_lists_stay_words_of_their_own() -> None:
    assert command(Compare(dirs=[Path("a,b"), Path("c d")]), "runs compare") == "upright runs compare a,b 'c d'"


def test_every_flag_has_a_distinct_name() -> None:
    found = [flag.name for flag in flags_of(Edit)]
    assert len(set(found)) == len(found)
    assert {"--solver.lambda", "--solver.clamp", "--layers.first", "--speed.threads", "--out"} <= set(found)


# --- help ---


def test_help_shows_every_flag_its_meaning_and_its_default() -> None:
    page = help_text(Edit, "upright edit", "Write facts.", ["upright edit --model m --facts f"])
    words = " ".join(page.split())
    for flag in flags_of(Edit):
        assert flag.name in page
        assert flag.help in words
    assert "--solver.lambda NUMBER [memit] Weight of what is kept. (default: 15000)" in words
    assert "--solver.steps INT Optimiser steps. (default: 30)" in words
    assert "upright edit --model TEXT --facts PATH [options]" in words
    assert "--hidden INT … Hidden layers." in words
    assert "Speed (never changes the result)" in words


def test_help_fits_eighty_columns(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    example = f"upright edit --model lab:atlas --facts changes.jsonl --solver.lambda 20000 --out {'long/' * 4}"
    page = help_text(Edit, "upright edit", "Write facts into a model. " * 5, [example])
    assert max(map(len, page.splitlines())) <= 80
    assert shlex.split(page.split("Examples\n")[1].split("\n\n")[0].replace("\\\n", "")) == example.split()
