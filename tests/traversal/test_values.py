import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upright.models.chat.protocol import Completion, TokenLogprobs, Usage
from upright.traversal.prompts import TENTHS, YES_NO
from upright.traversal.values import DIGITS, Value, expected, parse, read, softmax


def said(text: str, *tokens: tuple[str, dict[str, float]]) -> Completion:
    """An answer whose tokens come with the probabilities of what could stand in their place."""
    logprobs = tuple(
        TokenLogprobs(token, 0.0, tuple((other, math.log(p)) for other, p in top.items())) for token, top in tokens
    )
    return Completion(text, "stop", Usage(0, 0), logprobs or None)


def near(value: float, how: str) -> object:
    return pytest.approx(value), how


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("I compare 0.3 and 0.4. Score: 0.9", 0.9),
        ("Score: 0.2, no: score: 0.7", 0.7),
        ("1", 1.0),
        ("0", 0.0),
        (".9", 0.9),
        ("1.", 1.0),
        ("0.85", 0.85),
        ("0.2 at first, 0.3 now", 0.3),
        ("85 %", 0.85),
        ("Score: **0.4**", 0.4),
        ("Score: 0.6.", 0.6),
        ("7.5", None),
        ("Score: 8", None),
        ("101 %", None),
        ("Score: good", None),
        ("0.9 Score: none", None),
        ("v2 and 3rd", None),
        ("1.2.3", None),
        ("", None),
    ],
)
def test_numbers_in_texts(text: str, value: float | None) -> None:
    assert parse(text) == value


def test_the_mean_over_score_tokens() -> None:
    """p(8) = p(10) = 1/2: (0.8 + 1.0) / 2."""
    half = math.log(0.5)
    assert expected([("8", half), ("10", half)], DIGITS) == pytest.approx(0.9)


def test_the_mean_is_renormalised_over_the_scale() -> None:
    """p(yes) = 0.3, p(no) = 0.1, and the rest on words off the scale: 0.3 / 0.4."""
    top = [(" Yes", math.log(0.3)), ("no", math.log(0.1)), ("maybe", math.log(0.6))]
    assert expected(top, YES_NO) == pytest.approx(0.75)
    assert expected([("maybe", 0.0)], YES_NO) is None
    assert expected([], YES_NO) is None


def test_values_of_choices() -> None:
    assert read(said("yes", ("yes", {"yes": 0.6, "no": 0.2})), YES_NO) == near(0.75, "choices")
    assert read(said("no"), YES_NO) == Value(0.0, "text")
    assert read(said("0.7", ("0.7", {"0.7": 0.5, "0.5": 0.5})), TENTHS) == near(0.6, "choices")


def test_values_of_tokens_refine_the_digit_after_the_point() -> None:
    """The digit is 8 or 6, with equal probability, beside what is no digit."""
    digits = {"8": 0.4, "6": 0.4, "x": 0.2}
    tokens = (" Score", {" Score": 1.0}), (": ", {": ": 1.0}), ("0", {"0": 1.0}), (".", {".": 1.0}), ("8", digits)
    assert read(said(" Score: 0.8", *tokens), None) == near(0.7, "tokens")


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("0.85", [("0", {"0": 1.0}), (".", {".": 1.0}), ("8", {"8": 1.0}), ("5", {"5": 0.5, "0": 0.5})]),
        ("80 %", [("8", {"8": 0.5, "7": 0.5}), ("0", {"0": 1.0}), (" %", {" %": 1.0})]),
        ("1.0", [("1", {"1": 1.0}), (".", {".": 1.0}), ("0", {"0": 1.0})]),
    ],
)
def test_other_numbers_are_taken_as_written(text: str, tokens: list[tuple[str, dict[str, float]]]) -> None:
    assert read(said(text, *tokens), None) == (parse(text), "text")


def test_errors_and_words_have_no_value() -> None:
    assert read(Completion("0.9", "error", Usage(0, 0), error="gone"), None) is None
    assert read(said("good"), YES_NO) is None


@given(st.lists(st.floats(-50, 0), min_size=1, max_size=5))
def test_softmax(logprobs: list[float]) -> None:
    shares = softmax(logprobs)
    assert sum(shares) == pytest.approx(1)
    assert all(
        math.log(share / shares[0]) == pytest.approx(x - logprobs[0], abs=1e-9)
        for share, x in zip(shares, logprobs, strict=True)
        if share > 0 and shares[0] > 0
    )
    assert softmax([x - 1000 for x in logprobs]) == pytest.approx(shares)
