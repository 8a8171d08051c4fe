"""Sizes and label laws of groups: by hand, against scipy, and as a run reads a population."""

from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scipy.stats import binomtest, chi2_contingency, entropy

from upright.audit.fairness import counts as c
from upright.audit.fairness import labels
from upright.audit.fairness.config import Config
from upright.errors import UserError


def config(**more: object) -> Config:
    return Config.model_validate(
        {"table": "t.csv", "groups": ["g"], "label": "y", "prediction": "said", "draws": 400, **more}
    )


def table(cells: list[list[int]]) -> c.Table:
    """Groups with (negatives, positives), all decided as labelled."""
    full = np.zeros((len(cells), 1, 2, 2))
    full[:, 0, [0, 1], [0, 1]] = cells
    names = [chr(97 + i) for i in range(len(cells))]
    return c.Table("g", names, [""], ["0", "1"], full, full, full.sum((1, 2, 3)), [(name,) for name in names])


def test_laws_by_hand() -> None:
    """(½, ½) to (¾, ¼): KL ½ ln(2/3) + ½ ln 2; TV ¼; 75 against 25 records: imbalance ½. Laws that share nothing are
    ln 2 apart in Jensen-Shannon's measure and infinitely in Kullback-Leibler's.
    """
    p, q = [1, 1], [3, 1]
    assert_allclose(labels.kullback_leibler(p, q), 0.5 * np.log(2 / 3) + 0.5 * np.log(2))
    assert_allclose(labels.total_variation(p, q), 0.25)
    assert_allclose(labels.imbalance(75, 25), 0.5)
    assert_allclose(labels.jensen_shannon([1, 0], [0, 1]), np.log(2))
    assert np.isinf(labels.kullback_leibler([1, 0], [0, 1]))
    assert np.isnan(labels.imbalance(0, 0))


def test_laws_equal_scipy() -> None:
    rng = np.random.default_rng(0)
    p, q = rng.integers(1, 40, (2, 5))
    middle = (p / p.sum() + q / q.sum()) / 2
    assert_allclose(labels.kullback_leibler(p, q), entropy(p, q))
    assert_allclose(labels.jensen_shannon(p, q), (entropy(p, middle) + entropy(q, middle)) / 2)
    wanted = chi2_contingency(np.stack([p, q]), correction=False, lambda_="log-likelihood").pvalue
    assert_allclose(labels.same_law(p, q), wanted)


def test_metrics_by_hand() -> None:
    """60 records against 40: imbalance .2, exact interval 2 B - 1. Base rates ½ and ¼: TV ¼."""
    found = labels.label_metrics(table([[30, 30], [30, 10]]), 0, config(), np.random.default_rng(0))
    by = {m.name.removesuffix(" to a"): m for m in found}
    ends = binomtest(60, 100).proportion_ci(0.95, "exact")
    uneven = by["class imbalance"]
    assert [uneven.value, uneven.ci_low, uneven.ci_high] == pytest.approx([0.2, 2 * ends.low - 1, 2 * ends.high - 1])
    assert by["total variation of labels"].value == pytest.approx(0.25)
    assert {m.split for m in found} == {"g: b"}
    assert {m.n for m in found} == {100}
    for m in found:
        assert m.ci_low is not None
        assert m.ci_high is not None
        assert m.value is not None
        assert m.ci_low <= m.value <= m.ci_high


def test_equal_laws_begin_at_zero_and_unequal_ones_do_not() -> None:
    """No bootstrap of a divergence reaches 0; the likelihood ratio says whether chance would do."""
    same = labels.label_metrics(table([[500, 500], [240, 260]]), 0, config(), np.random.default_rng(0))
    apart = labels.label_metrics(table([[500, 500], [400, 100]]), 0, config(), np.random.default_rng(0))
    assert {m.ci_low for m in same if "imbalance" not in m.name} == {0.0}
    assert all(m.ci_low is not None and m.ci_low > 0.01 for m in apart)


def test_a_label_that_is_lacking_and_small_groups() -> None:
    """The reference has no negatives: KL to it is infinite the other way, here finite; a group of 10 is left out."""
    found = labels.label_metrics(table([[0, 100], [50, 50], [5, 5]]), 0, config(), np.random.default_rng(0))
    assert {m.split for m in found} == {"g: b"}
    assert not labels.label_metrics(table([[5, 5], [50, 50]]), 0, config(), np.random.default_rng(0))
    turned = labels.label_metrics(table([[50, 50], [0, 100]]), 0, config(), np.random.default_rng(0))
    assert [m.value for m in turned if m.name.startswith("Kullback")] == [None]


def test_population_by_hand() -> None:
    """30 and 70 of 100 records for halves of the population: .6 and 1.4 of what is due; c is absent from the data."""
    shares = {"a": 0.5, "b": 0.4, "c": 0.1}
    found = {(m.name, m.split): m for m in labels.population_metrics(table([[10, 20], [30, 40]]), shares)}
    ends = binomtest(30, 100).proportion_ci(0.95, "exact")
    due = found[labels.OVER, "g: a"]
    assert [due.value, due.ci_low, due.ci_high] == pytest.approx([0.6, ends.low / 0.5, ends.high / 0.5])
    absent = found[labels.SHARE, "g: c"]
    assert [absent.value, absent.ci_low] == [0.0, 0.0]
    assert absent.n == 100


@pytest.mark.parametrize(
    ("text", "groups", "message"),
    [
        ("group,share\na,0.5\nb,0.6\n", ["g"], "shares of g add up to 1.1; must be 1"),
        ("group,share\na,half\n", ["g"], "got group a with share None"),
        ("group,share\na,1\n", ["g", "h"], "unknown column in .*'column'"),
        ("column,group,share\nk,a,1\n", ["g", "h"], "got column 'k'; must be one of --groups g,h"),
        ("group,part\na,1\n", ["g"], "unknown column in .*'share'"),
    ],
)
def test_refused_populations(tmp_path: Path, text: str, groups: list[str], message: str) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(UserError, match=message):
        labels.read_population(path, groups)


def test_population_of_several_columns(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("column,group,share\ng,a,.5\ng,b,.5\nh,1,1\n")
    assert labels.read_population(path, ["g", "h"]) == {"g": {"a": 0.5, "b": 0.5}, "h": {"1": 1.0}}
