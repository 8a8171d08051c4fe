"""A world of eight facts, small enough to know by heart, and the words of its relations."""

import pytest

from upright.knowledge.memory import MemoryGraph
from upright.knowledge.relations import Relations

FACTS = [
    ("France", "capital", "Paris"),
    ("Paris", "country", "France"),
    ("Germany", "capital", "Berlin"),
    ("Berlin", "country", "Germany"),
    ("France", "currency", "franc"),
    ("Germany", "currency", "mark"),
    ("franc", "code", "FRF"),
    ("mark", "code", "DEM"),
]


def words(name: str, **options: object) -> dict[str, object]:
    """The table of a relation, with words that differ between the splits."""
    return {
        "nouns": [
            f"the {name} of {{}}",
            f"the official {name} of {{}}",
            f"the {name} in {{}}",
            f"the {name} for {{}}",
        ],
        "statements": [f"The {name} of {{}} is", f"{{}} has the {name}", f"They call the {name} of {{}}"],
        "questions": [f"What is the {name} of {{}}?", f"Which {name} has {{}}?", f"Name the {name} of {{}}:"],
        **options,
    }


def tables() -> dict[str, object]:
    """What a relation file of the small world holds."""
    return {
        "chains": [["currency", "code"], ["country", "currency", "code"]],
        "relations": {
            "capital": words("capital", inverse="country"),
            "country": words("country"),
            "currency": words("currency"),
            "code": words("code", literal=True),
            "borders": words("neighbour", functional=False, symmetric=True),
            "spouse": words("spouse", symmetric=True),
            "parent": words("parent", inverse="child", functional=False),
            "child": words("child", inverse="parent", functional=False),
        },
    }


@pytest.fixture
def graph() -> MemoryGraph:
    return MemoryGraph(FACTS)


@pytest.fixture
def relations() -> Relations:
    return Relations.parse(tables())
