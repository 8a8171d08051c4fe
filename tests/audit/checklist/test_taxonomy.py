"""The questions are complete and consistent; answers by hand are read with care."""

import shlex
import tomllib
from importlib import import_module
from pathlib import Path

import pytest

from upright.audit import AUDITS
from upright.audit.checklist.taxonomy import LEVELS, Item, empty_answers, read_answers, taxonomy
from upright.errors import UserError
from upright.run.flags import flags_of

ANSWERED_BY_COMMANDS = {
    *(f"fairness.{n}" for n in ("group", "intersectional", "calibration", "individual", "inequality", "ranking")),
    *(f"fairness.{n}" for n in ("regression", "subgroups", "counterfactual", "proxy", "recourse", "data")),
    *(f"privacy.{n}" for n in ("membership", "membership-blind", "exposure", "extraction", "attribute-inference")),
    *(f"privacy.{n}" for n in ("personal-data", "epsilon", "membership-gradient", "membership-dataset")),
    *(f"both.{n}" for n in ("interplay-utility", "interplay-clipping", "interplay-attack", "interplay-leakage")),
    "both.fair-to-privacy",
    "mitigation.frontier",
}
KNOWN = taxonomy().ids()


def test_what_commands_answer_is_what_they_are_said_to_answer() -> None:
    assert {item.id for item in taxonomy().item if item.command} == ANSWERED_BY_COMMANDS


def test_ids_are_unique_and_lie_in_an_area() -> None:
    assert len(set(KNOWN)) == len(KNOWN)
    assert list(dict.fromkeys(item.area for item in taxonomy().item)) == [area.id for area in taxonomy().area]
    assert sum(len(taxonomy().of(area.id)) for area in taxonomy().area) == len(KNOWN)
    assert all(item.question.endswith("?") for item in taxonomy().item)


@pytest.mark.parametrize("line", sorted({item.command for item in taxonomy().item if item.command}))
def test_commands_have_flags_that_exist(line: str) -> None:
    program, verb, audit, *words = shlex.split(line)
    assert (program, verb) == ("upright", "audit")
    assert audit in AUDITS
    flags = {flag.name for flag in flags_of(import_module(f"upright.audit.{audit}.config").Config)}
    assert {word for word in words if word.startswith("--")} <= flags


def test_access_is_a_ladder() -> None:
    item = Item(id="a.b", question="?", access="score")
    assert [level for level in LEVELS if item.within(level)] == ["score", "logits", "gradients", "training"]


# --- answers by hand ---------------------------------------------------------------------------------------------


def test_answers_by_hand_in_both_spellings(tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(
        '[privacy.epsilon]\nverdict = "clear"\ntext = "Counted twice."\nby = "A"\n'
        '["both.budget"]\nverdict = "not-applicable"\ntext = "No group is used."\n',
        encoding="utf-8",
    )
    found = read_answers(tmp_path / "a.toml", KNOWN)
    assert {name: (a.verdict, a.text, a.by) for name, a in found.items()} == {
        "privacy.epsilon": ("clear", "Counted twice.", "A"),
        "both.budget": ("not-applicable", "No group is used.", ""),
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('[privacy.epsilom]\nverdict = "clear"\ntext = "x"', "'privacy.epsilom'.*did you mean 'privacy.epsilon'"),
        ('[privacy.epsilon]\nverdict = "fine"\ntext = "x"', "unknown verdict in .*'fine' .allowed: clear, concern"),
        ('[privacy.epsilon]\ntext = "x"', "privacy.epsilon, verdict: Field required; needs verdict and text"),
        ('[privacy.epsilon]\nverdict = "clear"', "privacy.epsilon, text: Field required"),
        ('[privacy.epsilon]\nverdict = "clear"\ntext = " "', "text: got nothing; must say in a sentence"),
        ('[privacy.epsilon]\nverdict = "clear"\ntext = "x"\nwhy = 1', "privacy.epsilon, why: Extra inputs"),
        ("privacy = 3", "privacy: got 3; must be a table"),
        ("[privacy]\nepsilon = 3", "privacy.epsilon: got 3; must be a table"),
        ("[privacy", "not valid TOML"),
    ],
)
def test_answers_that_cannot_be_read_are_named(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "a.toml").write_text(text, encoding="utf-8")
    with pytest.raises(UserError, match=message) as caught:
        read_answers(tmp_path / "a.toml", KNOWN)
    assert "\n" not in str(caught.value)


def test_an_absent_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"--answers .*none\.toml: cannot be read"):
        read_answers(tmp_path / "none.toml", KNOWN)


def test_the_empty_file_is_valid_and_asks_everything_once_uncommented() -> None:
    text = empty_answers(taxonomy().item)
    assert tomllib.loads(text) == {}
    filled = tomllib.loads("\n".join(line.removeprefix("# ") for line in text.splitlines()[1:]))
    assert [f"{area}.{name}" for area, names in filled.items() for name in names] == KNOWN
