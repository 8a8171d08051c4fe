import json
import tomllib
from pathlib import Path

import pytest

from benchmarks.edit_counterfact import CounterFact, matched, read, words, write_world
from upright.knowledge.changes import check_changes, read_changes
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.relations import Relations
from upright.knowledge.verbalise import taught


def _row(subject: str, template: str, old: str, new: str, rephrase: str, bystander: tuple[str, str]) -> dict[str, str]:
    return {
        "subject": subject,
        "prompt": template.replace("{}", subject),
        "ground_truth": old,
        "target_new": new,
        "rephrase_prompt": rephrase,
        "locality_prompt": bystander[0],
        "locality_ground_truth": bystander[1],
    }


ROWS = [
    _row("Alma", "{} lives in", "Oslo", "Rome", "Rain fell. The home of Alma is", ("Berta lives in", "Oslo")),
    _row("Carl", "The home of {} is", "Bern", "Rome", "Snow. Carl lives in", ("The home of Dora is", "Bern")),
    _row("Alma", "{} lives in", "Oslo", "Bern", "Wind. Alma dwells at", ("Unlike any form", "Oslo")),
    _row("Emil", "{} lives in", "Rome", "Oslo", "Fog. The home of Emil is", ("Alma lives in", "Oslo")),
]


@pytest.fixture
def data(tmp_path: Path) -> CounterFact:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS), encoding="utf-8")
    return read(path)


def test_prompt_paraphrase_and_bystander_become_facts_of_their_templates(data: CounterFact) -> None:
    assert data.facts == {
        ("Alma", "{} lives in"): "Oslo",
        ("Alma", "The home of {} is"): "Oslo",
        ("Carl", "{} lives in"): "Bern",
        ("Carl", "The home of {} is"): "Bern",
        ("Emil", "{} lives in"): "Rome",
        ("Emil", "The home of {} is"): "Rome",
        ("Berta", "{} lives in"): "Oslo",
        ("Dora", "The home of {} is"): "Bern",
    }


def test_repeated_edits_and_edited_bystanders_are_left_out_and_counted(data: CounterFact) -> None:
    assert [(case.subject, case.new) for case in data.edited] == [("Alma", "Rome"), ("Carl", "Rome")]
    assert sorted(data.left_out.values()) == [1, 1, 2]  # Emil's bystander is Alma; Alma again; two prompts fit nothing


def test_the_longest_template_wins() -> None:
    templates = ["The home of {} is", "{} is"]
    assert matched("The home of Alma is", templates) == ("Alma", "The home of {} is")
    assert matched("Alma is", templates) == ("Alma", "{} is")
    assert matched(" is", ["{} is"]) is None


def test_the_written_world_can_be_taught_and_edited(data: CounterFact, tmp_path: Path) -> None:
    changes = write_world(data, tmp_path / "world")
    graph = open_graph([str(tmp_path / "world")])
    relations = open_relations([str(tmp_path / "world")], graph)
    report = check_changes(read_changes(changes), graph, relations)
    assert not report.problems
    assert report.accepted[0].meta == {"prompt": "{} lives in"}
    assert len(taught(graph, relations)) == len(data.facts)


def test_every_form_ends_in_the_template_and_held_out_openings_are_never_taught() -> None:
    relations = Relations.parse(tomllib.loads(words(['Where is "{}"? In', "{} lives in"])))
    for kind in ("statement", "question"):
        teach = {p.text for p in relations.fact_prompts("_ lives in", "Alma", "teach", kind)}
        measure = {p.text for p in relations.fact_prompts("_ lives in", "Alma", "measure", kind)}
        assert all(text.endswith("Alma lives in") for text in teach | measure)
        assert not teach & measure
    assert "Alma lives in" in {p.text for p in relations.fact_prompts("_ lives in", "Alma", "edit", "statement")}
