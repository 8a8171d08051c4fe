import numpy as np
import pytest

from tests.synthesis.evaluation.leaky import arms, people
from upright.run.evidence import Metric
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, Arms, Part
from upright.synthesis.evaluation.personal import LIFT, Held, entities, lift, personal_part


def corpus(*texts: str, units: tuple[str, ...] = ()) -> Corpus:
    return Corpus(("who",), texts, [("Ward Nine",)] * len(texts), units)


def metric(part: Part, name: str, split: str = SYNTHETIC) -> Metric:
    (found,) = [m for m in part.metrics if (m.name, m.split) == (name, split)]
    return found


def test_entities_are_names_and_patterns_that_do_not_overlap() -> None:
    text = "Seen with Ann Lee on March 3, 2021 in Ward Nine, write to Ann.Lee@mail.org."
    found = entities(text, frozenset({"wardnine"}))
    assert [(f.kind, f.value) for f in found] == [
        ("name", "Ann Lee"),
        ("date", "March 3, 2021"),
        ("e-mail", "Ann.Lee@mail.org"),
    ]


def test_rates_by_hand() -> None:
    """Train holds Ann Lee, Bo Day and both sides hold Cy Roe; held-out alone Di Fox. Written: Ann Lee, Cy Roe, Ed Poe.

    Of train's three, two were written; of its own two, one; of held-out's own one, none.
    Lift with halves added: (1.5 / 2.5) / (0.5 / 1.5) = 1.8 were anything known of the held-out side's size.
    """
    train = corpus("we met Ann  Lee and Bo Day", "we met Cy Roe in Ward Nine")
    heldout = corpus("we met Cy Roe", "we met Di Fox")
    written = corpus("then ANN left, and Ann Lee too", "so Cy Roe saw Ed Poe in Ward Nine", "none")
    part = personal_part(Arms(train, heldout, corpus("x"), written, None, ("who",), ()))
    assert metric(part, "entities of a record").value == pytest.approx(3 / 3)
    assert metric(part, "entities of a record that train records hold").value == pytest.approx(2 / 3)
    assert metric(part, "entities of train records that were written").value == pytest.approx(2 / 3)
    assert metric(part, "entities of train records alone that were written").value == 0.5
    assert metric(part, "entities of held-out records alone that were written").value == 0.0
    assert metric(part, LIFT).value == pytest.approx(1.8)
    assert metric(part, "entities of a record that train records hold", HELDOUT).value == 0.5


def test_phrases_by_hand() -> None:
    """Of the entities, "met Ann Lee and" stands in train; one word further "but we" does not."""
    train, heldout = corpus("yes we met Ann Lee and left"), corpus("we saw him there")
    written = corpus("but we met Ann Lee, and left", "see Al Roe")
    part = personal_part(Arms(train, heldout, corpus("x"), written, None, (), ()))
    found = [metric(part, f"entities ± {w} words that train records hold") for w in (1, 2, 3, 4)]
    assert [(m.value, m.n) for m in found] == [(1.0, 1), (1.0, 1), (None, 0), (None, 0)]
    assert metric(part, "entities ± 1 words that held-out records hold").value == 0.0


def test_an_entity_of_one_unit_is_one_however_often_it_stands_there() -> None:
    train = corpus("saw Ann Lee", "saw Ann Lee", "saw Bo Day", "saw Bo Day", units=("p", "p", "q", "r"))
    heldout = corpus("saw Cy Roe", "saw Di Fox", "saw Ed Poe", "saw Al Ray", units=("s", "t", "u", "v"))
    part = personal_part(Arms(train, heldout, corpus("x"), corpus("saw Ann Lee"), None, (), ()))
    assert metric(part, f"{LIFT}, entities of one unit").n == 1 + 4


def test_made_up_names_are_no_leak_and_copied_ones_are() -> None:
    part = personal_part(arms(people(300, 8), people(300, 0)))
    own, control = metric(part, LIFT), metric(part, LIFT, CONTROL)
    assert own.ci_low is not None
    assert own.ci_high is not None
    assert own.ci_low <= 1 <= own.ci_high
    assert (control.ci_low or 0) > 5
    assert metric(part, "entities of train records that were written", CONTROL).value == 1.0
    assert (metric(part, f"{LIFT}, sex female", CONTROL).ci_low or 0) > 5
    assert not any(entity.value in str(part) for text in people(300, 0).texts for entity in entities(text))


def test_chance_holds_over_many_draws() -> None:
    """Over 20 splits and null generators the interval of the lift misses 1 at most 4 times (P < 1 %)."""
    missed = 0
    for seed in range(20):
        found = metric(personal_part(arms(people(100, 1000 + seed), size=100, seed=seed)), LIFT)
        missed += found.ci_low is not None and not found.ci_low <= 1 <= (found.ci_high or np.inf)
    assert missed <= 5


def test_no_lift_without_anything_written() -> None:
    held = Held(np.zeros(1), np.ones(1))
    found = lift(LIFT, held, held, SYNTHETIC)
    assert (found.value, found.ci_low, found.n) == (None, None, 2)
