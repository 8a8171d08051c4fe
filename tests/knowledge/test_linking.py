"""What a mention may mean, and which names a question holds."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from upright.knowledge.changes import FactChange
from upright.knowledge.federation import Federation
from upright.knowledge.graph import Likeness, Match
from upright.knowledge.linking import Candidate, candidates, mentions, spans
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.naming import bm25
from upright.knowledge.overlay import Overlay
from upright.knowledge.store import Store

from .naive import NaiveGraph
from .test_graphs import write

FACTS = [
    ("Q1", "in", "Q9"),
    ("Q2", "in", "Q9"),
    ("Q2", "borders", "Q9"),
    ("Q3", "in", "Q9"),
    ("Q4", "in", "Q9"),
    ("Q5", "in", "Q9"),
    ("Q6", "by", "Q7"),
    ("Q8", "by", "Q7"),
]
LABELS = {
    "Q1": "Georgia",
    "Q2": "Georgia",
    "Q3": "South Georgia",
    "Q4": "Georgia Tech",
    "Q5": "São Tomé and Príncipe",
    "Q6": "It",
    "Q7": "Andy Muschietti",
    "Q8": "The Who Sell Out",
    "Q9": "Earth",
}
ALIASES = {"Q1": "Sakartvelo", "Q4": "georgia"}
ABOUT = {"Q1": "country", "Q2": "US state"}


def in_memory(folder: Path) -> MemoryGraph:
    return MemoryGraph(FACTS, LABELS, {name: [alias] for name, alias in ALIASES.items()}, ABOUT)


def stored(folder: Path) -> Store:
    return Store.load(write(folder, FACTS, LABELS, ALIASES, ABOUT), folder / "store")


@pytest.fixture(scope="module", params=[in_memory, stored])
def graph(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> MemoryGraph | Store:
    opened: Callable[[Path], MemoryGraph | Store] = request.param
    return opened(tmp_path_factory.mktemp("graph"))


def test_a_better_fit_goes_before_more_facts(graph: MemoryGraph | Store) -> None:
    found = candidates(graph, "Georgia")
    # by label: Q2 has two facts, Q1 one; but for the case Q4's alias; a word in common: Q3
    assert [(one.id, one.how) for one in found] == [("Q2", "label"), ("Q1", "label"), ("Q4", "folded"), ("Q3", "words")]
    assert found[1] == Candidate("Q1", "Georgia", "country", 1.0, "label")
    assert [one.how for one in candidates(graph, "georgia")[:3]] == ["alias", "folded", "folded"]
    assert candidates(graph, "Georgia", k=2) == found[:2]


@pytest.mark.parametrize(
    ("mention", "id", "how"),
    [
        ("sao tome AND principe", "Q5", "folded"),
        ("Sakartvelo", "Q1", "alias"),
        ("Andy", "Q7", "prefix"),
        ("Muschietti", "Q7", "words"),
        ("director Muschietti", "Q7", "words"),
        ("Andi Muschieti", "Q7", "letters"),
        ("Eatrh", "Q9", "letters"),
        ("Q5", "Q5", "alias"),
    ],
)
def test_each_way_to_fit(graph: MemoryGraph | Store, mention: str, id: str, how: str) -> None:
    best = candidates(graph, mention)[0]
    assert (best.id, best.how) == (id, how)


def test_nothing_fits(graph: MemoryGraph | Store) -> None:
    assert candidates(graph, "Xylophone") == candidates(graph, " ") == candidates(graph, "...") == []


def test_vectors_decide_between_equal_fits(graph: MemoryGraph | Store) -> None:
    def embed(texts: Sequence[str]) -> list[list[float]]:
        assert texts[0] == "Georgia"
        return [[1.0, float("country" in text)] if text != "Georgia" else [1.0, 1.0] for text in texts]

    found = candidates(graph, "Georgia", k=3, embed=embed)
    assert [one.id for one in found] == ["Q1", "Q2", "Q4"]
    assert [one.score for one in found] == pytest.approx([1.0, 0.5**0.5, 0.5**0.5])  # cosines of (1, 1) and (1, 0)


def test_bm25_by_hand(graph: MemoryGraph | Store) -> None:
    # Names: 9 ids, 9 labels and 1 alias, but Q4's alias differs from Q1's label only by its entity: 20 in all.
    # Words: ids 9; labels 1 + 1 + 2 + 2 + 4 + 1 + 2 + 3 (no article) + 1 = 17; aliases 2; together 28 in 20 names.
    # "tome" is in one name of four words: ln(19.5 / 1.5) * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 4 / 1.4))
    expected = 2.5649493574615367 * 2.2 / (1 + 1.2 * (0.25 + 0.75 * 4 / 1.4))
    (found,) = graph.search("tomé", "words", 5)
    assert found == Match("Q5", found.relevance)
    assert found.relevance == pytest.approx(expected, abs=1e-8)
    assert bm25([(1, 1)], 4, 1.4, 20) == pytest.approx(expected)


def test_a_graph_without_an_index_is_asked_for_its_names() -> None:
    naive = NaiveGraph(FACTS, LABELS, {name: (alias,) for name, alias in ALIASES.items()}, ABOUT)
    assert [(one.id, one.how) for one in candidates(naive, "Georgia")] == [
        ("Q2", "label"),
        ("Q1", "label"),
        ("Q4", "folded"),
    ]
    assert mentions(naive, "Is Sakartvelo on Earth?") == ["Q1", "Q9"]


def test_what_is_in_no_fact_any_more_is_not_found(graph: MemoryGraph | Store) -> None:
    change = FactChange(subject="Q6", relation="by", object="Q9")
    other = FactChange(subject="Q8", relation="by", object="Q9")
    view = Overlay(graph, [change, other])
    likenesses: tuple[Likeness, ...] = ("prefix", "words", "letters")
    for likeness in likenesses:
        assert [match.entity for match in graph.search("Andy Muschietti", likeness, 1)] == ["Q7"]
        assert view.search("Andy Muschietti", likeness, 1) == []
        assert [match.entity for match in view.search("Earth", likeness, 1)] == ["Q9"]
    assert Overlay(NaiveGraph(FACTS), []).search("Q1", "prefix", 1) == []


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("Is South Georgia near Georgia?", [("South Georgia", "Q3"), ("Georgia", "Q2")]),
        ("what is earth's largest island", [("earth", "Q9")]),
        ("Where is São Tomé and Príncipe?", [("São Tomé and Príncipe", "Q5")]),
        ("Who directed It?", [("It", "Q6")]),
        ("It is by whom?", []),  # at the beginning every word has a capital
        ("who made it", []),
        ("Who sang The Who Sell Out?", [("The Who Sell Out", "Q8")]),
        ("Is the earth round?", [("earth", "Q9")]),
        ("Georgia, Georgia or Sakartvelo?", [("Georgia", "Q2"), ("Georgia", "Q2"), ("Sakartvelo", "Q1")]),
        ("", []),
        ("?!", []),
    ],
)
def test_names_in_questions(graph: MemoryGraph | Store, question: str, expected: list[tuple[str, str]]) -> None:
    found = spans(graph, question)
    assert [(span.text, span.ids[0]) for span in found] == expected
    assert all(question[span.start : span.end] == span.text for span in found)
    assert mentions(graph, question) == list(dict.fromkeys(id for _, id in expected))


def test_homonyms_are_all_named(graph: MemoryGraph | Store) -> None:
    assert spans(graph, "Where is Georgia?")[0].ids == ("Q2", "Q1", "Q4")


class Remote(NaiveGraph):
    """A graph that counts what it is asked."""

    remote = True

    def __init__(self) -> None:
        super().__init__(FACTS, LABELS)
        self.asked: list[str] = []

    def link(self, text: str) -> list[str]:
        self.asked.append(text)
        return super().link(text)


def test_a_remote_graph_is_asked_little() -> None:
    graph = Remote()
    assert mentions(graph, "Which islands near South Georgia are on the planet Earth?") == ["Q3", "Q9"]
    assert graph.asked == ["Georgia are on the planet Earth", "South Georgia", "Earth"]


def test_a_graph_at_hand_beside_a_remote_one_is_asked_about_all_words() -> None:
    far, here = Remote(), MemoryGraph([("sol", "unit of", "Earth")])
    joined = Federation({"far": far, "here": here}, [("far:Q9", "here:Earth")])
    assert mentions(joined, "Where on Earth is the sol money?") == ["far:Q9", "here:sol"]
    assert far.asked == ["Earth"]
    assert mentions(Overlay(joined, []), "Where on Earth is the sol money?") == ["far:Q9", "here:sol"]
    changed = Overlay(joined, [FactChange(subject="far:Q9", relation="far:r", object="x")])
    assert mentions(changed, "is the sol money?") == ["here:sol"]
    assert mentions(Federation({"far": Remote()}), "the sol of south georgia") == []
