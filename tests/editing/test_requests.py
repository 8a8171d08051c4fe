"""Where the fact position is, and rows that are aligned at it."""

import pytest
import torch

from tests.models.conftest import byte_level_bpe
from tests.tiny import exact_model, prompt, relations
from upright.editing.requests import Request, Row, other_wordings, padded, tokenised
from upright.errors import UserError
from upright.knowledge.relations import Kind, Prompt
from upright.models.causal import CausalModel


@pytest.fixture(scope="module")
def model() -> CausalModel:
    return exact_model()


@pytest.mark.parametrize(
    ("text", "subject"),
    [
        ("The capital of France is", "France"),
        ("France has the capital", "France"),
        ("Which city is the capital of the Republic of Côte d'Ivoire", "Côte d'Ivoire"),
        ("Germany, and the capital", "Germany"),
    ],
)
def test_the_fact_position_is_the_last_token_of_the_subject(model: CausalModel, text: str, subject: str) -> None:
    row = tokenised(model, prompt(text, subject))
    decode = model.tokenizer.decode
    assert decode([*row.before, *row.after]) == f"<bos>{text}"
    up_to_fact = str(decode([*row.before, row.after[0]]))
    assert up_to_fact.endswith(subject)
    assert not str(decode(row.before)).endswith(subject)


def test_a_prefix_moves_the_fact_and_not_the_target(model: CausalModel) -> None:
    asked = prompt("The capital of Japan is", "Japan")
    plain, prefixed = tokenised(model, asked, "Kyoto."), tokenised(model, asked, "Kyoto.", "Because it rains. ")
    decode = model.tokenizer.decode
    assert decode([*prefixed.before, *prefixed.after]) == "<bos>Because it rains. The capital of Japan is"
    assert prefixed.after == plain.after
    assert prefixed.targets == plain.targets
    assert decode(plain.targets) == " Kyoto."
    assert plain.inputs == [*plain.after, *plain.targets[:-1]]


def test_a_token_that_reaches_across_the_subjects_end_is_the_fact_position() -> None:
    """Here " capital of" is one token: the subject "capital" ends inside it."""
    model = exact_model()
    model.tokenizer = byte_level_bpe(across_words=True)
    row = tokenised(model, prompt("The capital of France is", "capital"))
    assert model.tokenizer.decode([*row.before, *row.after]) == "<bos>The capital of France is"
    before, covered = (
        str(model.tokenizer.decode(ids, skip_special_tokens=True)) for ids in (row.before, [*row.before, row.after[0]])
    )
    assert len(covered) >= len("The capital") > len(before)


def test_an_empty_subject_is_refused(model: CausalModel) -> None:
    with pytest.raises(UserError, match="subject '' was not found in the tokens of 'The capital of is'; is it empty"):
        tokenised(model, Prompt("The capital of is", (15, 15)))


def test_requests_see_only_what_comes_before_the_end_of_the_subject() -> None:
    first = Request(prompt("The capital of France is", "France"), "Paris", "France", ("capital",))
    second = Request(prompt("The capital of France was", "France"), "Lyon", "France", ("capital",))
    assert first.key_text == second.key_text == "The capital of France"


def test_padding_by_hand() -> None:
    """Both facts (20 and 30) stand in the first column of `after`; the last target (22) is never read."""
    rows = [Row([0], [20], [21, 22]), Row([0, 5, 6], [30, 31])]
    batch = padded(rows, 9, torch.device("cpu"))
    assert batch.before.tolist() == [[9, 9, 0], [0, 5, 6]]
    assert batch.after.tolist() == [[20, 21], [30, 31]]
    assert batch.mask.tolist() == [[0, 0, 1, 1, 1], [1, 1, 1, 1, 1]]
    assert batch.positions.tolist() == [[0, 0, 0, 1, 2], [0, 1, 2, 3, 4]]
    assert batch.split == 3


def test_other_wordings_ask_before_the_subject_and_are_never_measured() -> None:
    words = relations()
    request = Request(words.edit_prompt(["country", "currency"], "Lyon"), "euro", "Lyon", ("country", "currency"))
    found = other_wordings(words, request, 4)
    assert found == other_wordings(words, request, 4)
    assert len({prompt.text for prompt in found} | {request.prompt.text}) == 5
    assert all(prompt.subject == "Lyon" and prompt.subject_span[0] > 0 for prompt in found)
    kinds: tuple[Kind, ...] = ("statement", "question")
    held_out = {p.text for kind in kinds for p in words.chain_prompts(request.path, "Lyon", "measure", kind)}
    assert held_out.isdisjoint(prompt.text for prompt in found)
    assert other_wordings(words, request, 0) == []
