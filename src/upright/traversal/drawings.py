"""A search as drawings, from its record: the tree of its states, and the part of the graph that the answer rests on."""

from collections.abc import Mapping, Sequence

from upright.run.networks import Arc, Column, Spot, network
from upright.run.trees import Twig, tree
from upright.traversal.record import Row

TWIGS = 40  # states of a drawn tree
SPOTS = 8  # entities of a set that are drawn


def search_tree(rows: Sequence[Row], alt: str) -> str:
    """The states in the order of the tree, with values; the way to the answer is marked."""
    return tree(twigs(rows), alt=alt)


def local_graph(rows: Sequence[Row], labels: Mapping[str, str], alt: str) -> str | None:
    """The sets on the way to the answer with the facts between them, those of its evidence marked; None without any."""
    way = _way(_nodes(rows))
    evidence = {tuple(edge) for row in way if "answer" in row for edge in row["answer"]["evidence"]}
    ends = {end for head, _, tail in evidence for end in (head, tail)}
    sets = [row for row in way if row.get("set")]
    columns = []
    for row in sets:
        ids = _drawn(row, ends)
        spots = [Spot(id, labels.get(id, id), id in ends) for id in ids]
        columns.append(Column(_title(row), spots, len(row["set"]["ids"]) - len(ids)))
    edges = {tuple(edge) for row in sets for edge in row["set"]["edges"]}
    arcs = [Arc(head, tail, (head, relation, tail) in evidence) for head, relation, tail in sorted(edges)]
    return network(columns, arcs, alt=alt) if any(column.spots for column in columns) else None


def drawn_ids(rows: Sequence[Row]) -> set[str]:
    """The entities that `local_graph` shows: what labels are needed of."""
    way = _way(_nodes(rows))
    ends = {end for row in way if "answer" in row for edge in row["answer"]["evidence"] for end in edge}
    return ends.union(*(_drawn(row, ends) for row in way if row.get("set")))


def _drawn(row: Row, ends: set[str]) -> list[str]:
    """The first entities of a set, those of the evidence before the others."""
    found: list[str] = sorted(row["set"]["ids"], key=lambda id: id not in ends)[:SPOTS]
    return found


def _title(row: Row) -> str:
    followed = [text for tag, text in row["lines"] if tag == "FOLLOW"]
    return " ".join([f"#{row['set']['number']}", *followed])


# --- the tree ---


def twigs(rows: Sequence[Row]) -> list[Twig]:
    """The search as a tree, depth first, each branch with the best first; what led to the answer is chosen."""
    nodes = _nodes(rows)
    chosen = {row["number"] for row in _way(nodes)}
    found: list[Twig] = []

    def grow(number: int, depth: int) -> None:
        row = nodes[number]
        found.append(Twig(_label(row), depth, row["value"], number in chosen))
        below = [child for child in nodes.values() if child["parent"] == number]
        for child in sorted(below, key=lambda child: (child["number"] not in chosen, -_rank(child))):
            grow(child["number"], depth + 1)

    if 0 in nodes:
        grow(0, 0)
    return found[:TWIGS] or [Twig("nothing was searched", 0)]


def _nodes(rows: Sequence[Row]) -> dict[int, Row]:
    return {row["number"]: row for row in rows if row["kind"] == "node"}


def _way(nodes: Mapping[int, Row]) -> list[Row]:
    """From the root to the best answer, or the root alone."""
    answers = [row for row in nodes.values() if "answer" in row]
    best = max(answers, key=lambda row: (_rank(row), row["depth"], -row["number"]), default=None)
    way, at = list[Row](), best["number"] if best else 0
    while at in nodes:
        way.append(nodes[at])
        at = nodes[at]["parent"]
    return way[::-1]


def _rank(row: Row) -> float:
    return -1.0 if row["value"] is None else float(row["value"])


def _label(row: Row) -> str:
    said = " ".join(f"{tag} {text}".strip() for tag, text in row["lines"] if tag != "FOUND")
    if "answer" in row:
        return f"{said}: {'; '.join(row['answer']['labels'])}"
    group = row.get("set")
    if group is None:
        return said or "the question"
    return f"{said} ({len(group['ids'])})" if said else f"#1: {'; '.join(group['ids'])}"
