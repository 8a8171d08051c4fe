"""What is asked: in words never taught or written, about the right facts."""

import random
from collections.abc import Sequence
from itertools import product
from typing import Any

import pytest

from tests.tiny import FACTS, change, graph, relations
from upright.editing.config import ContextConfig, MeasureConfig
from upright.editing.context import Expansion
from upright.editing.probes import Probe, ProbeMaker, edit_prompt
from upright.knowledge.changes import FactChange
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import KINDS, Relations

EURO = change("France", "currency", "euro")
LYON = change("Germany", "capital", "Lyon")


def maker(changes: Sequence[FactChange], words: Relations | None = None, **config: Any) -> ProbeMaker:
    found = words or relations()
    return ProbeMaker(graph(), Overlay(graph(), changes, found), found, changes, MeasureConfig(**config))


def probes(changes: Sequence[FactChange], seed: int = 0, **config: Any) -> list[Probe]:
    return maker(changes, **config).all(random.Random(seed))


def of(found: Sequence[Probe], measure: str) -> list[Probe]:
    return [probe for probe in found if probe.measure == measure]


def test_no_measured_wording_is_ever_taught_or_written() -> None:
    """Over every entity, relation, chain and kind of the world, not only over what one seed draws."""
    words = relations()
    heads = sorted({head for head, _, _ in FACTS})
    chains = [*((name,) for name in words.names), *words.chains]
    texts: dict[str, set[str]] = {"teach": set(), "measure": set()}
    for split, head, chain, kind in product(("teach", "measure"), heads, chains, KINDS):
        texts[split] |= {p.text for p in words.chain_prompts(chain, head, split, kind)}  # type: ignore[arg-type]
        if len(chain) == 1:
            texts[split] |= {p.text for p in words.fact_prompts(chain[0], head, split, kind)}  # type: ignore[arg-type]
    written = {words.edit_prompt(chain, head).text for chain in chains for head in heads}
    assert written <= texts["teach"]
    assert texts["measure"].isdisjoint(texts["teach"])
    for seed in range(20):
        asked = {p.prompt for p in probes([EURO, LYON], seed) if p.measure in ("paraphrase", "untouched", "multi-hop")}
        assert asked <= texts["measure"]


def test_no_question_was_written_as_context() -> None:
    changes = [EURO, LYON]
    overlay = Overlay(graph(), changes, relations())
    config = ContextConfig(hops=3)
    written = {r.prompt.text for r in Expansion(graph(), overlay, relations(), config).contexts(changes).requests}
    assert len(written) >= 5
    assert written.isdisjoint(probe.prompt for probe in of(probes(changes), "multi-hop"))


def test_efficacy_repeats_the_written_sentence() -> None:
    (probe,) = of(probes([EURO]), "efficacy")
    assert (probe.prompt, probe.answer, probe.before, probe.rival) == (
        "The currency of France is", "euro", "franc", "franc",
    )  # fmt: skip


def test_a_change_may_bring_its_own_sentence() -> None:
    own = EURO.model_copy(update={"meta": {"prompt": "In {} one pays by"}})
    found = edit_prompt(relations(), own, "France")
    assert (found.text, found.subject) == ("In France one pays by", "France")
    for broken in ("no slot", "{} and {}", 7):
        change_ = EURO.model_copy(update={"meta": {"prompt": broken}})
        assert edit_prompt(relations(), change_, "France").text == "The currency of France is"


def test_a_fact_that_was_unknown_has_the_old_object_it_came_with() -> None:
    madrid = change("Spain", "capital", "Lyon").model_copy(update={"was": "Madrid"})
    (probe,) = of(probes([madrid]), "efficacy")
    assert probe.before == "Madrid"


def test_neighbours_are_unchanged_facts_of_the_same_relation() -> None:
    """Germany changes as well, so Spain is the only neighbour; its answer must beat the new object."""
    found = of(probes([EURO, change("Germany", "currency", "peseta")], neighbours=5), "specificity")
    assert {(p.prompt, p.answer, p.before) for p in found} == {("The currency of Spain is", "peseta", None)}
    rivals = {p.rival for p in found}
    assert rivals == {"euro", None}  # the second change's new object is what Spain rightly has


def test_neighbours_share_the_old_object_where_any_do() -> None:
    """Lyon leaves France, which Paris shares: with one neighbour asked, that is the one."""
    for seed in range(5):
        found = of(probes([change("Lyon", "country", "Spain")], seed, neighbours=1), "specificity")
        assert [(p.prompt, p.answer) for p in found] == [("The country of Paris is", "France")]


def test_a_neighbour_is_asked_once() -> None:
    found = of(probes([change("Lyon", "country", "Spain")], neighbours=5), "specificity")
    assert len({p.prompt for p in found}) == len(found) == 2


@pytest.mark.parametrize("seed", range(5))
def test_untouched_facts_are_untouched(seed: int) -> None:
    """Neither the asked facts nor what follows from them, added or removed."""
    found = of(probes([EURO, LYON], seed), "untouched")
    # France's currency, Germany's capital, Lyon's country: three of twelve facts
    assert len(found) == 9
    gone = {("France", "currency"), ("Germany", "capital"), ("Lyon", "country")}
    assert sorted(p.answer for p in found) == sorted(t for h, r, t in FACTS if (h, r) not in gone)
    assert all(p.rival is None for p in found)


def test_multi_hop_questions_by_hand() -> None:
    """Chains taught: currency-code, country-currency, country-currency-code, each through France's currency."""
    found = of(probes([EURO]), "multi-hop")
    assert sorted((p.split, head(p), p.before, p.answer, p.rival) for p in found) == [
        ("2-hop backward", "Lyon", "franc", "euro", "franc"),
        ("2-hop backward", "Paris", "franc", "euro", "franc"),
        ("2-hop forward", "France", "FRF", "EUR", "FRF"),
        ("3-hop middle", "Lyon", "FRF", "EUR", "FRF"),
        ("3-hop middle", "Paris", "FRF", "EUR", "FRF"),
    ]


def head(probe: Probe) -> str:
    (found,) = {name for name, _, _ in FACTS if name in probe.prompt}
    return found


def test_questions_whose_chain_was_written_are_marked() -> None:
    words = relations()
    written = {("Lyon", ("country", "currency"))}
    asked = ProbeMaker(graph(), Overlay(graph(), [EURO], words), words, [EURO], MeasureConfig(), written)
    found = [(head(p), p.split) for p in asked.multi_hop(random.Random(0)) if p.written]
    assert found == [("Lyon", "2-hop backward")]


def test_hops_and_numbers_are_bounded() -> None:
    assert {p.split[:5] for p in of(probes([EURO], hops=2), "multi-hop")} == {"2-hop"}
    assert len(of(probes([EURO], chains=2), "multi-hop")) == 2
    assert len(of(probes([EURO, LYON], facts=1), "efficacy")) == 1
    assert len(of(probes([EURO], untouched=4), "untouched")) == 4


def test_without_a_list_of_chains_all_pairs_the_graph_supports_are_asked() -> None:
    plain = Relations.parse({"relations": {name: dump(name) for name in relations().names}})
    asked = list(maker([EURO], plain).multi_hop(random.Random(0)))
    assert sorted((head(p), p.answer) for p in asked) == [("France", "EUR"), ("Lyon", "euro"), ("Paris", "euro")]


def dump(name: str) -> dict[str, object]:
    return relations()[name].model_dump(exclude={"name"})


def test_the_same_seed_asks_the_same() -> None:
    assert probes([EURO, LYON], seed=3) == probes([EURO, LYON], seed=3)
    assert probes([EURO, LYON], seed=3) != probes([EURO, LYON], seed=4)
