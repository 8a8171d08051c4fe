"""Ways to answer a question that stand beside the tree search, in the same harness: see `upright.traversal.inquiry`."""

from upright.errors import UserError
from upright.traversal.config import Config
from upright.traversal.inquiry import Method
from upright.traversal.methods.beam import Beam
from upright.traversal.methods.direct import Direct, Reasoned
from upright.traversal.methods.react import React
from upright.traversal.prompts import Plain, Style
from upright.traversal.search import TREE

ALONE = ("direct", "cot")  # methods that ask the model about the question itself


def method_of(config: Config, style: Style) -> Method:
    """What `--method` names; chains are searches with one sample (`method_settings`)."""
    match config.method:
        case "direct":
            return Direct(completes=config.chat.raw or config.chat.model.startswith("lab:"))
        case "cot":
            return Reasoned()
        case "react" if isinstance(style, Plain):
            return React(style)
        case "beam":
            return Beam(config.beam.width, config.beam.depth)
        case _:
            return TREE


def method_settings(config: Config, style: Style) -> dict[str, int | float]:
    """What the method decides of the settings of a search.

    A model that only chooses among actions writes no thoughts between them: its ReAct is the chain of the likeliest.
    """
    if config.method == "react" and not isinstance(style, Plain):
        return {"samples": 1, "temperature": 0.0}
    return {"samples": 1} if config.method == "chain" else {}


def check_method(config: Config, drives: bool) -> None:
    """Raise `UserError` for a model that was only taught to drive traversals (`drives`) and is asked to do without."""
    if drives and config.method in ALONE:
        raise UserError(
            f"--method {config.method}: {config.chat.model} only drives traversals; "
            "give a chat model with --chat.model, or one of the methods tree, chain, react and beam"
        )
