import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import edit_mquake
from benchmarks.edit_mquake import WORDINGS, Sheet, case_metrics, groups, joined, questions
from benchmarks.mquake_data import LEAST, MQuake, first_of_each, invented, read, write_world
from upright.knowledge.changes import check_changes, read_changes
from upright.knowledge.files import open_graph, open_relations
from upright.knowledge.graph import Edge, follow
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import Relations

LABELS = {"n1": "Alma", "n2": "Alma", "a": "Oslo", "b": "Rome", "c": "Bern"}


def test_of_two_claims_that_read_the_same_the_first_stands() -> None:
    first, again, homonym = Edge("n1", "P19", "a"), Edge("n1", "P19", "b"), Edge("n2", "P19", "c")
    other, same = Edge("n1", "P20", "b"), Edge("n2", "P19", "a")
    assert first_of_each([first, again, homonym, other, same, first], LABELS) == [first, other, same]


def _row(number: int, head: str, places: tuple[str, str], speaks: tuple[str, str, str, str]) -> dict[str, Any]:
    """A two-hop case: where somebody is a citizen, and what is spoken there, before and after."""
    old, new = places
    old_language, new_language, true_of_new, subject = speaks
    hop = {"question": "?", "answer_alias": []}
    return {
        "case_id": number,
        "requested_rewrite": [
            {"relation_id": "P27", "subject": subject, "target_true": _named(old), "target_new": _named(new)},
            {
                "relation_id": "P37",
                "subject": new,
                "target_true": _named(true_of_new),
                "target_new": _named(new_language),
            },
        ],
        "questions": ["q1?", "q2?", "q3?"],
        "answer": old_language,
        "answer_alias": [],
        "new_answer": new_language,
        "new_answer_alias": ["alias"],
        "single_hops": [hop | {"answer": old, "cloze": "x"}, hop | {"answer": old_language, "cloze": "y"}],
        "new_single_hops": [hop | {"answer": new, "cloze": "x"}, hop | {"answer": new_language, "cloze": "z"}],
        "orig": {
            "triples": [[head, "P27", old.lower()], [old.lower(), "P37", old_language.lower()]],
            "triples_labeled": [[subject, "citizen", old], [old, "language", old_language]],
            "new_triples": [[head, "P27", new.lower()], [new.lower(), "P37", new_language.lower()]],
            "new_triples_labeled": [[subject, "citizen", new], [new, "language", new_language]],
            "edit_triples": [[head, "P27", new.lower()], [new.lower(), "P37", new_language.lower()]],
        },
    }


def _named(label: str) -> dict[str, str]:
    return {"id": label.lower(), "str": label}


@pytest.fixture
def data(tmp_path: Path) -> MQuake:
    """Two cases that agree, and a third whose head is a homonym of the first with another new country."""
    rows = [
        _row(1, "n1", ("Norway", "Italy"), ("Norwegian", "Latin", "Italian", "Alma")),
        _row(2, "n3", ("Norway", "Italy"), ("Norwegian", "Latin", "Italian", "Berta")),
        _row(3, "n2", ("Norway", "Peru"), ("Norwegian", "Quechua", "Spanish", "Alma")),
    ]
    path = tmp_path / "cases.json"
    path.write_text(json.dumps(rows), encoding="utf-8")
    return read(path)


def test_the_world_before_holds_the_true_object_of_every_edit(data: MQuake) -> None:
    assert Edge("italy", "P37", "italian") in data.facts  # no chain before the edits passes there
    assert Edge("n1", "P27", "norway") in data.facts
    assert Edge("italy", "P37", "latin") in data.edits


def test_a_homonym_with_another_target_is_left_out_with_its_case_and_counted(data: MQuake) -> None:
    assert Edge("n1", "P27", "italy") in data.edits
    assert Edge("n2", "P27", "peru") not in data.edits
    assert [case.number for case in data.cases] == [1, 2]
    assert list(data.left_out.values()) == [1, 1]


def test_chains_to_teach_are_all_runs_inside_the_cases_paths(data: MQuake) -> None:
    assert data.chains == [("P27", "P37")]


def test_the_written_graph_leads_to_old_answers_and_with_its_changes_to_new_ones(data: MQuake, tmp_path: Path) -> None:
    changes = write_world(data, tmp_path / "world")
    graph = open_graph([str(tmp_path / "world")])
    relations = open_relations([str(tmp_path / "world")], graph)
    report = check_changes(read_changes(changes), graph, relations)
    assert not report.errors
    overlay = Overlay(graph, report.accepted, relations)
    for case in data.cases:
        before, after = follow(graph, case.head, case.path), follow(overlay, case.head, case.path)
        assert before is not None
        assert after is not None
        assert data.labels[before[-1]] == case.old[0]
        assert data.labels[after[-1]] == case.new[0]


def test_every_object_old_or_new_answers_a_fact_of_an_invented_subject(data: MQuake) -> None:
    facts, labels = invented(data)
    answered = {(edge.relation, edge.tail) for edge in facts}
    assert answered == {(edge.relation, edge.tail) for edge in (*data.facts, *data.edits)}
    for relation in ("P27", "P37"):
        objects = len({tail for name, tail in answered if name == relation})
        assert LEAST <= sum(edge.relation == relation for edge in facts) < LEAST + objects
    names = [labels[edge.head] for edge in facts]
    assert len(set(names)) == len(names)
    assert not set(names) & set(data.labels.values())
    assert (facts, labels) == invented(data)


def test_questions_come_as_they_stand_and_in_words_never_taught(data: MQuake, tmp_path: Path) -> None:
    write_world(data, tmp_path / "world")
    relations = Relations.load(tmp_path / "world" / "relations.toml")
    own, framed = questions(data, relations).values()
    assert own[0] == ["Question: q1? Answer:", "Question: q2? Answer:", "Question: q3? Answer:"]
    case = data.cases[0]
    taught = {p.text for p in relations.chain_prompts(case.path, data.labels[case.head], "teach", "question")}
    assert len(set(framed[0])) == 3
    assert not set(framed[0]) & taught
    assert all("Alma" in prompt for prompt in framed[0])


def test_any_of_three_and_mean_by_hand() -> None:
    rows = [[False, True, False], [False, False, False], [True, True, True]]
    any_of, mean_of = case_metrics(rows, [True, True, False], "all")
    assert (any_of.value, any_of.n) == (0.5, 2)  # (0,1,0) counts, (0,0,0) does not, the third is not asked
    assert mean_of.value == pytest.approx(1 / 6)
    empty = case_metrics(rows, [False] * 3, "none")
    assert [metric.value for metric in empty] == [None, None]


def test_groups_hold_the_edits_their_cases_need(data: MQuake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(edit_mquake, "GROUP", 1)
    first, second = groups(data)
    assert ([case.number for case in first.cases], [case.number for case in second.cases]) == ([1], [2])
    assert first.edits == [Edge("n1", "P27", "italy"), Edge("italy", "P37", "latin")]
    assert second.edits == [Edge("italy", "P37", "latin"), Edge("n3", "P27", "italy")]


def test_answers_of_groups_are_joined_and_a_shared_cloze_must_be_right_in_all() -> None:
    chains = {name: [[True, False, False]] for name in WORDINGS}
    whole = joined([Sheet(chains, {"x": True, "y": True}, [True]), Sheet(chains, {"x": False, "z": True}, [False])])
    assert whole.chains[WORDINGS[0]] == [[True, False, False]] * 2
    assert whole.clozes == {"x": False, "y": True, "z": True}
    assert whole.written == [True, False]
