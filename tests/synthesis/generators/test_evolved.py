"""Private evolution in a run: the budget, a kill between two rounds, vectors of any text, variations by a server."""

import json
import math
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.chat.server import Server
from tests.synthesis.generators.test_tuned import task
from tests.synthesis.places import settings
from tests.tiny import world_model, world_tokenizer
from upright.errors import UserError
from upright.models.chat import Spent
from upright.models.embed import Embedder
from upright.synthesis import run
from upright.synthesis.corpus import Code
from upright.synthesis.generators import evolved
from upright.synthesis.sampling import Draft, seed_of

UTILITY = {"utility": True, "coreference": False, "closeness": False, "leakage": False, "canaries": 4, "resamples": 20}
SHORT = {"rounds": 3, "variations": 2, "votes": 2}
SECURE = {"chance": "secure"}


def test_a_run_earns_its_budget(tmp_path: Path) -> None:
    config = settings(
        tmp_path, generator="evolution", control="train", evaluation=UTILITY, tune=SECURE, evolution=SHORT
    )
    found = run(config)
    statement = json.loads((found.out / "certificate.json").read_text())
    assert 3.5 < statement["epsilon"] <= 4
    assert statement["queries"] == {"counts": 1, "votes": 3}
    assert statement["clip"] == pytest.approx(math.sqrt(2))
    assert statement["covers_the_records"]
    assert len(found.records) > 6
    assert ("kind: macro-F1", "control") in {(metric.name, metric.split) for metric in found.metrics}
    assert not [name for name in ("work", "private") if (found.out / name).exists()]


@pytest.mark.parametrize("control", [False, True])
def test_a_killed_run_asks_and_writes_nothing_twice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, control: bool
) -> None:
    """Secure noise is never the same twice, so equal votes were not asked anew."""
    config = settings(tmp_path, tune=SECURE, evolution=SHORT, epsilon=math.inf if control else 4.0)
    given = task(config, tmp_path, control=control, given=[("money",), ("town",)] * 3 if control else None)
    made: list[int] = []
    real = evolved._varier

    def counting(*of: Any) -> Any:
        vary = real(*of)

        def varied(drafts: Sequence[Draft], codes: Sequence[Code], seeds: Sequence[int]) -> Sequence[Draft]:
            made.append(len(drafts))
            if len(made) == 2:
                raise KeyboardInterrupt
            found: Sequence[Draft] = vary(drafts, codes, seeds)
            return found

        return varied

    monkeypatch.setattr(evolved, "_varier", counting)
    with pytest.raises(KeyboardInterrupt):
        evolved.fit(given)
    first = torch.load(given.state, weights_only=True)["answers"]["votes"]
    assert len(first) == 2
    monkeypatch.setattr(evolved, "_writer", lambda *_: pytest.fail)
    found = evolved.fit(given)
    again = torch.load(given.state, weights_only=True)["answers"]["votes"]
    assert (len(made), len(again)) == (3, 3)
    assert found.certificate is not None
    assert found.certificate.queries == ({} if control else {"counts": 1}) | {"votes": 3}
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=False))


def test_a_killed_run_goes_on_to_the_same_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    more: dict[str, Any] = {"generator": "evolution", "evolution": SHORT}
    unbroken = run(settings(tmp_path, "a", **more))

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(evolved, "_varier", lambda *_: stop)
        with pytest.raises(KeyboardInterrupt):
            run(settings(tmp_path, "b", **more))
    assert (tmp_path / "b" / "steps" / "candidates-0.json").exists()
    with monkeypatch.context() as patch:
        patch.setattr(evolved, "_writer", lambda *_: stop)  # the first candidates are not written again
        again = run(settings(tmp_path, "b", **more))
    assert again.records == unbroken.records
    assert again.certificate == unbroken.certificate
    assert again.metrics == unbroken.metrics


def test_candidates_below_the_threshold_count_nothing(tmp_path: Path) -> None:
    """60 units with two votes each: no candidate has more than 500."""
    high = settings(tmp_path, epsilon=math.inf, evolution={**SHORT, "threshold": 500})
    low = settings(tmp_path, epsilon=math.inf, evolution=SHORT)
    none, some = evolved.fit(task(high, tmp_path / "a")), evolved.fit(task(low, tmp_path / "b"))
    assert none.population.rounds[-1].above == 0
    assert some.population.rounds[-1].above > 0
    assert "had more than 500 votes (evolution.threshold)" in none.limits[0]


def test_each_evolved_text_is_written_once_and_by_its_seed(tmp_path: Path) -> None:
    given = task(settings(tmp_path, evolution=SHORT), tmp_path)
    found = evolved.fit(given)
    wanted = given.wanted(found.shares)
    seeds = [seed_of(given.seed_for("writing"), place, 0) for place in range(len(wanted))]
    texts = found.write(wanted, seeds)
    evolved_ones = [text for own in found.population.texts.values() for text in own]
    assert sorted(found.population.own.values()) == sorted(evolved_ones)
    assert not set(evolved_ones) - set(texts)
    assert [found.write([code], [seed])[0] for code, seed in zip(wanted, seeds, strict=True)] == texts
    assert found.write(wanted, seeds[::-1]) != texts


def test_without_noise_what_is_like_the_records_is_voted_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The model writes either words of the records or others; the votes tell which."""
    words = ["The currency of France is franc 7.", "ESP ESP ESP ESP FRF", "DEM DEM EUR EUR"]
    pool = [Draft(text, True) for text in words]
    monkeypatch.setattr(evolved, "_writer", lambda *_: lambda codes, seeds: [pool[seed % 3] for seed in seeds])
    monkeypatch.setattr(evolved, "_varier", lambda *_: lambda texts, codes, seeds: [pool[s % 3] for s in seeds])
    config = settings(tmp_path, epsilon=math.inf, evolution={"rounds": 2, "variations": 4})
    found = evolved.fit(task(config, tmp_path, control=True, given=[("money",)] * 4))
    assert set(found.population.texts[("money",)]) == {pool[0]}


def test_vectors_are_those_of_the_embedder_and_longer_texts_are_cut(tmp_path: Path) -> None:
    settings(tmp_path)
    spec = str(tmp_path / "model")
    plain = Embedder(spec, "cpu", 2)
    vectors = evolved.Vectors(plain)
    texts = ["The capital of France is Paris.", "franc", "The code of euro is EUR."]
    torch.testing.assert_close(vectors.of(texts), torch.tensor(plain(texts)))
    long = "franc " * 300
    assert len(world_tokenizer()(long)["input_ids"]) > plain.longest == 256
    found = vectors.of([long, "", " \n"])
    torch.testing.assert_close(found[:1], plain.beginnings([long]).vectors)
    assert found[1:].tolist() == [[evolved.FAR] * 32] * 2
    assert (vectors.cut, vectors.embedded) == (1, 6)
    assert torch.cdist(vectors.of(texts), found).argmin(1).tolist() == [0, 0, 0]


def test_texts_are_cut_at_tokens() -> None:
    tokenizer, text = world_tokenizer(), "The capital of France is Paris."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    whole = [Draft(text, True), Draft("", True)]
    assert evolved.beginnings(tokenizer, whole, len(ids)) == whole
    for most in range(len(ids)):
        assert evolved.beginnings(tokenizer, whole[:1], most) == [(tokenizer.decode(ids[:most]), False)]
    assert evolved.beginnings(tokenizer, [], 3) == []


@pytest.mark.parametrize("tokens", [16, 120, 200])
def test_variations_leave_room_for_what_is_written(tmp_path: Path, tokens: int) -> None:
    """A model of 256 tokens that writes 200 reads less of a text than it may have, and never more than fits."""
    given = task(settings(tmp_path, sampling={"tokens": tokens}), tmp_path)
    model = world_model()
    vary = evolved._rewriter(model, given)
    room = evolved.room_for(model, given)
    assert 0 < room <= tokens
    long = Draft("France is Paris. " * 60, True)
    texts = [draft.text for draft in vary([long] * 4, [("money",), ("town",)] * 2, [1, 2, 3, 4])]
    lengths = [len(row) for row in model.tokenizer(texts)["input_ids"]]
    assert max(lengths) <= tokens + evolved.SLACK
    assert len(set(texts)) == 4


def test_a_server_writes_the_variations(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    with Server(reply=lambda body, _: f"<text>The currency of Spain is peseta {body['seed']}.</text>") as server:
        chat = {"model": "openai:echo", "base_url": server.url, "speed": {"cache": tmp_path / "chat"}}
        config = settings(tmp_path, chat=chat, evolution={"rounds": 2, "variations": 3})
        bill: list[Spent] = []
        found = evolved.fit(task(config, tmp_path, spend=bill.append))
        asked = [body["messages"][-1]["content"] for body in server.requests]
    assert sum(spent.calls for spent in bill) == len(asked) > 0
    assert sum(spent.completion for spent in bill) > 0
    assert all("(kind: money)" in prompt or "(kind: town)" in prompt for prompt in asked)
    assert not re.search(r"(franc|Paris) \d", "".join(asked))  # what the model here wrote is varied, never a record
    assert any("peseta" in draft.text for own in found.population.texts.values() for draft in own)


def test_mistakes_end_before_anything_is_asked(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"sampling.tokens=300"):
        run(settings(tmp_path, generator="evolution", sampling={"tokens": 300}))
    assert not (tmp_path / "run").exists()
