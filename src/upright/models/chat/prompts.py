"""Conversations as token ids: by the model's chat template, in a plain form, or raw."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from jinja2 import TemplateError
from transformers import PreTrainedTokenizerBase

from upright.errors import UserError
from upright.models.causal import CausalModel, prompt_ids
from upright.models.chat.protocol import Message

_TITLES = {"system": "", "user": "User: ", "assistant": "Assistant: "}


@dataclass(frozen=True)
class Form:
    """How a model is given a conversation."""

    write: Callable[[Sequence[Message]], str]
    """The text up to where the answer begins."""
    stop: tuple[str, ...] = ()
    """Texts that end an answer in this form, besides what the caller asks for."""
    blank: bool = True
    """Whether a blank stands between the prompt and the answer, unless the prompt itself ends in space."""

    def border(self, prompt: str) -> str:
        """What stands between `prompt` and the answer."""
        return " " if self.blank and not prompt[-1:].isspace() else ""


def form_of(model: CausalModel, raw: bool) -> Form:
    """The tokenizer's chat template where it has one; with `raw` the content of the last message and nothing else."""
    if raw:
        return Form(lambda messages: messages[-1].content)
    if model.tokenizer.chat_template:
        return Form(partial(templated, model), blank=False)
    return Form(partial(plain, model.tokenizer), stop=("\nUser:",))


def templated(model: CausalModel, messages: Sequence[Message]) -> str:
    """By the chat template; instructions of the system go to the user's first turn where it knows no system.

    Raises `UserError` for a conversation that the template refuses.
    """
    clean = [Message(role, defused(model.tokenizer, content)) for role, content in messages]
    try:
        return _by_template(model.tokenizer, clean)
    except TemplateError as error:
        if clean[0].role != "system" or len(clean) < 2:
            raise UserError(f"{model.name}: its chat template refuses the conversation ({error})") from error
    system, first, *rest = clean
    return _by_template(model.tokenizer, [Message(first.role, f"{system.content}\n\n{first.content}"), *rest])


def _by_template(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    turns = [message._asdict() for message in messages]
    text = tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True)
    assert isinstance(text, str)
    return text


def plain(tokenizer: PreTrainedTokenizerBase, messages: Sequence[Message]) -> str:
    """Turns with their speakers, and "Assistant:" at the end; for models without a chat template."""
    turns = [_TITLES[role] + defused(tokenizer, content) for role, content in messages]
    return "\n".join([*turns, "Assistant:"])


def defused(tokenizer: PreTrainedTokenizerBase, text: str) -> str:
    """`text` without control tokens: what comes from data must not end a turn or begin another.

    A blank after its first character makes such a token a plain text that reads nearly the same.
    """
    for token in sorted(tokenizer.all_special_tokens, key=len, reverse=True):
        if len(token) > 1:
            text = text.replace(token, f"{token[0]} {token[1:]}")
    return text


def continuation_ids(tokenizer: PreTrainedTokenizerBase, prompt: str, text: str) -> list[int]:
    """Token ids of `text` as it follows `prompt`.

    They are the rest of the ids of the whole where these begin with the prompt's own, else those of the text alone.
    """
    ids, whole = prompt_ids(tokenizer, [prompt, prompt + text])
    if whole[: len(ids)] == ids and len(whole) > len(ids):
        return whole[len(ids) :]
    alone: list[int] = tokenizer(text, add_special_tokens=False)["input_ids"]
    return alone
