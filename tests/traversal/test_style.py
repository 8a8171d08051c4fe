"""How a model is asked, as its folder says."""

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from upright.errors import UserError
from upright.models.chat.config import ChatConfig
from upright.traversal.style import Manner, manner_of


def test_a_model_that_was_taught_says_so(tmp_path: Path) -> None:
    manner = Manner(omit="path", depth=6)
    manner.save(tmp_path)
    assert json.loads((tmp_path / "traversal.json").read_text()) == {"style": "compact", "omit": "path", "depth": 6}
    assert manner_of(ChatConfig(model=f"hf:{tmp_path}")) == manner
    assert manner_of(ChatConfig(model="lab:traveller")) == Manner(omit="seeds", depth=9)


@pytest.mark.parametrize("model", ["openai:traveller", "hf:nobody/knows", "lab:atlas"])
def test_all_other_models_are_asked_with_instructions(model: str) -> None:
    assert manner_of(ChatConfig(model=model)) is None


def test_an_unknown_lab_model_is_one_line() -> None:
    with pytest.raises(UserError, match="unknown lab model 'travel'"):
        manner_of(ChatConfig(model="lab:travel"))


@pytest.mark.parametrize("text", ['{"style": "compact"}', '{"style": "odd", "omit": "path", "depth": 6}', "{"])
def test_a_file_that_is_spoilt_is_a_mistake_of_the_user(tmp_path: Path, text: str) -> None:
    (tmp_path / "traversal.json").write_text(text)
    with pytest.raises(UserError, match=r"traversal.json: .* learn") as caught:
        manner_of(ChatConfig(model=f"hf:{tmp_path}"))
    assert not isinstance(caught.value, ValidationError)
    assert "\n" not in str(caught.value)
