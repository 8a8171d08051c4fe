"""Sessions: what is grouped, what each layer is asked for, what is remembered, what fine-tuning touches."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.tiny import exact_model, prompt, world_model
from upright.editing.capture import keys_at_fact, states_at_fact
from upright.editing.config import AlphaEdit, Config, Emmet, Finetune, Memit, Solver
from upright.editing.edit import tensor_hash
from upright.editing.recipe import Recipe
from upright.editing.requests import Request, Row, tokenised
from upright.editing.solvers import ClosedForm, Setting, make_tasks, open_session, target_loss
from upright.editing.targets import Optimisation
from upright.errors import UserError
from upright.models.causal import CausalModel

TARGET = Optimisation(learning_rate=0.1, steps=6, clamp=2.0, decay=0.1, kl=0.05, stop_below=0.0)
ANY = Path("unused")


def request(text: str, subject: str, target: str) -> Request:
    return Request(prompt(text, subject), target, subject, ("any",))


EURO = request("The currency of France is", "France", "euro")
MARK = request("The currency of Germany is", "Germany", "euro")
LYON = request("The capital of France is", "France", "Lyon")


def setting(model: CausalModel, prefixes: Sequence[str] = ("I of Paris. ",)) -> Setting:
    width = model.down(0).get_parameter("weight").shape[1]

    def moments(layers: Sequence[int]) -> dict[int, Tensor]:
        return {layer: torch.eye(width, dtype=torch.float64) * (1 + layer) for layer in layers}

    recipe = Recipe(source="test", layers=(0, 1), finetune_layer=2, lambda_=0.5, finetune_learning_rate=0.01)
    return Setting(model, recipe, list(prefixes), moments, TARGET, rows=16, seed=3)


def session(model: CausalModel, solver: Solver, prefixes: Sequence[str] = ("I of Paris. ",)) -> ClosedForm:
    opened = open_session(Config(model="any", solver=solver), setting(model, prefixes))
    assert isinstance(opened, ClosedForm)
    return opened


def test_requests_that_share_a_key_become_one_task() -> None:
    """ "The capital of France" begins both: one vector must make "is" and "was" both come true."""
    was = request("The capital of France was", "France", "Paris")
    tasks = make_tasks(setting(exact_model()), [LYON, EURO, was])
    assert [len(task.rows) for task in tasks] == [4, 2]
    assert tasks[0].weights == [0.25] * 4
    model = exact_model()
    assert (
        model.tokenizer.decode(tasks[0].anchor.after) == "France"[-len(model.tokenizer.decode(tasks[0].anchor.after)) :]
    )
    assert all(model.tokenizer.decode(row.targets)[-1] == "." for task in tasks for row in task.rows)


def test_one_column_for_one_key() -> None:
    was = request("The capital of France was", "France", "Paris")
    solution = session(world_model(), Memit()).solve([LYON, EURO, was])
    assert solution["0.left"].shape[1] == solution["1.right"].shape[1] == 2


def test_each_layer_is_asked_for_its_share_of_what_is_missing() -> None:
    """Layer 0 of two gets half of the residual; layer 1 all that is left after layer 0 was written."""
    model = exact_model()
    opened = session(model, Memit())
    tasks = make_tasks(opened.setting, [EURO, MARK])
    rows = [task.rows[0] for task in tasks]
    before = states_at_fact(model, rows, 1, 16)
    solution = opened.solve([EURO, MARK])
    first, second = solution["0.left"].T.double(), solution["1.left"].T.double()
    opened.edit.update(model, 0).add(solution["0.left"], solution["0.right"])
    opened.edit.apply(model)
    between = states_at_fact(model, rows, 1, 16)
    wanted = before + 2 * first
    assert_close(second, wanted - between, rtol=0, atol=1e-5)
    assert float((between - before).norm()) > 0.01


def test_keys_are_averaged_over_clean_and_prefixed_texts() -> None:
    model = exact_model()
    prefixes = ("I of Paris. ", "The capital. ")
    solution = session(model, Emmet(layers=[1]), prefixes).solve([EURO])
    asked = [tokenised(exact_model(), EURO.prompt, None, prefix) for prefix in ("", *prefixes)]
    keys = keys_at_fact(exact_model(), asked, 1, 8)
    assert_close(solution["1.keys"][:, 0].double(), keys[0] / 2 + (keys[1] + keys[2]) / 4, rtol=0, atol=1e-6)


@pytest.mark.parametrize("solver", [Memit(), AlphaEdit(kept_energy=0.2, l2=0.1), Emmet(mu=0.1), Finetune(epochs=5)])
def test_writing_makes_the_targets_likelier_and_undo_is_exact(solver: Solver) -> None:
    model = world_model()
    digest = model.digest()
    opened = open_session(Config(model="any", solver=solver), setting(model))
    rows = [tokenised(model, one.prompt, one.target + ".") for one in (EURO, MARK)]
    before = float(target_loss(model, rows))
    opened.accept([EURO, MARK], opened.solve([EURO, MARK]))
    assert float(target_loss(model, rows)) < before - 0.1
    opened.edit.undo(model)
    assert model.digest() == digest


def test_a_solution_is_written_the_same_by_whoever_accepts_it() -> None:
    """What a resumed run does: the solution comes from disk, the weights never saw `solve`."""
    ran, resumed = world_model(), world_model()
    first, second = session(ran, Memit()), session(resumed, Memit())
    for batch in ([EURO], [MARK]):
        solution = first.solve(batch)
        first.accept(batch, solution)
        second.accept(batch, solution)
    assert ran.digest() == resumed.digest()
    third = first.solve([LYON])
    assert all(torch.equal(value, third[name]) for name, value in second.solve([LYON]).items())


def test_memory_guards_what_was_written_and_can_be_dropped() -> None:
    """With K K^T in the prior, a later update moves an earlier key less; without, as if it were new."""

    def moved(forget: bool) -> float:
        opened = session(world_model(), Memit(lambda_=0.01))
        first = opened.solve([EURO])
        opened.accept([EURO], first)
        if forget:
            opened.forget()
        second = opened.solve([replace(MARK, target="franc")])
        return sum(float((second[f"{i}.left"] @ (second[f"{i}.right"].T @ first[f"{i}.keys"])).norm()) for i in (0, 1))

    assert moved(forget=False) < 0.5 * moved(forget=True)


def test_emmet_writes_one_layer_and_layers_can_be_chosen() -> None:
    assert session(world_model(), Emmet()).layers == [1]
    assert session(world_model(), Memit(layers=[2, 0])).layers == [0, 2]
    with pytest.raises(UserError, match="layer 9: tiny has layers 0 to 2"):
        session(world_model(), Memit(layers=[9]))


def test_an_asked_share_of_zero_is_not_the_recipes() -> None:
    """kept_energy 0 protects the one strongest direction, and no more."""
    opened = session(world_model(), AlphaEdit(kept_energy=0.0))
    assert opened.ridges[0].prior.shape == (47, 47)


# --- fine-tuning ---


def test_fine_tuning_touches_one_matrix() -> None:
    model = world_model()
    before = {name: tensor_hash(parameter) for name, parameter in model.model.named_parameters()}
    opened = open_session(Config(model="any", solver=Finetune(epochs=2)), setting(model))
    opened.accept([EURO], opened.solve([EURO]))
    changed = {name for name, p in model.model.named_parameters() if tensor_hash(p) != before[name]}
    assert changed == {"model.layers.2.mlp.down_proj.weight"}
    assert not any(parameter.requires_grad for parameter in model.model.parameters())


def test_fine_tuning_replays_what_came_before() -> None:
    """The second round trains on both facts; without memory on its own alone."""
    model = world_model()
    opened = open_session(Config(model="any", solver=Finetune(epochs=1)), setting(model))
    opened.accept([EURO], opened.solve([EURO]))
    rows = [tokenised(model, one.prompt, one.target + ".") for one in (EURO, MARK)]
    both = [float(target_loss(model, [row])) for row in rows]
    assert float(opened.solve([MARK])["loss"][0]) == pytest.approx(sum(both) / 2, rel=1e-4)
    opened.edit.apply(model)  # as it was: nothing of the last solution was accepted
    opened.forget()
    assert float(opened.solve([MARK])["loss"][0]) == pytest.approx(both[1], rel=1e-4)


def test_fine_tuning_stops_when_all_is_said() -> None:
    """Losses start far below a limit of 100: one epoch to see it, no step."""
    model = world_model()
    opened = open_session(Config(model="any", solver=Finetune(stop_below=100.0)), setting(model))
    solution = opened.solve([EURO, MARK])
    assert solution["steps"].tolist() == [1]
    assert not solution["2.dense"].any()


@pytest.mark.parametrize("ending", ["", ".", " and the capital of Peru."])
def test_the_loss_sees_targets_and_the_end_alone(ending: str) -> None:
    """Against one row at a time with plain log-softmax; rows of any length around it change nothing."""
    model = exact_model()
    rows = [
        tokenised(model, prompt("The capital of France is", "France"), "Paris" + ending),
        tokenised(model, prompt("It is well known that the capital of Japan is", "Japan"), "Tokyo"),
        tokenised(model, prompt("Rome", "Rome"), "is the capital of Italy"),
    ]

    def naive(row: Row) -> float:
        targets = [*row.targets, model.tokenizer.eos_token_id]
        text = [*row.before, *row.after, *targets]
        found = model.model(torch.tensor([text])).logits[0].log_softmax(-1)
        first = len(text) - len(targets)
        return -float(sum(found[first + j - 1, target] for j, target in enumerate(targets))) / len(targets)

    assert float(target_loss(model, rows)) == pytest.approx(sum(map(naive, rows)) / 3, rel=1e-5)
    assert float(target_loss(model, rows[:1])) == pytest.approx(naive(rows[0]), rel=1e-5)
