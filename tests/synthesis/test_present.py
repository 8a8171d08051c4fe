"""The page of a run: its claim, what it says of the guarantee, and that real records stay out."""

import random
from pathlib import Path
from typing import Any

import pytest

from upright.models.chat import Spent
from upright.run.evidence import Metric, proportion, scalar
from upright.synthesis import page
from upright.synthesis.config import Config
from upright.synthesis.corpus import Corpus
from upright.synthesis.drawings import beside
from upright.synthesis.evaluation.audited import AUDITED
from upright.synthesis.evaluation.canaries import CERTIFIED, TOLD
from upright.synthesis.evaluation.neighbours import CLOSER
from upright.synthesis.evaluation.part import CONTROL, HELDOUT, SYNTHETIC, TEST, Part
from upright.synthesis.page import MEMBERSHIP, REAL, TELLING
from upright.synthesis.present import WRITTEN, calls, claim, report
from upright.synthesis.release import statement
from upright.training.private import Certificate

CERTIFICATE = Certificate(2.0, 2.5, 1e-3, 7, 9, 0.25, 1.5, 0.5, {"counts": 1}, True)
REAL_TEXT, SYNTHETIC_TEXT = "Anna Berg has had a cough.", "The knee is swollen."


def config(**more: Any) -> Config:
    return Config(**{"data": Path("notes.csv"), "out": Path("run"), "labels": ["kind"], "unit": "who", **more})


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


def value(name: str, split: str, value: float, half: float = 0.1) -> Metric:
    return Metric(name=name, split=split, value=value, n=40, ci_low=value - half, ci_high=value + half)


def measured(told: float = 0.5, audited: float = 0.0) -> list[Metric]:
    return [
        proportion("kind: macro-F1", 20, 40, split=SYNTHETIC),
        proportion("kind: macro-F1", 25, 40, split=CONTROL),
        proportion("kind: macro-F1", 30, 40, split=HELDOUT),
        value("kind: share of the control's macro-F1 kept", SYNTHETIC, 0.8),
        value(CLOSER, SYNTHETIC, 0.52),
        value(CLOSER, TEST, 0.5),
        value(MEMBERSHIP, SYNTHETIC, 0.48),
        value(TOLD, SYNTHETIC, told),
        value(TOLD, CONTROL, 0.9),
        scalar(AUDITED, audited, split=SYNTHETIC, n=40),
        scalar(CERTIFIED, 2.0, split=SYNTHETIC, n=40),
    ]


def released() -> list[Metric]:
    return [scalar("epsilon", 2.0, n=50), scalar("delta", 1e-3, n=50), proportion(WRITTEN, 11, 12)]


def said(settings: Config, found: list[Metric], earned: Certificate | None = CERTIFICATE) -> str:
    return plain(claim(settings, statement(settings, earned, 50), [*released(), *found]))


# --- the claim -------------------------------------------------------------------------------------------------


def test_the_claim_holds_the_numbers_of_the_metrics() -> None:
    assert said(config(), measured()) == (
        "11 of 12 synthetic records were written with ε = 2 at δ = 0.001 for each who: a classifier of kind that "
        "learns from them has a macro-F1 of 50.0 %, 80 % of the control's; canaries are at chance (AUC 0.5, 0.4 to "
        "0.6)."
    )


def test_the_claim_says_only_what_was_measured() -> None:
    assert said(config(), []) == "11 of 12 synthetic records were written with ε = 2 at δ = 0.001 for each who."


def test_a_refuted_certificate_is_said_before_all_else_of_canaries() -> None:
    found = said(config(), measured(told=0.9, audited=3.25))
    assert "canaries refute the certificate, with an ε of 3.25 at least" in found
    assert "chance" not in found
    part = Part("Canaries", "", measured(told=0.9, audited=3.25))
    made = report(config(), statement(config(), CERTIFICATE, 50), released(), [part], [], [])
    assert "must not be released" in made._blocks[0].content["paragraphs"][1]


def test_canaries_above_chance_and_without_power() -> None:
    assert "canaries are told apart above chance (AUC 0.7" in said(config(), measured(told=0.7))
    powerless = [m for m in measured() if (m.name, m.split) != (TOLD, CONTROL)] + [value(TOLD, CONTROL, 0.55)]
    assert said(config(), powerless).endswith("0.4 to 0.6), but so they are without privacy.")


def test_a_void_guarantee_is_not_claimed() -> None:
    seeded = Certificate(2.0, 2.5, 1e-3, 7, 7, 0.25, 1.5, 0.5, {}, False)
    settings = config(tune={"chance": "seeded"})
    assert "for each who, a guarantee that is void here" in said(settings, [], seeded)
    made = report(settings, statement(settings, seeded, 50), released(), [], [], [])
    assert made.headline is None
    assert "with no formal guarantee." in said(config(generator="prompted"), [], None)


# --- the guarantee ---------------------------------------------------------------------------------------------


def facts(settings: Config, earned: Certificate | None) -> dict[str, str]:
    return {fact: plain(said) for fact, said in page.guarantee(settings, statement(settings, earned, 50)).items()}


def test_the_facts_of_a_tuned_generator() -> None:
    found = facts(config(groups=["sex"], codes={"values": {"kind": ["a", "b"]}}), CERTIFICATE)
    assert "e^ε = 7.4" in found["what holds"]
    assert found["protected unit"] == "all records with the same 'who'"
    assert found["accountant"] == "privacy-loss distributions: ε = 2, which counts; Rényi orders: ε = 2.5"
    assert found["steps"].startswith("7 taken of 9 planned")
    assert "0.25" in found["sample rate"]
    assert "1.5 ×" in found["noise"]
    assert found["queries"].startswith("counts (1 ×)")
    assert "kind (codes.values)" in found["taken as public"]
    assert "values of sex as they stand in the data" in found["taken as public"]


def test_the_facts_of_other_generators() -> None:
    counted = Certificate(2.0, 2.5, 1e-3, 0, 0, 1.0, 3.0, 1.0, {"counts": 1, "votes": 5}, True)
    found = facts(config(generator="evolution"), counted)
    assert not found.keys() & {"steps", "sample rate", "clipping"}
    assert found["queries"].startswith("counts (1 ×), votes (5 ×)")
    prompted = facts(config(generator="prompted", unit=None), None)
    assert prompted["what holds"] == "Nothing: the generator 'prompted' has no formal guarantee."
    assert not prompted.keys() & {"accountant", "queries", "chance"}


@pytest.mark.parametrize("epsilon", [1e-3, 2.302585, 8.0, 20.0, 20.1, 1e6])
def test_the_factor_of_the_odds_is_short(epsilon: float) -> None:
    assert len(page._factor(epsilon)) <= 11


# --- measures by side ------------------------------------------------------------------------------------------


def test_sides_stand_beside_each_other_with_intervals() -> None:
    rows = page.by_side([value("x", HELDOUT, 2), value("x", SYNTHETIC, 1), value("y", "train", 1)])
    assert [{key: plain(cell) for key, cell in row.items()} for row in rows] == [
        {"measure": "x", "synthetic": "1 (0.9 to 1.1)", "held-out": "2 (1.9 to 2.1)"}
    ]


def test_a_measure_that_found_nothing_has_no_row_and_stands_in_the_fold(tmp_path: Path) -> None:
    none = [scalar("x", None, split=side, n=0) for side in (SYNTHETIC, CONTROL)]
    half = [scalar("y", None, split=SYNTHETIC, n=0), scalar("y", 2.0, split=CONTROL)]
    assert [row["measure"] for row in page.by_side([*none, *half])] == ["y"]
    made = report(config(), statement(config(), CERTIFICATE, 50), released(), [Part("A part", "", none + half)], [], [])
    made.write(tmp_path / "report.html", "upright synthesize", [*released(), *none, *half])
    assert "<details>" in (tmp_path / "report.html").read_text()


def test_all_numbers_of_a_part_stand_in_its_fold(tmp_path: Path) -> None:
    many = [scalar(f"m{i}", i + 0.5, split=side, n=1000 + i) for i in range(40) for side in (SYNTHETIC, "train")]
    made = report(config(), statement(config(), CERTIFICATE, 50), released(), [Part("A part", "", many)], [], [])
    made.write(tmp_path / "report.html", "upright synthesize", [*released(), *many])
    body, fold = (tmp_path / "report.html").read_text().split("all numbers of this section")
    assert body.count(">1.5<") == 1
    assert all(f">{1000 + i:,}<" in fold for i in range(40))
    assert "<details>" in body


def test_telling_measures_come_first() -> None:
    others = [scalar(f"m{i}", 1.0, split=SYNTHETIC) for i in range(30)]
    rows = page.by_side([*others, *measured()])
    assert rows[0]["measure"] == "kind: macro-F1 ↑"
    assert all(any(known in row["measure"] for known in TELLING) for row in rows[:7])
    assert len(rows) == page.ROWS


def test_test_records_stand_for_real_ones_where_held_out_ones_are_the_measure() -> None:
    found = {figure.label.split()[0]: dict(figure.sides) for figure in page.main_figures(config(), measured())}
    assert found.keys() == {"macro-F1", "nearer", "membership"}
    assert found["nearer"][HELDOUT].split == TEST
    assert beside(page.main_figures(config(), measured())).count("<svg") == 2


def cut_off(share: float, **more: Any) -> str:
    """What the section of the records says first."""
    numbers = [proportion(page.UNENDED, round(200 * share), 200, better="lower")]
    settings = config(sampling={"tokens": 48}, **more)
    made = report(settings, statement(settings, CERTIFICATE, 50), released() + numbers, [], [], [])
    section = next(b for b in made._blocks if b.content.get("title") == "Some of the records")
    return plain(section.content["paragraphs"][0])


def test_many_records_without_an_end_are_told_with_what_to_do() -> None:
    assert cut_off(0.12) == (
        "12.0 % of the records were cut off before their end: raise sampling.tokens=48, and tune.tokens=256 with it."
    )
    assert cut_off(0.12, generator="ngrams").endswith("raise sampling.tokens=48.")
    assert "cut off" not in cut_off(0.05)


def test_calls_of_a_chat_model_are_facts_of_the_budget() -> None:
    assert calls(Spent()) == {}
    assert calls(Spent(calls=1200, seconds=7.25)) == {"chat calls": "1,200 in 7.25 s, waiting times added up"}
    assert calls(Spent(calls=2, cached=3, failed=1, seconds=0.5))["chat calls"] == (
        "2 in 0.5 s, waiting times added up; 3 more were answered from the cache; 1 failed"
    )


# --- examples and the whole page -------------------------------------------------------------------------------


def corpora() -> tuple[Corpus, Corpus]:
    columns = ("kind",)
    return (
        Corpus(columns, [SYNTHETIC_TEXT, "b", "c"], [("knee",), ("lung",), ("lung",)]),
        Corpus(columns, [REAL_TEXT], [("knee",)]),
    )


def drawn(settings: Config) -> list[dict[str, str]]:
    return page.examples(settings, *corpora(), random.Random(0))


def test_one_example_of_a_code_and_no_real_record_unasked() -> None:
    rows = drawn(config())
    assert sorted(row["kind"] for row in rows) == ["knee", "lung"]
    assert all(row.keys() == {"kind", "synthetic"} for row in rows)
    assert rows == drawn(config())


def test_real_records_of_the_same_code_on_request() -> None:
    found = {row["kind"]: row[REAL] for row in drawn(config(show_real=True))}
    assert found == {"knee": REAL_TEXT, "lung": "(no held-out record has this code)"}


def test_records_without_codes_and_no_records() -> None:
    plain_texts = Corpus((), [f"text {i}" for i in range(9)], [()] * 9)
    rows = page.examples(config(labels=[]), plain_texts, plain_texts, random.Random(1))
    assert len({row["synthetic"] for row in rows}) == page.SHOWN
    assert page.examples(config(), Corpus(("kind",), [], []), plain_texts, random.Random(1)) == []


@pytest.mark.parametrize("show", [False, True])
def test_the_page_says_whether_it_may_leave_the_house(tmp_path: Path, show: bool) -> None:
    settings = config(show_real=show)
    part = Part("A part", "What was done.", measured(), limits=["It saw little."])
    made = report(settings, statement(settings, CERTIFICATE, 50), released(), [part], drawn(settings), ["Few steps."])
    made.write(tmp_path / "report.html", "upright synthesize", [*released(), *measured()])
    html = plain((tmp_path / "report.html").read_text())
    assert (REAL_TEXT in html) == show
    assert "must not leave the house" in html
    assert ("left out on purpose" in html) != show
    assert "A part: It saw little." in html
    assert "only synthetic.parquet, synthetic.csv, certificate.json and adapter/ may be handed over" in html
    assert html.count('<li class="card">') == 4


def test_a_page_without_comparisons_has_no_plot(tmp_path: Path) -> None:
    settings = config(labels=[], generator="prompted")
    made = report(settings, statement(settings, None, 50), released()[2:], [], [], [])
    made.write(tmp_path / "report.html", "upright synthesize", released()[2:])
    html = (tmp_path / "report.html").read_text()
    assert "<svg" not in html
    assert "nor does one cover the records here" in html
