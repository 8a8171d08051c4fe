from dataclasses import replace

import numpy as np
import pytest

from upright.run.evidence import Metric
from upright.synthesis.corpus import Corpus
from upright.synthesis.evaluation.part import ALL, ALL_CONTROL, CONTROL, HELDOUT, SYNTHETIC, Arms, Part
from upright.synthesis.evaluation.utility import MAJORITY, utility_part

WORDS = {"heart": "pulse chest pressure beat", "skin": "rash itch cream spot", "bone": "fracture cast knee hip"}


def records(n: int, seed: int, noise: float = 0.0, classes: int = 3) -> Corpus:
    """Texts of three words of their section, the section wrong for a share `noise` of them."""
    rng = np.random.default_rng(seed)
    real = rng.choice(sorted(WORDS)[:classes], n)
    said = np.where(rng.random(n) < noise, rng.choice(sorted(WORDS)[:classes], n), real)
    texts = [" ".join(rng.choice(WORDS[label].split(), 3)) for label in real]
    codes = [(str(label), str(sex)) for label, sex in zip(said, rng.choice(["f", "m"], n), strict=True)]
    return Corpus(("section", "sex"), texts, codes)


@pytest.fixture(scope="module")
def arms() -> Arms:
    train, heldout, test = (records(n, seed) for n, seed in ((200, 0), (90, 1), (160, 2)))
    return Arms(train, heldout, test, records(120, 3, noise=1.0), records(100, 4), ("section",), ("sex",))


@pytest.fixture(scope="module")
def part(arms: Arms) -> Part:
    return utility_part(arms, 100)


def value(part: Part, name: str, split: str = SYNTHETIC) -> Metric:
    return next(metric for metric in part.metrics if metric.name == name and metric.split == split)


def test_labels_by_chance_teach_nothing_and_true_ones_all(part: Part) -> None:
    worst, best = (value(part, "section: accuracy (micro-F1)", split) for split in (SYNTHETIC, CONTROL))
    assert (worst.value or 1) < 0.7
    assert (
        best.value
        == value(part, "section: macro-F1", HELDOUT).value
        == value(part, "section: macro-F1", "train").value
        == 1
    )
    assert worst.n == 160
    assert "from 90 records of each side" in part.text  # the held-out records are the fewest


def test_what_is_kept_of_the_control(part: Part) -> None:
    kept, own = value(part, "section: share of the control's macro-F1 kept"), value(part, "section: macro-F1", ALL)
    assert kept.value == pytest.approx(own.value)  # the control has 1
    assert 0 < (kept.ci_low or 0) < (kept.value or 0) < (kept.ci_high or 0) < 1


def test_more_records_than_the_held_out_ones_teach_once_more(arms: Arms) -> None:
    """Where 47 % of the labels are right, 300 records teach what 90 do not, and 300 of the control tell the share."""
    more = replace(arms, synthetic=records(400, 5, noise=0.8), control=records(300, 6))
    many = utility_part(more, 20)
    some, everything = (value(many, "section: macro-F1", split).value or 0 for split in (SYNTHETIC, ALL))
    assert some < everything
    assert value(many, "section: macro-F1", ALL_CONTROL).value == 1
    assert value(many, "section: share of the control's macro-F1 kept").value == pytest.approx(everything)
    assert "all 300 that were written" in many.text
    few = utility_part(replace(arms, synthetic=records(60, 5)), 20)
    assert all(metric.split not in (ALL, ALL_CONTROL) for metric in few.metrics)


def test_the_majority_class_by_hand(part: Part, arms: Arms) -> None:
    column = arms.train.column("section")
    commonest = max(sorted(set(column)), key=column.count)
    share = arms.test.column("section").count(commonest) / len(arms.test)
    assert value(part, "section: accuracy (micro-F1)", MAJORITY).value == share
    assert value(part, "section: macro-F1", MAJORITY).value == pytest.approx(2 * share / (1 + share) / 3)


def test_shares_of_groups(part: Part, arms: Arms) -> None:
    share = value(part, "sex: share of f", "train")
    assert share.value == arms.train.column("sex").count("f") / 200
    assert {metric.split for metric in part.metrics if metric.name == "sex: share of f"} == {
        SYNTHETIC,
        CONTROL,
        HELDOUT,
        "train",
    }


def test_groups_are_compared_with_real_records(part: Part) -> None:
    names = {metric.name for metric in part.metrics if metric.split == HELDOUT}
    assert {"section by sex: equalised odds difference", "section by sex: macro-F1 of f"} <= names
    assert len(part.plots) == 2


def test_names_with_their_splits_are_unique(part: Part) -> None:
    keys = [(metric.name, metric.split) for metric in part.metrics]
    assert len(keys) == len(set(keys))


def test_one_class_alone_is_said_not_measured() -> None:
    one = records(40, 0, classes=1)
    part = utility_part(Arms(one, one, one, one, None, ("section",), ()), 10)
    assert part.limits == ["No classifier of section: every test record has the same value."]
    assert not part.metrics


def test_a_side_that_lacks_classes_counts_zero_for_them(arms: Arms) -> None:
    """The synthetic records know one class of three: macro-F1 is a third of that class's F1."""
    part = utility_part(replace(arms, synthetic=records(90, 5, classes=1), control=None, groups=()), 20)
    share = arms.test.column("section").count("bone") / len(arms.test)
    assert value(part, "section: macro-F1").value == pytest.approx(2 * share / (1 + share) / 3)


def test_no_synthetic_record_at_all(arms: Arms) -> None:
    part = utility_part(replace(arms, synthetic=Corpus(("section", "sex"), [], [])), 10)
    assert not part.metrics
    assert part.limits == ["No classifier was trained: a side has no records."]


def test_many_groups_are_added_up(arms: Arms) -> None:
    def wide(corpus: Corpus) -> Corpus:
        return Corpus(corpus.columns, corpus.texts, [(code[0], f"g{i % 20:02}") for i, code in enumerate(corpus.codes)])

    train, heldout, test, synthetic = (wide(side) for side in (arms.train, arms.heldout, arms.test, arms.synthetic))
    part = utility_part(Arms(train, heldout, test, synthetic, None, (), ("sex",)), 10)
    shares = [metric for metric in part.metrics if "share of " in metric.name and metric.split == "train"]
    assert len([metric for metric in shares if metric.name.startswith("sex: share of g")]) == 12
    assert sum(metric.value or 0 for metric in shares if metric.name.startswith("sex: share of ")) == pytest.approx(1)


def test_the_same_seed_gives_the_same_part(arms: Arms, part: Part) -> None:
    assert utility_part(arms, 100).metrics == part.metrics


def test_groups_alone_are_learnt_and_counted(arms: Arms) -> None:
    part = utility_part(replace(arms, labels=()), 10)
    names = {metric.name for metric in part.metrics if metric.split == SYNTHETIC}
    assert {"sex: macro-F1", "sex: share of f", "sex: share of m"} <= names
    assert not any("by sex" in name for name in names)
    assert part.limits == ["No label was named (labels), so nothing is said of errors by group."]


def test_without_labels_and_groups_nothing_is_learnt_and_that_is_said(arms: Arms) -> None:
    part = utility_part(replace(arms, labels=(), groups=()), 10)
    assert not part.metrics
    assert part.limits == ["No classifier was trained: there are no labels or groups."]
