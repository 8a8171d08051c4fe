"""The noised n-gram model: its tables by hand, its sensitivity, and what it writes."""

import math
from collections import Counter
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.errors import UserError
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.generators import ngrams
from upright.synthesis.generators.asking import Queries, plan_of
from upright.synthesis.generators.ngrams import QUERY, NgramModel
from upright.synthesis.generators.protocol import uniforms
from upright.training.private import Plan, Query, Seeded

WORDS = ["a", "b", "c"]
CODES: list[Code] = [("x",), ("y",)]


class Noted(Queries):
    """Queries that keep what was contributed and the sums before the noise."""

    def __init__(self, units: int, order: int, noise: float = 0.0) -> None:
        plan = Plan(max(units, 2), 1.0, 0, 1.0, 0.0, 1e-3, (Query(QUERY, noise, order),))
        super().__init__(plan, units, Seeded(torch.Generator().manual_seed(1)))
        self.given: list[torch.Tensor] = []

    def ask(self, name: str, contributions: torch.Tensor) -> torch.Tensor:
        self.given.append(contributions.to_dense())
        return super().ask(name, contributions)


def corpus(texts: Sequence[str], codes: Sequence[str], units: Sequence[str] = ()) -> Corpus:
    return Corpus(("label",), texts, [(code,) for code in codes], units)


def fit(records: Corpus, order: int = 2, per_record: int = 100, noise: float = 0.0) -> tuple[NgramModel, Noted]:
    units = len(set(records.units)) or len(records)
    queries = Noted(units, order, noise)
    model = NgramModel.fit(records, CODES, WORDS, queries, np.random.default_rng(0), order, per_record)
    return model, queries


def texts(model: NgramModel, code: str, count: int, words: int) -> list[str]:
    return [draft.text for draft in model.write([(code,)] * count, uniforms(range(count), words))]


def test_no_more_n_grams_are_drawn_than_told_and_different_ones_make_norm_1() -> None:
    _, queries = fit(corpus(["A b", "b zebra c"], ["x", "y"]), order=1, per_record=2)
    (table,) = queries.given
    assert table.norm(dim=1).tolist() == pytest.approx([1.0, 1.0])
    assert (table > 0).sum(1).tolist() == [4, 4]  # two words, each for the code and for all codes


def test_all_words_are_counted_for_the_code_and_for_all_codes() -> None:
    _, queries = fit(corpus(["a b", "b zebra c"], ["x", "y"]), per_record=50)
    step = 1 / math.sqrt(100)
    first = (queries.given[0] / step).reshape(2, 3, 4)
    assert first[0].tolist() == [[1, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 1]]
    assert first[1].tolist() == [[0, 0, 0, 0], [0, 1, 1, 1], [0, 1, 1, 1]]
    # contexts: x a, x b, x ^, y b, y c, y ^, all a, all b, all c, all ^; "zebra" is not public and breaks its n-grams
    second = (queries.given[1] / step).reshape(2, 10, 4)
    assert {(r, c) for r, c in (second[0] > 0).nonzero().tolist()} == {(0, 1), (1, 3), (2, 0), (6, 1), (7, 3), (9, 0)}
    assert {(r, c) for r, c in (second[1] > 0).nonzero().tolist()} == {(4, 3), (5, 1), (8, 3), (9, 1)}


def test_noiseless_conditionals_are_those_of_counting() -> None:
    """A twin by counters: p(next | code, previous word), where the code has that context."""
    lines = ["a b c a b", "a b a c", "b a b"]
    model, _ = fit(corpus(lines, ["x", "x", "x"]), order=2)
    pairs = Counter[tuple[str, str]]()
    for text in lines:
        line = ["^", *text.split(), "^"]
        pairs.update(pairwise(line))
    after = {w: sum(n for (first, _), n in pairs.items() if first == w) for w in "abc^"}
    draws = (np.arange(20_000) + 0.5)[:, None] / 20_000
    rest = np.random.default_rng(0).random((20_000, 1))
    written = Counter(text for text, _ in model.write([("x",)] * 20_000, np.hstack([draws, rest])))
    for text in ("A b", "B a", "A c"):
        one, two = text.lower().split()
        wanted = pairs["^", one] / after["^"] * pairs[one, two] / after[one]
        assert written[text] / 20_000 == pytest.approx(wanted, abs=0.01)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.text(alphabet="abcz ", max_size=15), min_size=1, max_size=6),
    st.lists(st.text(alphabet="abcz ", max_size=40), min_size=1, max_size=3),
    st.integers(1, 5),
    st.integers(1, 3),
)
def test_a_unit_moves_every_noiseless_table_by_one_at_most(
    others: list[str], own: list[str], per_record: int, order: int
) -> None:
    units = [f"u{i}" for i in range(len(others))] + ["new"] * len(own)
    records = corpus([*others, *own], ["x"] * len(units), units)
    _, queries = fit(records, order, per_record)
    for table in queries.given:
        row = table[-1]
        clipped = row / max(1.0, float(row.norm()))
        total = torch.tensor(Queries(queries.plan, len(table), queries._randomness).ask(QUERY, table).tolist())
        before = torch.tensor(
            Queries(queries.plan, len(table) - 1, queries._randomness).ask(QUERY, table[:-1]).tolist()
        )
        assert float((total - before).norm()) <= 1 + 1e-6
        assert torch.allclose(total - before, clipped.float(), atol=1e-6)
        assert (row > 0).sum() <= 2 * per_record


def test_units_draw_independently_of_each_other() -> None:
    """With one more unit behind, the others draw as before: the draws go along the stream."""
    lines = ["a b c a b c", "c b a c b a"]
    _, two = fit(corpus(lines, ["x", "y"]), order=1, per_record=2)
    _, three = fit(corpus([*lines, "b b b"], ["x", "y", "y"]), order=1, per_record=2)
    assert torch.equal(two.given[0], three.given[0][:2])


def test_the_table_of_a_second_order_holds_only_contexts_that_were_released() -> None:
    """Under noise that drowns everything, the beginnings of texts are the only contexts: these are public."""
    model, queries = fit(corpus(["a b c"] * 5, ["x"] * 5), order=2, noise=1000.0)
    assert len(model.levels[0].contexts) - len(CODES) - 1 <= 1  # an expected half a cell of pure noise survives
    assert queries.given[1].shape[1] == 4 * len(model.levels[0].contexts)
    assert len(set(texts(model, "x", 50, 20))) > 20


def test_it_tells_codes_apart_and_backs_off_to_all_of_them() -> None:
    records = corpus(["a a a", "b b b"] * 50, ["x", "y"] * 50)
    queries = Queries(
        plan_of(4.0, records=100, delta=1e-3, name=QUERY, times=2), 100, Seeded(torch.Generator().manual_seed(0))
    )
    model = NgramModel.fit(records, [*CODES, ("z",)], WORDS, queries, np.random.default_rng(0), 2, 8)
    assert queries.epsilon <= 4.0
    x, y, z = (" ".join(texts(model, code, 40, 30)).lower() for code in "xyz")
    assert Counter(x)["a"] > 10 * Counter(x)["b"]
    assert Counter(y)["b"] > 10 * Counter(y)["a"]
    assert min(Counter(z)["a"], Counter(z)["b"]) > 5  # no record of that code: from all


def test_a_text_depends_on_its_own_seed_and_has_no_more_words_than_draws() -> None:
    model, _ = fit(corpus(["a b c a b", "a b a c", "b a b"], ["x", "y", "x"]), order=3)
    codes: list[Code] = [("x",), ("y",), ("x",)]
    together = model.write(codes, uniforms([7, 8, 9], 4))
    assert together == [
        model.write([code], uniforms([seed], 4))[0] for code, seed in zip(codes, (7, 8, 9), strict=True)
    ]
    assert all(len(text.split()) <= 4 for text, _ in together)


def test_a_text_without_a_draw_for_its_end_did_not_end() -> None:
    """All texts are "a b c": three draws write its words, and the fourth its end."""
    model, _ = fit(corpus(["a b c", "a b c"], ["x", "y"]))
    assert model.write([("x",)] * 2, uniforms([1, 2], 3)) == [("A b c", False)] * 2
    assert model.write([("x",)] * 2, uniforms([1, 2], 4)) == [("A b c", True)] * 2


def test_order_three_follows_two_words() -> None:
    """After "a b" comes c, after "c b" comes a: a model that looks back one word would mix them."""
    records = corpus(["a b c", "c b a"], ["x", "x"])
    three, _ = fit(records, order=3)
    assert set(texts(three, "x", 200, 9)) == {"A b c", "C b a"}
    two, _ = fit(records, order=2)
    assert len(set(texts(two, "x", 200, 9))) > 2


def test_other_codes_and_tables_too_large_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UserError, match=r"code \('q',\): is none of the 2"):
        fit(corpus(["a"], ["q"]))
    monkeypatch.setattr(ngrams, "MOST_CELLS", 11)
    with pytest.raises(UserError, match="at most 11 cells"):
        fit(corpus(["a"], ["x"]))


def test_the_second_table_is_no_larger_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ngrams, "MOST_CELLS", 20)
    model, queries = fit(corpus(["a b c", "c b a"], ["x", "y"]))
    assert [table.shape[1] for table in queries.given] == [12, 20]
    assert len(model.levels[0].contexts) == 5
