"""Whole runs on an untrained model: what they write, that they repeat, and every mistake they refuse."""

import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.tiny import EURO, FACTS, write_changes
from upright import editing
from upright.cli import main
from upright.editing.config import (
    Apply,
    Config,
    ContextConfig,
    Finetune,
    MeasureConfig,
    Memit,
    StatsConfig,
    TargetConfig,
    Undo,
)
from upright.editing.edit import Edit
from upright.editing.runner import apply, undo
from upright.editing.solvers import ClosedForm, FinetuneSession
from upright.errors import UserError
from upright.models.causal import load
from upright.models.score import score

Make = Callable[..., Config]
SOLVERS = [Memit(lambda_=0.1), Finetune(epochs=3, learning_rate=0.01)]


@pytest.fixture
def make(world: Path, base: Path, tmp_path: Path) -> Make:
    """A small configuration; keywords change it."""

    def build(out: str = "run", **more: Any) -> Config:
        fields = {
            "model": str(base),
            "facts": world / "changes.jsonl",
            "kg": [str(world)],
            "out": tmp_path / out,
            "solver": Memit(lambda_=0.1),
            "target": TargetConfig(steps=4, learning_rate=0.5, prefixes=2, prefix_tokens=4),
            "stats": StatsConfig(sequences=40, tokens=24),
            "measure": MeasureConfig(texts=2, facts=0),
            **more,
        }
        return Config(**fields)

    return build


def patch(result: editing.Result) -> bytes:
    return result.patch.read_bytes()


def test_a_run_writes_measures_and_can_be_taken_back(make: Make, base: Path) -> None:
    result = editing.run(make(measure=MeasureConfig(texts=2), context=ContextConfig(hops=3)))
    stages = {(m.name, m.stage) for m in result.metrics}
    for name in ("efficacy", "paraphrase", "specificity", "untouched", "multi-hop"):
        assert {(f"{name} (exact)", "before"), (f"{name} (exact)", "after")} <= stages
    assert (result.out / "report.html").stat().st_size > 1000
    values = {m.name: m.value for m in result.metrics if m.stage == "result" and m.split == "all"}
    assert (values["facts asked"], values["contextual edits"]) == (2, len(result.edit.ledger) - 2)
    assert {m.name for m in result.summary()} >= {"efficacy (exact)", "multi-hop (exact)", "writing time"}
    assert result.model.digest() != load(str(base), "cpu").digest()
    result.edit.undo(result.model)
    assert result.model.digest() == load(str(base), "cpu").digest()


def test_the_ledger_and_the_header_say_what_was_done(make: Make, world: Path) -> None:
    result = editing.run(make(context=ContextConfig(hops=2)))
    rows = [(row["origin"], row["round"], row["prompt"], row["target"], row["old"]) for row in result.edit.ledger]
    assert rows[:2] == [
        ("asked", "facts", "The currency of France is", "euro", "franc"),
        ("asked", "facts", "The currency of Germany is", "euro", "mark"),
    ]
    assert ("contextual", "context", "The code of the currency of France is", "EUR", "FRF") in rows
    assert len(rows) == 2 + 3 + 2  # two towns of France, one of Germany, two codes
    header = Edit.load(result.out).header
    assert header["overlay"]["added"] == [["France", "currency", "euro"], ["Germany", "currency", "euro"]]
    assert header["overlay"]["removed"] == [["France", "currency", "franc"], ["Germany", "currency", "mark"]]
    assert (header["seed"], header["graph"], header["solver"]["type"]) == (0, [str(world)], "memit")


def test_facts_win_likelihood(make: Make, base: Path) -> None:
    result = editing.run(
        make(context=ContextConfig(hops=0), target=TargetConfig(steps=15, learning_rate=0.5, prefixes=0))
    )
    prompts, targets = ["The currency of France is", "The currency of Germany is"], ["euro.", "euro."]
    before, after = (score(model, prompts, targets) for model in (load(str(base), "cpu"), result.model))
    assert all(new.nll_sum < old.nll_sum - 1 for new, old in zip(after, before, strict=True))


@pytest.mark.parametrize("solver", SOLVERS, ids=lambda solver: solver.type)
def test_the_same_seed_gives_the_same_bytes(make: Make, solver: Any) -> None:
    first, second = (editing.run(make(out, solver=solver)) for out in ("one", "two"))
    assert patch(first) == patch(second)
    assert patch(editing.run(make("three", solver=solver, seed=1))) != patch(first)


def test_the_order_of_facts_in_a_batch_is_round_off(make: Make, tmp_path: Path) -> None:
    turned = write_changes(tmp_path / "turned.jsonl", EURO[::-1])
    once = {"context": ContextConfig(hops=0), "solver": Memit(lambda_=0.1, retries=0)}
    first, second = (editing.run(make(out, **once, **more)) for out, more in {"a": {}, "b": {"facts": turned}}.items())
    for layer, update in first.edit.updates.items():
        assert_close(second.edit.updates[layer].matrix(), update.matrix(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize(("retries", "few", "solves"), [(0, 10, 1), (2, 10, 3), (2, 0, 1)])
def test_what_is_not_said_is_solved_again(
    make: Make, monkeypatch: pytest.MonkeyPatch, retries: int, few: int, solves: int
) -> None:
    """A single evaluation of the loss moves no vector, so nothing is ever said: few facts are tried again, many not."""
    monkeypatch.setattr("upright.editing.rounds.FEW", few)
    result = editing.run(
        make(solver=Memit(retries=retries), target=TargetConfig(steps=1, prefixes=0), context=ContextConfig(hops=0))
    )
    assert [row["solves"] for row in result.edit.ledger] == [solves] * len(EURO)


def test_ablations_are_different_runs_of_one_command(make: Make) -> None:
    configs = {
        "after": ContextConfig(hops=3),
        "per-hop": ContextConfig(hops=3, rounds="per-hop"),
        "together": ContextConfig(hops=3, rounds="together"),
        "forgetful": ContextConfig(hops=3, memory=False),
        "facts": ContextConfig(hops=0),
    }
    results = {name: editing.run(make(name, context=context)) for name, context in configs.items()}
    assert len({patch(result) for result in results.values()}) == len(configs)
    rounds = {name: list(dict.fromkeys(row["round"] for row in r.edit.ledger)) for name, r in results.items()}
    assert rounds == {
        "after": ["facts", "context"],
        "per-hop": ["facts", "context-2", "context-3"],
        "together": ["facts-and-context"],
        "forgetful": ["facts", "context"],
        "facts": ["facts"],
    }


def test_memory_keeps_the_facts_that_context_follows(make: Make) -> None:
    """After the second round the facts' own keys have moved less with memory than without."""

    def moved(memory: bool) -> float:
        config = make(
            f"memory-{memory}", context=ContextConfig(hops=2, memory=memory), solver=Memit(lambda_=0.01, retries=0)
        )
        result = editing.run(config)
        stored: list[dict[str, Tensor]] = []
        from safetensors.torch import load_file

        for name in ("write-facts-0-0", "write-context-0-0"):
            stored.append(load_file(result.out / "steps" / f"{name}.safetensors"))
        first, second = stored
        layers = result.edit.updates
        return sum(float((second[f"{i}.left"] @ (second[f"{i}.right"].T @ first[f"{i}.keys"])).norm()) for i in layers)

    assert moved(True) < moved(False)


def stop_at(monkeypatch: pytest.MonkeyPatch, session: type, call: int) -> None:
    """Ctrl-C inside the `call`-th solve."""
    solve, calls = session.solve, []  # type: ignore[attr-defined]

    def interrupted(self: Any, requests: Sequence[Any]) -> Any:
        calls.append(1)
        found = solve(self, requests)
        if len(calls) == call:
            raise KeyboardInterrupt
        return found

    monkeypatch.setattr(session, "solve", interrupted)


@pytest.mark.parametrize(
    ("solver", "memory", "call"),
    [(SOLVERS[0], True, 2), (SOLVERS[0], True, 3), (SOLVERS[0], False, 2), (SOLVERS[1], True, 3)],
    ids=["memit-early", "memit-late", "memit-forgetful", "finetune-late"],
)
def test_an_interrupted_run_goes_on_to_the_same_patch(
    make: Make, solver: Any, memory: bool, call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three batches; the weights of the one that was cut short are lost, those before are read back."""
    more = {"solver": solver, "context": ContextConfig(hops=2, memory=memory), "batch": 4}
    unbroken = editing.run(make("unbroken", **more))
    with monkeypatch.context() as during:
        stop_at(during, FinetuneSession if solver.type == "finetune" else ClosedForm, call)
        with pytest.raises(KeyboardInterrupt):
            editing.run(make("broken", **more))
    resumed = editing.run(make("broken", **more))
    assert patch(resumed) == patch(unbroken)
    assert resumed.model.digest() == unbroken.model.digest()


# --- apply and undo ---


def test_a_patch_applied_and_undone_from_the_command_line(
    make: Make, base: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    result = editing.run(make())
    edited = tmp_path / "edited"
    assert main(["edit", "apply", str(result.out), "--model", str(base), "--out", str(edited)]) == 0
    assert load(str(edited), "cpu").digest() == result.model.digest()
    assert f"with {len(result.edit.ledger)} edits" in capsys.readouterr().out
    assert main(["edit", "undo", str(edited)]) == 0
    assert "bit for bit" in capsys.readouterr().out
    assert load(str(edited), "cpu").digest() == load(str(base), "cpu").digest()
    assert main(["edit", "undo", str(edited)]) == 2
    assert "no edit is left to undo" in capsys.readouterr().err


def test_a_run_can_save_the_model_and_undo_finds_it(make: Make, base: Path) -> None:
    result = editing.run(make(save="model"))
    assert load(str(result.out / "model"), "cpu").digest() == result.model.digest()
    found = undo(Undo(folder=result.out))
    assert found.model == result.out / "model"
    assert load(str(found.model), "cpu").digest() == load(str(base), "cpu").digest()


def test_an_edited_model_can_be_edited_again(make: Make, base: Path, tmp_path: Path) -> None:
    """The second edit's patch belongs on top of the first; undo takes them off in turn."""
    first = editing.run(make("first", save="model"))
    more = write_changes(tmp_path / "more.jsonl", [{"subject": "Spain", "relation": "currency", "object": "euro"}])
    second = editing.run(make("second", model=str(first.out / "model"), facts=more, save="model"))
    assert undo(Undo(folder=second.out)).message.endswith("1 earlier patches remain")
    assert load(str(second.out / "model"), "cpu").digest() == first.model.digest()
    undo(Undo(folder=second.out))
    assert load(str(second.out / "model"), "cpu").digest() == load(str(base), "cpu").digest()
    with pytest.raises(UserError, match="not those this patch was made for"):
        apply(Apply(patch=second.patch, model=str(base), out=tmp_path / "no"))


def test_undo_of_a_run_that_saved_no_model(make: Make) -> None:
    with pytest.raises(UserError, match="a patch alone changes no model"):
        undo(Undo(folder=editing.run(make()).out))


# --- mistakes ---


def broken(tmp_path: Path, *rows: dict[str, str]) -> dict[str, Any]:
    return {"facts": write_changes(tmp_path / "broken.jsonl", rows)}


FRANCE = {"subject": "France", "relation": "currency", "object": "euro"}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"object": "mark"}, "broken.jsonl:1: .*contradicts .*broken.jsonl:2: .*keep one of the two"),
        ({"relation": "curency"}, "unknown relation 'curency' .allowed: capital, country.*did you mean 'currency'"),
        ({"subject": "Frnace"}, "unknown subject 'Frnace'; did you mean 'France'"),
    ],
)
def test_changes_that_cannot_be_written(make: Make, tmp_path: Path, row: dict[str, str], message: str) -> None:
    with pytest.raises(UserError, match=message):
        editing.run(make(**broken(tmp_path, {**FRANCE, **row}, FRANCE)))
    assert not (tmp_path / "run").exists()


def test_the_first_bad_line_is_named(make: Make, world: Path) -> None:
    rows = [json.dumps({**FRANCE, "subject": head}) for head in ("France", "Germany", "Spain", "Italy", "Peru", "Chad")]
    (world / "changes.jsonl").write_text("\n".join([*rows, '{"subject": "France", "relation": ', *rows]))
    with pytest.raises(UserError, match=r"changes.jsonl:7: is not JSON"):
        editing.run(make())


def test_homonyms_cannot_get_two_answers(make: Make, world: Path, tmp_path: Path) -> None:
    """Q1 and Q2 are both called Georgia; the sentence about them would have to end in two ways."""
    with (world / "facts.tsv").open("a") as facts:
        facts.write("Q1\tcurrency\tfranc\nQ2\tcurrency\tmark\n")
    (world / "labels.tsv").write_text("Q1\tGeorgia\nQ2\tGeorgia\n")
    rows = [{**FRANCE, "subject": "Q1"}, {**FRANCE, "subject": "Q2", "object": "peseta"}]
    with pytest.raises(
        UserError, match="'The currency of Georgia is' should be followed by 'euro' and by 'peseta'; give"
    ):
        editing.run(make(**broken(tmp_path, *rows)))


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"kg": []}, "--kg is missing: give a knowledge graph"),
        ({"facts": None}, "give either --facts FILE or --counterfactuals N"),
        ({"counterfactuals": 3}, "give either --facts FILE or --counterfactuals N"),
        ({"facts": Path("gone.jsonl")}, "gone.jsonl: cannot be read"),
        ({"facts": None, "counterfactuals": 10_000}, "got n = 10000 counterfactual changes; the graph offers"),
        ({"kg": ["lab:atlantis"]}, "unknown lab world 'atlantis' .allowed: atlas"),
        ({"model": "lab:atlantis"}, "unknown lab model 'atlantis'"),
        ({"relations": Path("gone.toml")}, "gone.toml: cannot be read"),
        ({"solver": Memit(layers=[7])}, "layer 7: .* has layers 0 to 2"),
        ({"solver": Finetune(layer=7)}, "layer 7: .* has layers 0 to 2"),
        ({"stats": StatsConfig(sequences=1, tokens=8)}, "stats.sequences: .* read more sequences"),
        ({"stats": StatsConfig(text=Path("gone.txt"))}, "gone.txt: cannot be read"),
        ({"measure": MeasureConfig(text=Path("gone.txt"))}, "gone.txt: cannot be read"),
    ],
)
def test_mistakes_are_one_clear_line(make: Make, fields: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        editing.run(make(**fields))
    assert "\n" not in str(caught.value)


def test_an_empty_text_is_refused(make: Make, tmp_path: Path) -> None:
    (tmp_path / "empty.txt").write_text(" \n\n")
    with pytest.raises(UserError, match=r"stats.text .*empty.txt: is empty; give one document a line"):
        editing.run(make(stats=StatsConfig(text=tmp_path / "empty.txt")))


def test_own_texts_serve_for_statistics_and_perplexity(make: Make, tmp_path: Path) -> None:
    text = tmp_path / "own.txt"
    text.write_text("".join(f"In year {i} the rain came late.\n" for i in range(60)))
    config = make(stats=StatsConfig(text=text, sequences=40, facts=0.25), measure=MeasureConfig(text=text, texts=7))
    result = editing.run(config)
    told = Edit.load(result.out).header["statistics"]
    assert told.startswith(f"40 sequences of {text}, and ")
    assert told.endswith(" unchanged facts at weight 0.25")
    assert {m.n for m in result.metrics if m.name == "perplexity"} == {7}


def test_nothing_is_measured_where_nothing_is_asked(make: Make) -> None:
    result = editing.run(make(measure=MeasureConfig(texts=0, facts=0), context=ContextConfig(hops=0)))
    assert {m.stage for m in result.metrics} == {"result"}
    assert result.report.exists()


def test_a_broken_recipe_beside_the_model(make: Make, base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "own")
    (tmp_path / "own" / "editing.json").write_text("{}")
    with pytest.raises(UserError, match=r"editing.json: not an editing recipe"):
        editing.run(make(model=str(tmp_path / "own")))


def test_invented_changes_are_written_down(make: Make) -> None:
    result = editing.run(make(facts=None, counterfactuals=3))
    rows = [json.loads(line) for line in (result.out / "changes.jsonl").read_text().splitlines()]
    assert len(rows) == 3
    true = {(head, relation): tail for head, relation, tail in FACTS}
    assert all(true[row["subject"], row["relation"]] == row["was"] != row["object"] for row in rows)


def test_a_wrong_patch_is_refused_by_apply(base: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no such patch"):
        apply(Apply(patch=tmp_path / "gone", model=str(base), out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()
    assert torch.get_num_threads() == 1
