import html
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from upright.run.evidence import Metric, display, interval, proportion, scalar
from upright.run.manifest import Manifest
from upright.run.plots import forest
from upright.run.report import Report, link

VOID = {"meta", "br", "hr", "img", "input", "link"}
METRICS = [
    proportion("efficacy", 2, 100, stage="before"),
    proportion("efficacy", 96, 100, stage="after"),
    proportion("efficacy", 60, 100, stage="before", split="far"),
    proportion("efficacy", 61, 100, stage="after", split="far"),
    proportion("specificity", 95, 100, stage="before"),
    proportion("specificity", 70, 100, stage="after"),
    scalar("edit_time", 48.25, unit="s"),
    scalar("never measured", None, n=0),
]


class Outline(HTMLParser):
    """Collects the text and checks that every tag is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.text: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.text.append(data)


def written(report: Report, tmp_path: Path, metrics: list[Metric] | None = None) -> tuple[str, str]:
    """The page and its text with single spaces."""
    path = tmp_path / "report.html"
    report.write(path, "upright edit --model m --facts 'a b.jsonl'", METRICS if metrics is None else metrics)
    page = path.read_text()
    outline = Outline()
    outline.feed(page)
    assert outline.open == []
    return page, " ".join(" ".join(outline.text).split())


def test_every_number_is_in_the_report(tmp_path: Path) -> None:
    _, text = written(Report("Edit", "It worked.").table(METRICS[:2]), tmp_path)
    for metric in METRICS:
        assert display(metric.value, metric.unit) in text
        assert metric.name.replace("_", " ") in text
        if metric.stage != "before":
            assert interval(metric) in text
    assert "+94.0 points" in text
    assert "−25.0 points" in text


def test_a_row_stands_in_one_table_only(tmp_path: Path) -> None:
    _, text = written(Report("Edit", "It worked.", headline=["edit_time"]).table(METRICS), tmp_path)
    assert text.count("+94.0 points") == 1
    assert "Measurements" not in text
    assert "Other measurements" not in text


def named(*families: tuple[str, int]) -> list[Metric]:
    return [proportion(f"{name}, {i}", i, 200) for name, count in families for i in range(count)]


def test_a_long_table_is_folded_by_families_and_whole(tmp_path: Path) -> None:
    metrics = named(("accuracy", 30), ("recall", 29), ("odd", 2))
    page, text = written(Report("Audit", "All.", headline=None).table(metrics, "A caption."), tmp_path, metrics)
    assert re.findall(r"<details( open)?>\s*<summary>(\w+) <span class=\"count\">(\d+)<", page) == [
        (" open", "accuracy", "30"),
        ("", "recall", "29"),
        ("", "others", "2"),
    ]
    assert page.count('<th scope="row">') == len(metrics)
    assert text.count("A caption.") == 1
    assert "Other measurements" not in text


def test_tables_of_a_screen_or_two_are_not_folded(tmp_path: Path) -> None:
    page, _ = written(Report("Audit", "All.", headline=None), tmp_path, named(("accuracy", 30), ("recall", 30)))
    assert "<details" not in page
    unlike = named(*((f"m{i}", 1) for i in range(90)))  # no families that could be told apart
    page, _ = written(Report("Audit", "All.", headline=None), tmp_path, unlike)
    assert "<details" not in page
    assert page.count('<th scope="row">') == 90


def test_a_table_may_stand_in_a_fold(tmp_path: Path) -> None:
    page, text = written(Report("Edit", "It worked.").table(METRICS, "A caption.", fold="all <numbers>"), tmp_path)
    assert re.search(r"<details>\s*<summary>all &lt;numbers&gt; <span class=\"count\">5<", page)
    assert text.count("+94.0 points") == text.count("A caption.") == 1


def test_terms_are_a_list_that_needs_no_header(tmp_path: Path) -> None:
    evil = "<b>x</b>"
    page, text = written(Report("Edit", "It worked.").terms({"unit": "one record", "n": 7, evil: evil}), tmp_path)
    assert "unit one record n 7" in text
    assert evil not in page
    assert page.count("<dt>") == 3


def test_only_changes_beyond_the_intervals_are_coloured(tmp_path: Path) -> None:
    page, _ = written(Report("Edit", "It worked."), tmp_path)
    shown = dict(re.findall(r'<span class="(better|worse|unclear)">([^<]+)</span>', page))
    assert shown == {"better": "+94.0 points", "unclear": "+1.0 points", "worse": "−25.0 points"}


def test_the_page_needs_nothing_from_outside(tmp_path: Path) -> None:
    report = Report("Edit", "It worked.").plot(forest(METRICS[:4], alt="Before and after"), "Caption.")
    page, _ = written(report, tmp_path)
    assert not re.search(r"https?:|//[a-z]|@import|<link|<script|<iframe|\bsrc=", page)
    assert set(re.findall(r'(?:href="|url\()([^")]+)', page)) <= {f"#{i}" for i in re.findall(r'id="([^"]+)"', page)}


def test_blocks_keep_their_order(tmp_path: Path) -> None:
    report = Report("Edit", "The claim.")
    report.section("First", "Some words.").table(METRICS[:2], "Caption of a table.")
    report.section("Second").examples([{"prompt": "p1", "answer": 7}], "Caption of examples.")
    report.limits(["A limit."]).facts({"epsilon": 2.0})
    _, text = written(report, tmp_path)
    marks = [
        "The claim.",
        "First",
        "Some words.",
        "Caption of a table.",
        "Second",
        "p1",
        "A limit.",
        "epsilon 2.0",
    ]
    places = [text.rindex(mark) for mark in marks]
    assert places == sorted(places)
    assert "upright edit \\ --model m \\ --facts 'a b.jsonl'" in text


def test_what_users_bring_is_escaped(tmp_path: Path) -> None:
    evil = "<script>alert('x')</script>"
    page, _ = written(Report(evil, evil).section(evil, evil).examples([{evil: evil}], evil).limits([evil]), tmp_path)
    assert evil not in page
    assert html.escape(evil, quote=False).replace("'", "&#39;") in page


def test_headlines_are_named_or_the_first_changes(tmp_path: Path) -> None:
    page, _ = written(Report("Edit", "Claim."), tmp_path)
    assert page.count('class="card"') == 3
    page, _ = written(Report("Edit", "Claim.", headline=["edit_time"]), tmp_path)
    assert page.count('class="card"') == 1
    with pytest.raises(ValueError, match="headline names no metric: speed"):
        written(Report("Edit", "Claim.", headline=["speed"]), tmp_path)


def test_a_card_draws_the_interval_to_scale(tmp_path: Path) -> None:
    # Wilson of 96/100 is 0.9016 to 0.9843, on a scale from 0 to 1
    page, _ = written(Report("Edit", "Claim."), tmp_path, METRICS[:2])
    assert 'class="track after"><i style="left:90.16%;width:8.27%"></i><b style="left:96.0%">' in page


def test_dropped_rows_are_counted(tmp_path: Path) -> None:
    blank = dict.fromkeys(("command", "config_digest", "platform", "started"), "")
    facts = {"verb": "edit", "status": "running", "argv": [], "seed": 3, "versions": {}, "dropped": 2}
    record = Manifest.model_validate({**blank, **facts})
    report = Report("Edit", "Claim.").budget(record, [{"stage": "read", "reason": "no subject"}] * 2)
    _, text = written(report, tmp_path)
    assert "2 rows dropped, read: no subject" in text
    assert "seed 3" in text


def test_no_metrics_give_no_empty_table(tmp_path: Path) -> None:
    page, _ = written(Report("Edit", "Claim."), tmp_path, [])
    assert "<table" not in page


def test_a_link_leads_to_the_web_only_and_is_escaped(tmp_path: Path) -> None:
    page = Report("Ask", "One fact.", headline=None)
    page.section("Facts").examples(
        [{"of": link("A & B", "https://example.org/?a=1&b=2"), "is": link("<c>", "javascript:x")}]
    )
    page.write(tmp_path / "report.html", "upright ask")
    text = (tmp_path / "report.html").read_text()
    assert '<a href="https://example.org/?a=1&amp;b=2">A &amp; B</a>' in text
    assert "&lt;c&gt;" in text
    assert "javascript" not in text


def test_a_report_may_have_no_cards(tmp_path: Path) -> None:
    found = [scalar("calls", 12)]
    for headline, cards in (((), 1), (None, 0)):
        Report("Ask", "One.", headline).write(tmp_path / "report.html", "upright ask", found)
        assert (tmp_path / "report.html").read_text().count('class="card"') == cards
