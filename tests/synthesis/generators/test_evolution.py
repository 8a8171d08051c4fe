"""Private evolution: the published noise, the sensitivity of votes, and that candidates move to where records are."""

import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from upright.models.causal import load
from upright.models.embed import Embedder
from upright.models.generate import generate
from upright.synthesis.corpus import Code, Corpus
from upright.synthesis.generators.asking import Queries, plan_of
from upright.synthesis.generators.evolution import (
    QUERY,
    Evolution,
    Population,
    best,
    nearest,
    votes,
)
from upright.synthesis.generators.protocol import uniforms
from upright.synthesis.generators.variations import Rewritten
from upright.synthesis.sampling import Draft
from upright.training.private import Plan, Query, Seeded
from upright.training.private.accounting import Mechanism, epsilon

PUBLISHED = {
    1_900_000: (15.34, 8.03, 4.24),
    8_396: (11.60, 6.22, 3.38),
    75_316: (13.26, 7.01, 3.75),
}
"""Noise of Aug-PE for epsilon 1, 2 and 4 in 10 rounds, by the number of private texts."""


@pytest.mark.parametrize("n", PUBLISHED)
def test_the_published_noise_gives_the_published_epsilon(n: int) -> None:
    for noise, wanted in zip(PUBLISHED[n], (1.0, 2.0, 4.0), strict=True):
        found = epsilon(Mechanism(1.0, 0.0, 0, ((noise, 10),)), 1 / (n * math.log(n)))
        assert found == pytest.approx(wanted, rel=4e-3)


def queries(n: int, times: int, k: int = 1, noise: float = 0.0) -> Queries:
    plan = Plan(max(n, 2), 1.0, 0, 1.0, 0.0, 1e-3, (Query(QUERY, noise, times, math.sqrt(k)),))
    return Queries(plan, n, Seeded(torch.Generator().manual_seed(3)))


def test_records_vote_for_the_nearest_of_their_own_code() -> None:
    private = torch.tensor([[0.0, 0.0], [10.0, 0.0], [0.0, 1.0]])
    candidates = torch.tensor([[1.0, 0.0], [9.0, 0.0], [0.1, 0.0], [0.0, 3.0]])
    codes: list[Code] = [("x",), ("x",), ("y",)]
    owns: list[Code] = [("x",), ("x",), ("y",), ("y",)]
    ballot = votes(private, codes, torch.arange(3), 3, candidates, owns, 1).to_dense()
    assert ballot.tolist() == [[1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    two = votes(private, codes, torch.arange(3), 3, candidates, owns, 5).to_dense()
    assert two.tolist() == [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 1, 1]]


def test_a_units_records_share_its_votes() -> None:
    private = torch.tensor([[0.0], [0.1], [5.0], [5.0]])
    ballot = votes(private, [()] * 4, torch.tensor([0, 0, 0, 1]), 2, torch.tensor([[0.0], [5.0]]), [()] * 2, 1)
    assert ballot.to_dense().tolist() == [[pytest.approx(2 / 3), pytest.approx(1 / 3)], [0, 1]]


def test_a_record_of_a_code_without_candidates_votes_for_none() -> None:
    ballot = votes(torch.zeros(1, 2), [("q",)], torch.arange(1), 1, torch.zeros(2, 2), [("x",)] * 2, 1)
    assert ballot.to_dense().tolist() == [[0, 0]]


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 7), st.lists(st.integers(0, 2), min_size=1, max_size=9), st.integers(0, 99))
def test_a_unit_moves_the_votes_by_the_root_of_k_at_most(k: int, c: int, units: list[int], seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    private, candidates = torch.randn(len(units), 2, generator=rng), torch.randn(c, 2, generator=rng)
    codes, owns = ([(str(i % 2),) for i in range(n)] for n in (len(units), c))
    ballot = votes(private, codes, torch.tensor(units), 3, candidates, owns, k).to_dense()
    assert (ballot.norm(dim=1) <= math.sqrt(k) + 1e-9).all()
    assert (ballot.sum(1) <= k + 1e-9).all()
    asked = queries(3, 2, k)
    with_unit, without = asked.ask(QUERY, ballot), asked.ask(QUERY, torch.cat([ballot[:1] * 0, ballot[1:]]))
    assert float((with_unit - without).norm()) <= math.sqrt(k) + 1e-9


def test_nearest_in_parts_is_nearest_by_brute_force(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = torch.Generator().manual_seed(0)
    own, others = torch.randn(50, 5, generator=rng), torch.randn(30, 5, generator=rng)
    monkeypatch.setattr("upright.synthesis.generators.evolution.CHUNK", 64)
    wanted = torch.cdist(own, others).topk(3, largest=False).indices
    assert torch.equal(nearest(own, others, 3), wanted)


def test_the_best_of_each_code_stay() -> None:
    owns: list[Code] = [("x",), ("y",), ("x",), ("y",), ("x",)]
    assert best(torch.tensor([1.0, 5.0, 3.0, 0.0, 3.0]), owns, [("x",), ("y",), ("x",)]) == [2, 4, 1]


def test_candidates_without_votes_go_unless_all_are_without() -> None:
    x, y = Code(("x",)), Code(("y",))
    assert best(torch.tensor([0.0, 2.0, 0.0, 0.0, 0.0, 0.0]), [x, x, x, y, y, y], [x, x, y, y]) == [1, 3, 4]


# --- points as texts: a candidate is "x y", its embedding the point ---


def point(text: str) -> list[float]:
    return [float(word) for word in text.split()]


def embed(texts: Sequence[str]) -> list[list[float]]:
    return [point(text) for text in texts]


def write(codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
    drawn = [np.random.default_rng(seed).normal(0, 3, 2) for seed in seeds]
    return [Draft(f"{x:.4f} {y:.4f}", True) for x, y in drawn]


def vary(drafts: Sequence[Draft], codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
    steps = [np.random.default_rng(seed).normal(0, 0.6, 2) for seed in seeds]
    moved = [np.add(point(draft.text), step) for draft, step in zip(drafts, steps, strict=True)]
    return [Draft(f"{x:.4f} {y:.4f}", False) for x, y in moved]


def around(centres: dict[str, tuple[float, float]], n: int) -> Corpus:
    rng, codes = np.random.default_rng(1), [code for code in centres for _ in range(n)]
    texts = [" ".join(map(str, np.add(centres[code], rng.normal(0, 0.3, 2)))) for code in codes]
    return Corpus(("label",), texts, [(code,) for code in codes])


def distance(population: Population, code: str, centre: tuple[float, float]) -> float:
    return float(np.mean([math.dist(point(draft.text), centre) for draft in population.texts[(code,)]]))


def test_candidates_move_to_where_the_records_of_their_code_are() -> None:
    centres = {"x": (6.0, 6.0), "y": (-6.0, 2.0)}
    records, wanted = around(centres, 400), [("x",), ("y",)] * 15
    plan = plan_of(4.0, records=800, delta=1e-4, name=QUERY, times=8)
    asked = Queries(plan, 800, Seeded(torch.Generator().manual_seed(0)))
    threshold = 2 * asked.deviation(QUERY)
    method = Evolution(write, vary, embed, rounds=8, variations=5, threshold=threshold, seed=2)
    found = method.fit(records, wanted, asked)
    assert asked.epsilon <= 4.0
    assert all(1 < len(texts) <= 15 for texts in found.texts.values())
    for code, centre in centres.items():
        assert distance(found, code, centre) < 1.0  # candidates begin 8.5 and 6.3 away
    assert [each.candidates for each in found.rounds] == [150] * 8
    assert found.rounds[-1].votes > 100


def test_under_noise_that_drowns_the_votes_nothing_is_learnt() -> None:
    centre = (30.0, 30.0)
    method = Evolution(write, vary, embed, rounds=4, variations=3)
    found = method.fit(around({"x": centre}, 50), [("x",)] * 20, queries(50, 4, noise=1e6))
    assert distance(found, "x", centre) > 25


def test_equal_seeds_evolve_equally_and_what_was_written_is_kept() -> None:
    stored: dict[str, list[Draft]] = {}

    def keep(name: str, compute: Callable[[], list[Draft]]) -> list[Draft]:
        if name not in stored:
            stored[name] = compute()
        return stored[name]

    records, wanted = around({"x": (3.0, 0.0)}, 30), [("x",)] * 5
    plain = Evolution(write, vary, embed, rounds=3).fit(records, wanted, queries(30, 3, noise=0.5))
    kept = Evolution(write, vary, embed, rounds=3, keep=keep)
    assert kept.fit(records, wanted, queries(30, 3, noise=0.5)).texts == plain.texts
    assert sorted(stored) == ["candidates-0", "candidates-1", "candidates-2"]

    def never(*_: object) -> list[Draft]:
        raise AssertionError("written again")

    again = Evolution(never, never, embed, rounds=3, keep=keep)
    assert again.fit(records, wanted, queries(30, 3, noise=0.5)).texts == plain.texts


def test_the_votes_must_be_planned_with_their_sensitivity() -> None:
    with pytest.raises(ValueError, match="root of 4"):
        Evolution(write, vary, embed, votes=4).fit(around({"x": (0.0, 0.0)}, 2), [("x",)], queries(2, 5, k=1))


def test_each_evolved_text_is_given_once_and_then_varied() -> None:
    def louder(drafts: Sequence[Draft], codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        return [Draft(f"{draft.text}!{seed}", False) for draft, seed in zip(drafts, seeds, strict=True)]

    codes: list[Code] = [("x",), ("y",), ("x",)]
    best, second, other = (Draft(text, True) for text in ("best", "second", "other"))
    evolved = Population({("x",): [best, second], ("y",): [other]}, louder, [])
    given = evolved.given_to(codes, [11, 12, 13])
    assert given.write(codes, [11, 12, 13]) == [best, other, second]
    assert given.write([("y",), ("x",)], [77, 13]) == [("other!77", False), second]
    with pytest.raises(ValueError, match="nothing evolved"):
        given.write([("z",)], [1])


def test_a_model_here_evolves_towards_records_of_one_kind() -> None:
    """Records about capitals: from openings of any kind, what stays speaks of capitals."""
    model, embedder = load("lab:atlas", "cpu"), Embedder("lab:atlas", "cpu")
    places = ["France", "Peru", "Japan", "Chile", "Kenya", "Norway", "Egypt", "Spain"]
    records = Corpus((), [f"The capital of {place} is a large city." for place in places * 10], [()] * 80)
    openings = ["The capital of", "One day the", "The currency of", "She went to", "The river"]

    def go_on(prompts: Sequence[str], seeds: Sequence[int]) -> list[Draft]:
        draws = torch.from_numpy(uniforms(seeds, 8))
        texts = generate(model, prompts, 8, temperature=1.0, top_p=0.9, draws=draws)
        return [Draft(text, text.ended) for text in texts]

    def begin(codes: Sequence[Code], seeds: Sequence[int]) -> list[Draft]:
        heads = [openings[seed % len(openings)] for seed in seeds]
        return [Draft(head + tail.text, tail.ended) for head, tail in zip(heads, go_on(heads, seeds), strict=True)]

    vary = Rewritten(go_on, lambda code: "\n", keep=0.6)
    asked = Queries(plan_of(8.0, records=80, delta=1e-3, name=QUERY, times=2), 80, queries(80, 1)._randomness)
    method = Evolution(begin, vary, embedder, rounds=2, variations=3, threshold=asked.deviation(QUERY))
    found = method.fit(records, [()] * 8, asked)
    began = method.write([()] * 24, method._seeds(24, 0))
    assert share(found.texts[()], "capital") > share(began, "capital")


def share(drafts: Sequence[Draft], word: str) -> float:
    return sum(word in draft.text for draft in drafts) / len(drafts)
