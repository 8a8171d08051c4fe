import json

import numpy as np
import pytest
from scipy.stats import norm

from upright.errors import UserError
from upright.run.measures.epsilon import epsilon_of_mu
from upright.run.measures.roc import auc
from upright.run.measures.spaces import Space
from upright.run.measures.words import Passages, log_likelihood
from upright.synthesis.evaluation import canaries as c
from upright.synthesis.evaluation.audited import AUDITED, CEILING, audited_epsilon, contradiction
from upright.synthesis.evaluation.part import CONTROL, SYNTHETIC, Part

BACKGROUND = ["The patient reports pain in the left knee", "The patient reports a cough since Monday"] * 50


def nlls(texts: list[str], fitted: list[str]) -> np.ndarray:
    """Under a bigram model that was really fitted: the sum over the words of each text."""
    passages = Passages([*fitted, *texts])
    flags = np.arange(passages.texts) < len(fitted)
    return (-log_likelihood(passages, flags) * passages.sizes)[len(fitted) :]


def value(part: Part, name: str, split: str = SYNTHETIC) -> float:
    (found,) = [m for m in part.metrics if (m.name, m.split) == (name, split)]
    assert found.value is not None
    return found.value


def planted(count: int = 200, **more: object) -> c.Canaries:
    return c.make(count, 7, openings=["The patient reports"], **more)  # type: ignore[arg-type]


def test_a_canary_opens_like_a_record_and_ends_at_random() -> None:
    found = c.make(60, 3, codes=[("a",), ("b",)], openings=["One", "Two"])
    space = Space.parse(found.format)
    assert len(set(found.secrets)) == 60
    assert all(space.holds(secret) for secret in found.secrets)
    assert found.texts[1] == f"Two {found.secrets[1]}"
    assert found == c.make(60, 3, codes=[("a",), ("b",)], openings=["One", "Two"])
    assert found.secrets != c.make(60, 4, codes=[("a",), ("b",)], openings=["One", "Two"]).secrets


def test_coins_are_fair_and_independent_of_the_text() -> None:
    included = np.array(c.make(10_000, 1).included)
    assert abs(included.mean() - 0.5) < 4 * 0.5 / 100
    pairs = included[:-1] == included[1:]
    assert abs(pairs.mean() - 0.5) < 4 * 0.5 / 100


def test_only_canaries_that_are_in_are_trained_on_each_a_unit() -> None:
    found = planted(50, repeats=3, codes=[("x",)])
    corpus = found.corpus(["label"])
    inside = [text for text, kept in zip(found.texts, found.included, strict=True) if kept]
    assert len(corpus) == 3 * len(inside)
    assert set(corpus.texts) == set(inside)
    assert len(set(corpus.units)) == len(inside)
    assert corpus.column("label") == ["x"] * len(corpus)


def test_the_record_survives_json() -> None:
    found = planted(20, codes=[("a", "b")])
    assert c.Canaries.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_candidates_are_of_the_same_beginning_and_hold_no_canary() -> None:
    found = c.make(12, 3, codes=[("a",), ("b",), ("c",)], openings=["One"])
    texts, codes = found.scored()
    stems = found.stems()
    assert len(texts) == len(codes) == len(stems) == 12 + 3 * 334  # 1000 over three beginnings
    assert not set(texts[12:]) & set(texts[:12])
    assert [len(set(np.array(codes)[stems == i].ravel())) for i in range(3)] == [1, 1, 1]


def test_exposure_by_hand() -> None:
    """Likelier than all 1,000 candidates: log2 1001 = 9.967. Rank 501 of 1,001: 0.9986."""
    found = c.make(2, 0)
    own = np.array([-1.0, 499.5])
    assert c.exposures(found, [*own, *range(1000)]) == pytest.approx([9.967, 0.9986], abs=5e-4)


def test_beginnings_are_judged_by_themselves() -> None:
    """A shift of all likelihoods of one beginning tells nothing of its canaries."""
    found = c.make(40, 2, codes=[("a",), ("b",)])
    values = np.random.default_rng(0).normal(size=found.stems().size)
    moved = values + 100.0 * found.stems()
    assert c.exposures(found, moved) == pytest.approx(c.exposures(found, values))
    assert c.scores(found, moved) == pytest.approx(c.scores(found, values))


def test_a_model_that_was_fitted_on_them_gives_them_away() -> None:
    found = planted()
    texts, _ = found.scored()
    learnt, clean = nlls(texts, [*BACKGROUND, *found.corpus([]).texts]), nlls(texts, BACKGROUND)
    part = c.exposure_part(found, {SYNTHETIC: learnt, c.BASE: clean}, delta=1e-5, certified=float("inf"))
    assert value(part, "exposure of canaries in") > 9
    assert value(part, "exposure of canaries out") == pytest.approx(1.44, abs=0.4)
    assert value(part, "canaries in told from out, AUC") > 0.99
    # all of the 25 surest guesses each way are right: with half of alpha, p = 0.025^(1/50) and ln(p / (1 - p)) = 2.57
    assert value(part, AUDITED) == pytest.approx(2.57, abs=0.02)
    assert value(part, AUDITED) == value(part, CEILING)
    assert "above chance" in part.text
    assert not any(secret in str(part) for secret in found.secrets)


def test_a_model_that_never_saw_them_is_at_chance() -> None:
    found = planted()
    texts, _ = found.scored()
    clean = nlls(texts, BACKGROUND)
    noise = np.random.default_rng(5).normal(size=clean.size)  # what was learnt from others moves all likelihoods
    part = c.exposure_part(found, {SYNTHETIC: clean + noise, CONTROL: clean}, delta=1e-5, certified=1.0)
    assert "at chance" in part.text
    assert value(part, AUDITED) <= 0.5
    assert any("no power" in line for line in part.limits)


def test_chance_holds_over_many_draws() -> None:
    """200 models that never saw them: the AUC's interval misses 1/2 about 10 times; 19 and more have P < 0.7 %."""
    missed = 0
    for seed in range(200):
        found = c.make(60, seed)
        included = np.array(found.included)
        score = c.scores(found, np.random.default_rng(seed).normal(size=found.stems().size))
        told = auc(score[included], score[~included])
        missed += not (told.ci_low or 0) <= 0.5 <= (told.ci_high or 0)
    assert missed < 19


def test_the_audit_stays_below_what_a_gaussian_mechanism_costs() -> None:
    """Each score is one noised query of sensitivity 1 on that canary alone: mu-GDP with mu = 1 exactly."""
    true = epsilon_of_mu(1.0, 1e-5)
    for seed in range(20):
        found = c.make(400, seed)
        included = np.array(found.included)
        score = included + norm.rvs(size=400, random_state=np.random.default_rng(seed))
        audited, ceiling = audited_epsilon(included, score, 1e-5, seed=seed)
        assert audited.value is not None
        assert ceiling.value is not None
        assert audited.value <= true
        assert audited.value <= ceiling.value


def test_a_refuted_certificate_is_said_plainly() -> None:
    found = planted()
    texts, _ = found.scored()
    learnt = nlls(texts, [*BACKGROUND, *found.corpus([]).texts])
    part = c.exposure_part(found, {SYNTHETIC: learnt}, delta=1e-5, certified=0.5)
    assert part.limits[0].startswith("FAILED: the audit shows epsilon of")
    assert "FAILED" in part.text
    assert contradiction(0.5, 0.5) is None


def test_coins_that_all_fell_alike_say_nothing() -> None:
    found = c.make(1, 0)
    part = c.exposure_part(found, {SYNTHETIC: np.zeros(found.stems().size)})
    assert not part.metrics
    assert "without both sides" in part.text


def test_what_cannot_be_used_is_refused() -> None:
    with pytest.raises(UserError, match="has 1,000 texts, too few"):
        c.make(100, 0, format="{digits:3}")
    found = c.make(4, 0)
    with pytest.raises(ValueError, match="needs 1004 finite ones"):
        c.exposure_part(found, {SYNTHETIC: np.zeros(3)})
