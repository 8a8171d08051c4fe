"""What counts as success, by hand."""

import random
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest

from tests.tiny import world_model
from upright.editing.measure import Answered, Sheet, examples, known_before, metrics, ngram_entropy, observe
from upright.editing.probes import Probe
from upright.models.generate import generate
from upright.models.score import Score, perplexity, score
from upright.run.evidence import Metric


def probe(measure: str = "efficacy", split: str = "rewrite", **more: str | None) -> Probe:
    fields = {"prompt": "The currency of France is", "answer": "euro", "rival": "franc", "before": "franc", **more}
    return Probe(measure, split, aliases=(), **fields)  # type: ignore[arg-type]


def sheet(answered: Sequence[Answered], **more: list[Any]) -> Sheet:
    found = {"nll": [4.0, 2.0], "tokens": [2, 1], "entropies": [100.0, 200.0], "old": [False] * len(answered), **more}
    return Sheet(answered=list(answered), said=["x"] * len(answered), **found)  # type: ignore[arg-type]


def named(found: Sequence[Metric]) -> dict[tuple[str, str], Any]:
    return {(m.name, m.split): (m.value, m.n) for m in found}


def test_likelier_than_the_rival_is_not_yet_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """NLL of the new object 1.2, of the old one 1.3, something else on top: success 1, accuracy 0."""
    nll = {"euro": 1.2, "franc": 1.3}
    monkeypatch.setattr(
        "upright.editing.measure.score",
        lambda model, prompts, targets, rows: [Score(nll[target], nll[target], 1, False) for target in targets],
    )
    seen = observe(world_model(), [probe()], ["France"], ["France"], 4)
    assert seen.answered == [(True, False)]
    found = named(metrics([probe()], seen, seen, "after"))
    assert found["efficacy (likelihood)", "rewrite"] == (1.0, 1)
    assert found["efficacy (exact)", "rewrite"] == (0.0, 1)


@pytest.mark.parametrize(("new", "old", "won"), [(1.0, 2.0, True), (1.5, 1.5, False), (2.0, 1.0, False)])
def test_a_tie_is_a_failure(new: float, old: float, won: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    nll = {"euro": new, "franc": old}
    monkeypatch.setattr(
        "upright.editing.measure.score",
        lambda model, prompts, targets, rows: [Score(nll[target], nll[target], 1, False) for target in targets],
    )
    assert observe(world_model(), [probe()], [], [], 4).answered[0][0] is won


def test_observing_asks_scores_reads_and_listens() -> None:
    """Each number of a sheet against the function it comes from, one probe at a time."""
    model = world_model()
    asked = [probe(), probe(prompt="The capital of Germany is", answer="Lyon", rival=None, before=None)]
    texts, subjects = ["The currency of Spain is peseta.", "Paris"], ["France"]
    seen = observe(model, asked, texts, subjects, rows=3)
    assert seen.said == [generate(model, [p.prompt], 16)[0] for p in asked]
    new, old = score(model, [asked[0].prompt] * 2, ["euro", "franc"])
    assert [won for won, _ in seen.answered] == [new.nll_mean < old.nll_mean, None]
    read = perplexity(model, texts, window=256, stride=128)
    assert seen.nll == pytest.approx(read.per_text)
    assert sum(seen.tokens) == read.tokens
    (talk,) = generate(model, subjects, 60, stop=("\0",))
    assert seen.entropies == [ngram_entropy(talk)]


def test_what_was_known_before_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("upright.editing.measure.generate", lambda model, prompts, **_: [" franc. And"] * len(prompts))
    model, bystander = world_model(), probe("untouched", "facts", answer="franc", rival=None, before=None)
    seen = observe(model, [probe(), bystander], [], [], 4)
    assert [hit for _, hit in seen.answered] == [False, True]
    assert seen.old == [True, False]  # a bystander has no other answer before
    (known,) = known_before([probe(), bystander], seen)
    assert (known.name, known.split, known.stage, known.value, known.n) == (
        "old answer known, efficacy", "rewrite", "before", 1.0, 1,
    )  # fmt: skip


def test_metrics_by_hand() -> None:
    """Multi-hop 1 of 2 forward and 0 of 1 backward make 1 of 3 in all; perplexity exp(6 / 3)."""
    forward, backward = probe("multi-hop", "2-hop forward"), probe("multi-hop", "2-hop backward")
    probes = [replace(forward, written=True), forward, backward, probe("untouched", "facts", rival=None)]
    before = sheet([(False, False)] * 4, old=[True, False, True, False])
    found = metrics(probes, sheet([(True, True), (True, False), (False, False), (None, True)]), before, "after")
    values = named(found)
    assert values["multi-hop (exact)", "chain written"] == (1.0, 1)
    assert values["multi-hop (exact)", "chain not written"] == (0.0, 2)
    assert values["multi-hop (exact)", "old answer known"] == (0.5, 2)
    assert values["multi-hop (exact)", "2-hop forward"] == (0.5, 2)
    assert values["multi-hop (exact)", "2-hop backward"] == (0.0, 1)
    assert values["multi-hop (exact)", "all"] == (pytest.approx(1 / 3), 3)
    assert values["multi-hop (likelihood)", "all"] == (pytest.approx(2 / 3), 3)
    assert values["untouched (exact)", "facts"] == (1.0, 1)
    assert ("untouched (likelihood)", "facts") not in values
    assert values["perplexity", "plain text"] == (pytest.approx(7.389056), 2)
    assert values["fluency", "about subjects"] == (150.0, 2)
    assert {m.stage for m in found} == {"after"}
    assert all(m.ci_low is not None for m in found if m.unit == "proportion")


def test_a_method_has_its_own_split() -> None:
    found = metrics([probe()], sheet([(True, True)]), sheet([(False, False)]), "result", method="after facts")
    assert {m.split for m in found} == {
        "rewrite, after facts",
        "plain text, after facts",
        "about subjects, after facts",
    }


@pytest.mark.parametrize(
    ("text", "value"),
    [
        # "a b a b": bigrams ab ba ab, 0.9183 bits; trigrams aba bab, 1 bit: (2/3 0.9183 + 4/3) / 2 = 0.97277
        ("a b a b", 97.277),
        ("a a a a", 0.0),
        ("", 0.0),
        ("one two", 0.0),
    ],
)
def test_entropy_of_a_text(text: str, value: float) -> None:
    assert ngram_entropy(text) == pytest.approx(value, abs=1e-3)


def test_examples_show_each_measure_at_each_stage() -> None:
    probes = [probe(prompt=f"question {i}") for i in range(9)] + [probe("multi-hop", "2-hop forward")]
    stages = {"before": sheet([(None, True)] * 10), "after": sheet([(None, True)] * 10)}
    rows = examples(probes, stages, random.Random(0), per_measure=2)
    assert [row["measure"] for row in rows] == ["efficacy", "efficacy", "multi-hop"]
    assert set(rows[0]) == {"measure", "prompt", "wanted", "before", "after"}
    assert rows == examples(probes, stages, random.Random(0), per_measure=2)
