"""The loop on a linear model: by hand, over interrupts, and at its ends."""

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn
from torch.optim import SGD, AdamW

from upright.training.loop import Checkpoint, Plan, fit
from upright.training.optimise import muon, warmup_then_decay


def batches(start: int) -> Iterator[tuple[Tensor, Tensor]]:
    """Batch i depends on i alone."""
    for i in count(start):
        x = torch.randn(8, 4, generator=torch.Generator().manual_seed(i))
        yield x, x @ torch.arange(12.0).view(4, 3) / 6


def model() -> nn.Linear:
    built = nn.Linear(4, 3)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in built.parameters():
            parameter.copy_(torch.randn(parameter.shape, generator=generator))
    return built


def train(built: nn.Module, steps: int, checkpoint: Checkpoint | None = None, stop: int = -1) -> list[float]:
    def loss_of(batch: tuple[Tensor, Tensor]) -> Tensor:
        calls.append(1)
        if len(calls) == stop:
            raise KeyboardInterrupt
        found: Tensor = (built(batch[0]) - batch[1]).square().mean()
        return found

    calls: list[int] = []
    plan = Plan(steps, warmup_then_decay(0.1, 0.5))
    return fit(built, batches, loss_of, muon(built, 0.1, 0.01), plan, checkpoint)


def test_updates_by_hand() -> None:
    """w = 1, loss w x: the gradient is x = 3, clipped to 1, at rates 0.1 and 0.05: 1 - 0.1 - 0.05 = 0.85."""
    weight = nn.Linear(1, 1, bias=False)
    nn.init.ones_(weight.weight)
    rates = {0.5: 1.0, 1.0: 0.5}
    seen: list[tuple[int, float]] = []
    losses = fit(
        weight,
        lambda start: iter([torch.tensor([[3.0]])] * 2),
        lambda batch: weight(batch).sum(),
        [SGD(weight.parameters(), lr=0.1)],
        Plan(2, rates.__getitem__, clip=1.0),
        on_step=lambda step, loss: seen.append((step, loss)),
    )
    assert float(weight.weight.detach()) == pytest.approx(0.85)
    assert losses == pytest.approx([3.0, 2.7])
    assert seen == [(1, losses[0]), (2, losses[1])]
    assert not weight.training


def test_the_loss_goes_down() -> None:
    losses = train(model(), 100)
    assert sum(losses[-10:]) < 0.3 * sum(losses[:10])


@pytest.mark.parametrize("stop", [1, 2, 7, 12])
def test_a_stopped_training_goes_on_to_the_same_bits(tmp_path: Path, stop: int) -> None:
    """Saved after every update: model, moments and rates are those of an unbroken run."""
    whole = model()
    losses = train(whole, 12)
    checkpoint = Checkpoint(tmp_path / "at" / "training.pt", save_every=-1.0)
    with pytest.raises(KeyboardInterrupt):
        train(model(), 12, checkpoint, stop)
    resumed = model()
    assert train(resumed, 12, checkpoint) == losses
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters(), resumed.parameters(), strict=True))


def test_a_stop_between_saves_repeats_what_was_not_saved(tmp_path: Path) -> None:
    """Nothing was saved in the first hour, so the whole training is done again."""
    checkpoint = Checkpoint(tmp_path / "training.pt", save_every=3600)
    with pytest.raises(KeyboardInterrupt):
        train(model(), 5, checkpoint, stop=3)
    assert not checkpoint.path or not checkpoint.path.exists()
    assert len(train(model(), 5, checkpoint)) == 5


def test_a_finished_training_is_not_repeated(tmp_path: Path) -> None:
    checkpoint = Checkpoint(tmp_path / "training.pt")
    done, again = model(), model()
    losses = train(done, 5, checkpoint)
    assert train(again, 5, checkpoint) == losses
    assert torch.equal(done.weight, again.weight)
    assert list(tmp_path.iterdir()) == [tmp_path / "training.pt"]


def test_a_training_without_a_checkpoint_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    built = model()
    assert Checkpoint().load(built, [AdamW(built.parameters())]) == []
    train(built, 2)
    assert list(tmp_path.iterdir()) == []
