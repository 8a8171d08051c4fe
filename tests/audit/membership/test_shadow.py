"""Reference models: masks, classifiers of scikit-learn's kind, and networks trained all at once."""

from typing import Any

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.linear_model import LogisticRegression
from sklearn.naive_bayes import GaussianNB
from torch.nn.functional import cross_entropy
from torch.testing import assert_close

from upright.audit.membership import shadow
from upright.audit.membership.shadow import class_logits, half_masks, train_networks, train_references


@pytest.mark.parametrize("models", [2, 5, 16])
def test_each_record_is_in_half_of_the_models(models: int) -> None:
    masks = half_masks(models, 300, np.random.default_rng(0))
    assert (masks.sum(axis=0) == models // 2).all()
    share, error = models // 2 / models, np.sqrt(0.25 / 300)
    assert np.abs(masks.mean(axis=1) - share).max() < 4 * error


def test_masks_need_two_models() -> None:
    with pytest.raises(ValueError, match="at least 2 models"):
        half_masks(1, 10, np.random.default_rng(0))


def test_references_equal_models_trained_by_hand() -> None:
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(60, 3)), rng.integers(0, 3, 60)

    def factory(seed: int) -> Any:
        return LogisticRegression(random_state=seed)

    found = train_references(factory, x, y, 4, np.random.default_rng(2))
    for mask, logits in zip(found.masks, found.logits, strict=True):
        assert_allclose(logits, LogisticRegression().fit(x[mask], y[mask]).decision_function(x))


def test_logits_of_two_classes_and_of_one_never_seen() -> None:
    """Two classes: the decision function is ln(p₁ / p₀). A class without a record gets ln 1e-30."""
    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(40, 2)), rng.integers(0, 2, 40)
    model = LogisticRegression().fit(x, y)
    logits = class_logits(model, x, 3)
    assert_allclose(logits[:, 1] - logits[:, 0], model.decision_function(x))
    assert_allclose(logits[:, 2], np.log(1e-30))
    bayes = GaussianNB().fit(x, y)
    assert_allclose(class_logits(bayes, x, 2), bayes.predict_log_proba(x))


def test_networks_together_equal_networks_alone() -> None:
    """Each network sees its own records only: twins with the same start, trained one by one with autograd."""
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(30, 4, generator=generator), torch.arange(30) % 3
    masks = torch.from_numpy(half_masks(3, 30, np.random.default_rng(0)))
    assert len(set(masks.sum(dim=1).tolist())) > 1  # models of different size share one batch
    found = train_networks(x, y, masks, torch.Generator().manual_seed(5), hidden=6, steps=25)
    start = torch.Generator().manual_seed(5)
    first = torch.randn(3, 4, 6, generator=start) * (2 / 4) ** 0.5
    second = torch.randn(3, 6, 3, generator=start) * (2 / 6) ** 0.5
    for m in range(3):
        weights = [first[m].clone(), torch.zeros(6), second[m].clone(), torch.zeros(3)]
        for weight in weights:
            weight.requires_grad_(True)
        optimiser = torch.optim.Adam(weights, lr=0.01)
        for _ in range(25):
            logits = torch.relu(x[masks[m]] @ weights[0] + weights[1]) @ weights[2] + weights[3]
            optimiser.zero_grad()
            cross_entropy(logits, y[masks[m]]).backward()
            optimiser.step()
        alone = torch.relu(x @ weights[0] + weights[1]) @ weights[2] + weights[3]
        assert_close(found[m], alone.detach(), rtol=2e-3, atol=2e-3)


def test_a_network_needs_a_record() -> None:
    masks = torch.tensor([[True, False], [False, False]])
    with pytest.raises(ValueError, match="1 of 2 models have no record"):
        train_networks(torch.ones(2, 1), torch.tensor([0, 1]), masks, torch.Generator())


def test_how_many_are_trained_together_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = torch.Generator().manual_seed(0)
    x, y = torch.randn(20, 3, generator=generator), torch.arange(20) % 2
    masks = torch.from_numpy(half_masks(5, 20, np.random.default_rng(1)))
    together = train_networks(x, y, masks, torch.Generator().manual_seed(4), hidden=5, steps=10)
    monkeypatch.setattr(shadow, "NUMBERS_AT_ONCE", {"cpu": 2 * 60})  # two at a time
    assert_close(train_networks(x, y, masks, torch.Generator().manual_seed(4), hidden=5, steps=10), together)
