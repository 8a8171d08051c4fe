import json
from collections import Counter
from pathlib import Path

import pytest

from upright.errors import UserError
from upright.knowledge.changes import FactChange, check_changes, counterfactuals, read_changes, write_changes
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.relations import Relations

GOOD = {"subject": "France", "relation": "currency", "object": "euro", "was": "franc", "year": 2002}


def written(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "changes.jsonl"
    path.write_text("\n".join(row if isinstance(row, str) else json.dumps(row) for row in rows))
    return path


def change(subject: str, relation: str, tail: str, was: str | None = None, where: str = "") -> FactChange:
    return FactChange(subject=subject, relation=relation, object=tail, was=was, where=where)


def test_read_keeps_extra_fields_and_places(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD, "", {"subject": " Mali ", "relation": "capital", "object": "Bamako"})
    first, second = read_changes(path)
    assert (first.subject, first.was, first.meta) == ("France", "franc", {"year": 2002})
    assert (second.subject, second.was, second.where) == ("Mali", None, f"{path}:3")
    assert str(second) == f"{path}:3: capital of Mali = Bamako"


def test_written_changes_are_read_back(tmp_path: Path) -> None:
    changes = [
        change("a\u2028b", "r", 'c "d"', was="é"),
        FactChange(subject="a", relation="r", object="b", meta={"n": [1]}),
    ]
    write_changes(tmp_path / "out.jsonl", changes)
    assert [one.row() for one in read_changes(tmp_path / "out.jsonl")] == [one.row() for one in changes]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"subject": "a", ', "changes.jsonl:7: is not JSON"),
        ("[1]", "changes.jsonl:7: got a list; give an object"),
        ({"subject": "a", "relation": "r"}, "changes.jsonl:7: 'object' is missing, got subject, relation; give {"),
        ({**GOOD, "object": 12}, "changes.jsonl:7: object: got 12; give"),
        ({**GOOD, "subject": " "}, "changes.jsonl:7: subject: got ' '; give"),
        ({**GOOD, "was": ["franc"]}, "changes.jsonl:7: was: got \\['franc'\\]; give"),
    ],
)
def test_the_first_bad_row_is_named(tmp_path: Path, row: object, message: str) -> None:
    with pytest.raises(UserError, match=message):
        read_changes(written(tmp_path, *[GOOD] * 6, row, "also bad"))


def test_unreadable_files(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="holds no changes"):
        read_changes(written(tmp_path, ""))
    with pytest.raises(UserError, match="cannot be read"):
        read_changes(tmp_path / "none.jsonl")
    path = tmp_path / "latin.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n\xe9\n")
    with pytest.raises(UserError, match=r"latin\.jsonl:2: is not UTF-8"):
        read_changes(path)


def test_good_changes_are_accepted(graph: MemoryGraph, relations: Relations) -> None:
    good = [change("France", "currency", "mark", was="franc"), change("mark", "code", "DEX")]
    report = check_changes(good, graph, relations)
    assert report.accepted == tuple(good) == report.require()
    assert report.problems == ()


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        (change("France", "capitl", "Lyon"), "unknown relation 'capitl'"),
        (change("Frence", "capital", "Lyon"), "unknown subject 'Frence'; did you mean 'France'"),
        (change("Xyz", "capital", "Lyon"), "unknown subject 'Xyz'"),
    ],
)
def test_errors(graph: MemoryGraph, relations: Relations, bad: FactChange, message: str) -> None:
    report = check_changes([bad, change("Germany", "capital", "Paris")], graph, relations)
    assert [one.subject for one in report.accepted] == ["Germany"]
    assert [problem.change for problem in report.errors] == [bad]
    assert message in str(report.errors[0])
    with pytest.raises(UserError, match="capit"):
        report.require()


def test_a_contradiction_names_both_lines(graph: MemoryGraph, relations: Relations) -> None:
    rivals = [
        change("France", "capital", "Berlin", where="x:2"),
        change("France", "capital", "Paris", where="x:9"),
    ]
    report = check_changes([*rivals, change("France", "borders", "Germany")], graph, relations)
    assert [one.relation for one in report.accepted] == ["borders"]
    assert str(report.errors[0]) == (
        "x:2: capital of France = Berlin: contradicts x:9: capital of France = Paris; keep one of the two"
    )


def test_many_valued_changes_do_not_contradict(graph: MemoryGraph, relations: Relations) -> None:
    pair = [change("France", "borders", "Germany"), change("France", "borders", "Paris")]
    assert check_changes(pair, graph, relations).accepted == tuple(pair)


@pytest.mark.parametrize(
    ("odd", "message"),
    [
        (
            [change("France", "capital", "Berlin", where="x:1"), change("France", "capital", "Berlin")],
            "repeats x:1",
        ),
        ([change("France", "capital", "Berlin", was="Lyon")], "was 'Lyon', but the graph says Paris"),
        ([change("France", "capital", "Paris")], "the graph holds this fact already"),
        ([change("France", "capital", "Lyon")], "object 'Lyon' is new to the graph"),
    ],
)
def test_warnings(graph: MemoryGraph, relations: Relations, odd: list[FactChange], message: str) -> None:
    report = check_changes(odd, graph, relations)
    assert report.accepted == (odd[0],)
    assert [problem.severity for problem in report.problems] == ["warning"]
    assert message in report.problems[0].message


def test_several_objects_are_announced(relations: Relations) -> None:
    graph = MemoryGraph([("a", "capital", "b"), ("a", "capital", "c"), ("d", "capital", "e")])
    report = check_changes([change("a", "capital", "e")], graph, relations)
    assert [problem.message for problem in report.warnings] == ["replaces 2 objects: b, c"]


def test_names_become_ids() -> None:
    facts = [("Q1", "P36", "Q2"), ("Q3", "P36", "Q4"), ("Q5", "P36", "Q4"), ("Q9", "P9", "France")]
    labels = {
        "Q1": "France",
        "Q2": "Paris",
        "Q3": "Georgia",
        "Q4": "Tiflis",
        "Q5": "Georgia",
        "P36": "capital",
    }
    graph = MemoryGraph(facts, labels, {"Q2": ("Lutetia",)})
    relations = Relations.generic(graph.relation_ids, graph.labels(graph.relation_ids))
    report = check_changes([change("France", "capital", "tiflis", was="Lutetia")], graph, relations)
    assert report.accepted == (
        change("Q1", "P36", "Q4", was="Lutetia"),
    )  # not the literal "France", which has no facts
    assert report.problems == ()
    homonym = check_changes([change("Georgia", "P36", "Paris")], graph, relations)
    assert "the subject may be Q3, Q5" in homonym.errors[0].message


def test_counterfactuals_by_hand() -> None:
    graph = MemoryGraph([("a", "r", "x"), ("b", "r", "y"), ("c", "r", "x"), ("c", "r", "y"), ("d", "s", "z")])
    relations = Relations.generic(["r", "s"])
    drawn = counterfactuals(graph, relations, 2, seed=0)
    rows = sorted((one.subject, one.relation, one.object, one.was) for one in drawn)
    assert rows == [("a", "r", "y", "x"), ("b", "r", "x", "y")]  # c has two objects, s only one
    with pytest.raises(UserError, match="got n = 3 counterfactual changes; the graph offers 2"):
        counterfactuals(graph, relations, 3, seed=0)
    with pytest.raises(UserError, match="got n = 0"):
        counterfactuals(graph, relations, 0, seed=0)


def test_counterfactuals_are_uniform_balanced_and_seeded() -> None:
    facts = [(f"h{n}", "r", f"t{n % 5}") for n in range(1000)] + [(f"h{n}", "s", f"u{n % 2}") for n in range(30)]
    graph, relations = MemoryGraph(facts), Relations.generic(["r", "s"])
    drawn = counterfactuals(graph, relations, 1030, seed=3)
    assert Counter(one.relation for one in drawn[:60]) == {"r": 30, "s": 30}
    assert all(one.object != one.was and graph.objects(one.subject, one.relation) == (one.was,) for one in drawn)
    assert len({(one.subject, one.relation) for one in drawn}) == 1030
    counts = Counter(one.object for one in drawn if one.relation == "r")
    assert all(140 < counts[f"t{n}"] < 260 for n in range(5))  # 200 expected, standard deviation 12.2
    assert counterfactuals(graph, relations, 40, seed=3) == drawn[:40]
    assert counterfactuals(graph, relations, 40, seed=4) != drawn[:40]
    assert {one.relation for one in counterfactuals(graph, relations, 9, seed=3, only=["r"])} == {"r"}


def test_counterfactuals_need_functional_relations(graph: MemoryGraph, relations: Relations) -> None:
    with pytest.raises(UserError, match="'borders' may have many objects"):
        counterfactuals(graph, relations, 1, seed=0, only=["borders"])
    with pytest.raises(UserError, match="unknown relation 'x'"):
        counterfactuals(graph, relations, 1, seed=0, only=["x"])
