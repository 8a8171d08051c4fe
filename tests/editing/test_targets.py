"""Batched target vectors against a naive twin: one fact at a time, full forward passes, torch's own Adam."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.testing import assert_close

from tests.tiny import exact_model, prompt
from upright.editing.requests import Row, tokenised
from upright.editing.targets import Optimisation, Targets, Task, _Tail, optimise
from upright.models.causal import CausalModel
from upright.models.layouts import map_output

SETTING = Optimisation(learning_rate=0.1, steps=8, clamp=4.0, decay=0.5, kl=0.0625, stop_below=0.0)
ASKED = [
    ("The capital of France is", "France", "Rome"),
    ("Japan has the capital", "Japan", "Paris, and Lima"),
    ("They say that the capital of Peru is", "Peru", "Berlin"),
    ("Berlin is the capital of", "Berlin", "Italy"),
    ("The capital of the city of Germany and of Japan is", "Germany", "Tokyo."),
    ("Lima is", "Lima", "of"),
    ("It is well known that Rome is the capital of", "Rome", "Germany, Peru and Japan."),
    ("Italy", "Italy", "is the capital"),
]
PREFIXES = ["", "Because of the capital. ", "I of Peru and Japan. "]


def task(model: CausalModel, text: str, subject: str, target: str, prefixes: Sequence[str] = PREFIXES) -> Task:
    asked = prompt(text, subject)
    rows = [tokenised(model, asked, target, prefix) for prefix in prefixes]
    return Task(rows, [1 / len(rows)] * len(rows), tokenised(model, prompt(subject, subject)))


def tasks(model: CausalModel) -> list[Task]:
    return [task(model, *asked) for asked in ASKED]


class Naive:
    """One task: nothing cached, nothing padded, the whole network for every evaluation."""

    def __init__(self, model: CausalModel, task: Task, layer: int) -> None:
        self.model, self.task, self.layer = model, task, layer
        zero = torch.zeros(model.model.config.hidden_size, dtype=torch.float64)
        self.old = self._log_probs(task.anchor, zero)[0].detach()
        self.h = self._state(task.rows[0])

    def _state(self, row: Row) -> Tensor:
        kept: list[Tensor] = []
        with map_output(self.model.blocks[self.layer], lambda s: kept.append(s) or s):  # type: ignore[func-returns-value]
            self.model.model(torch.tensor([[*row.before, *row.inputs]]))
        return kept[0][0, len(row.before)].detach()

    def _log_probs(self, row: Row, delta: Tensor) -> Tensor:
        """Log-probabilities (S, V) from the fact position on, with delta added to the block's output there."""
        fact = len(row.before)

        def add(states: Tensor) -> Tensor:
            moved = states.clone()
            moved[:, fact] = moved[:, fact] + delta
            return moved

        with map_output(self.model.blocks[self.layer], add):
            logits: Tensor = self.model.model(torch.tensor([[*row.before, *row.inputs]])).logits
        found: Tensor = logits[0, fact:].log_softmax(-1)
        return found

    def loss(self, delta: Tensor, setting: Optimisation) -> Tensor:
        fit = torch.zeros((), dtype=torch.float64)
        for row, weight in zip(self.task.rows, self.task.weights, strict=True):
            found = self._log_probs(row, delta)[len(row.after) - 1 :]
            fit = fit - weight * found[range(len(row.targets)), row.targets].mean()
        new = self._log_probs(self.task.anchor, delta)[0]
        divergence = (new.exp() * (new - self.old)).sum()
        whole: Tensor = fit + setting.kl * divergence + setting.decay * delta.norm() / self.h.norm() ** 2
        return whole

    def run(self, setting: Optimisation) -> tuple[Tensor, float, int]:
        """Delta, its last loss, and the number of updates."""
        delta = torch.zeros_like(self.h, requires_grad=True)
        adam = torch.optim.Adam([delta], lr=setting.learning_rate)
        for step in range(setting.steps):
            loss = self.loss(delta, setting)
            if float(loss.detach()) < setting.stop_below or step == setting.steps - 1:
                break
            adam.zero_grad()
            loss.backward()
            adam.step()
            limit = setting.clamp * float(self.h.norm())
            with torch.no_grad():
                if float(delta.norm()) > limit:
                    delta.mul_(limit / delta.norm())
        return delta.detach(), float(loss.detach()), step


def delta(found: Targets) -> Tensor:
    return found.z - found.h


@pytest.fixture(scope="module")
def model() -> CausalModel:
    return exact_model()


@pytest.fixture(scope="module")
def one_by_one(model: CausalModel) -> tuple[Optimisation, list[tuple[Tensor, float, int]]]:
    """A limit that the two easiest of the eight facts reach on the way, and what each finds alone."""
    naive = [Naive(model, one, 0) for one in tasks(model)]
    after_three = sorted(twin.run(replace(SETTING, steps=4))[1] for twin in naive)
    setting = replace(SETTING, stop_below=sum(after_three[:2]) / 2)
    return setting, [twin.run(setting) for twin in naive]


@pytest.mark.parametrize("batch_rows", [4, 16, 100])
def test_a_batch_finds_what_each_fact_alone_would_find(
    model: CausalModel, one_by_one: tuple[Optimisation, list[tuple[Tensor, float, int]]], batch_rows: int
) -> None:
    """Eight facts of different lengths, of which some stop early."""
    setting, wanted = one_by_one
    found = optimise(model, tasks(model), 0, setting, batch_rows)
    assert found.steps.tolist() == [steps for _, _, steps in wanted]
    assert len(set(found.steps.tolist())) > 1
    for i, (change, loss, _) in enumerate(wanted):
        assert_close(delta(found)[i], change, rtol=0, atol=1e-8)
        assert float(found.loss[i]) == pytest.approx(loss, abs=1e-7)
        assert_close(found.h[i], Naive(model, tasks(model)[i], 0).h, rtol=0, atol=1e-10)


def test_many_facts_that_are_done_early_are_dropped(model: CausalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    """Half of the tasks start below the limit: the batch goes on without them, and no result moves."""
    sizes: list[int] = []
    keep = _Tail.keep

    def count(self: _Tail, rows: Tensor) -> None:
        sizes.append(len(rows))
        keep(self, rows)

    monkeypatch.setattr(_Tail, "keep", count)
    naive = [Naive(model, one, 0) for one in tasks(model)]
    starts = sorted(twin.run(replace(SETTING, steps=1))[1] for twin in naive)
    setting = replace(SETTING, stop_below=(starts[3] + starts[4]) / 2, steps=4)
    found = optimise(model, tasks(model), 0, setting, 100)
    assert sizes[:2] == [12, 4]  # three rows and an anchor for each task
    for i, twin in enumerate(naive):
        assert_close(delta(found)[i], twin.run(setting)[0], rtol=0, atol=1e-8)
    assert sorted(found.steps.tolist())[:4] == [0, 0, 0, 0]


@pytest.mark.parametrize("family", ["gpt2", "gptj", "gpt_neox", "gemma3_text", "mistral", "falcon", "opt", "phi"])
@pytest.mark.parametrize("layer", [0, 1])
def test_the_cached_path_is_the_full_forward_pass(family: str, layer: int) -> None:
    """Rotary and learned positions, sliding windows, parallel blocks, biases; also when rows drop out."""
    model = exact_model(family)
    chosen = [task(model, *asked, prefixes=PREFIXES[:2]) for asked in ASKED[:3]]
    naive = [Naive(model, one, layer) for one in chosen]
    starts = sorted(twin.run(replace(SETTING, steps=1))[1] for twin in naive)
    setting = replace(SETTING, stop_below=(starts[0] + starts[1]) / 2, steps=3)  # the first is dropped on the way
    found = optimise(model, chosen, layer, setting, 100)
    for i, twin in enumerate(naive):
        change, loss, _ = twin.run(setting)
        exact = 1e-6 if family == "gptj" else 1e-8  # GPT-J attends in single precision whatever its own
        assert_close(delta(found)[i], change, rtol=0, atol=exact)
        assert float(found.loss[i]) == pytest.approx(loss, abs=exact)


def test_the_last_step_only_looks(model: CausalModel) -> None:
    """Twenty-five evaluations are at most twenty-four updates; one evaluation is none."""
    one = [task(model, *ASKED[0])]
    assert optimise(model, one, 0, replace(SETTING, steps=25), 8).steps.tolist() == [24]
    found = optimise(model, one, 0, replace(SETTING, steps=1), 8)
    assert found.steps.tolist() == [0]
    assert torch.equal(found.z, found.h)


def test_what_is_true_already_is_left_alone(model: CausalModel) -> None:
    found = optimise(model, [task(model, *ASKED[0])], 0, replace(SETTING, stop_below=1e3), 8)
    assert torch.equal(found.z, found.h)


@pytest.mark.parametrize("clamp", [0.01, 0.2])
def test_no_change_outgrows_the_clamp(model: CausalModel, clamp: float) -> None:
    found = optimise(model, tasks(model), 0, replace(SETTING, clamp=clamp), 100)
    ratio = delta(found).norm(dim=1) / found.h.norm(dim=1)
    assert (ratio <= clamp * (1 + 1e-12)).all()
    assert float(ratio.max()) == pytest.approx(clamp)


def test_results_come_in_the_order_asked(model: CausalModel) -> None:
    """Tasks are run by length, in chunks; a permutation of the tasks permutes the results."""
    order = [5, 2, 7, 0, 6, 1, 4, 3]
    straight = optimise(model, tasks(model), 0, SETTING, 9)
    mixed = optimise(model, [tasks(model)[i] for i in order], 0, SETTING, 9)
    assert_close(mixed.z, straight.z[order], rtol=0, atol=1e-9)


def test_rows_weigh_what_they_are_told(model: CausalModel) -> None:
    """All weight on the clean row is the task of that row alone."""
    whole = task(model, *ASKED[1])
    lopsided = replace(whole, weights=[1.0, 0.0, 0.0])
    alone = Task(whole.rows[:1], [1.0], whole.anchor)
    found, wanted = (optimise(model, [one], 0, SETTING, 8) for one in (lopsided, alone))
    assert_close(found.z, wanted.z, rtol=0, atol=1e-9)


def test_the_model_is_left_as_it_was(model: CausalModel) -> None:
    before: Any = model.digest()
    optimise(model, tasks(model)[:2], 0, SETTING, 8)
    assert model.digest() == before
    assert all(not block._forward_hooks and not block._forward_pre_hooks for block in model.blocks)
