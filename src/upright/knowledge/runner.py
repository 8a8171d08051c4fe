"""`upright kg`: put a knowledge graph on disk, look into it, ask it, find things in it by name."""

import json
from collections.abc import Sequence
from typing import Any

import pyoxigraph as rdf

from upright.errors import UserError
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.config import Info, Link, Load, Query
from upright.knowledge.files import open_graph, sources
from upright.knowledge.graph import KnowledgeGraph, Queryable
from upright.knowledge.linking import Embed, candidates, spans
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.opening import is_remote, opened
from upright.knowledge.reading import Reader
from upright.knowledge.statements import Table, Writer, ask
from upright.knowledge.store import Store
from upright.run.folder import Message

WIDTH = 44  # characters of an example


def load(config: Load) -> Message:
    """Write graphs into a folder, as one."""
    with Store.load(config.files, config.out, config.overwrite) as store:
        size = sum(path.stat().st_size for path in config.out.rglob("*") if path.is_file())
        facts, entities, relations = len(store), len(store.entity_ids), len(store.relation_ids)
    counted = f"{facts:,} facts, {entities:,} entities, {relations:,} relations"
    return Message(message=f"{config.out}: {counted}, {size / 1e6:,.0f} MB; see: upright kg info {config.out}")


# --- info ---


def info(config: Info) -> None:
    """Print what a graph holds."""
    if is_remote(config.kg):
        raise UserError(f"{config.kg}: kg info counts facts in files; count behind an endpoint with: upright kg query")
    graph = open_graph(config.kg)
    found = described(graph)
    if config.json_:
        print(json.dumps({"kg": config.kg, **found}, indent=2, ensure_ascii=False))
    else:
        _print_info(config, found)


def described(graph: ArrayGraph) -> dict[str, Any]:
    """Numbers of facts, entities and names, and of each relation the facts and an example, by labels."""
    labels = graph.labels(graph.entity_ids)
    counts = graph.relation_counts()
    return {
        "facts": len(graph),
        "entities": len(graph.entity_ids),
        "labelled": sum(id != label for id, label in labels.items()),
        "relations": [
            {"id": id, "label": graph.labels([id])[id], "facts": counts[id], "example": _example(graph, id)}
            for id in sorted(counts, key=lambda id: (-counts[id], id))
        ],
    }


def _example(graph: ArrayGraph, relation: str) -> list[str]:
    """Head and tail of one fact of the relation, by labels."""
    edge = next(graph.triples(relation))
    return list(graph.labels([edge.head]).values()) + list(graph.labels([edge.tail]).values())


def _print_info(config: Info, found: dict[str, Any]) -> None:
    from upright.run.terminal import console, table

    relations = found["relations"]
    print(
        f"{found['facts']:,} facts, {found['entities']:,} entities ({found['labelled']:,} with a label of their own), "
        f"{len(relations):,} relations"
    )
    shown = relations[: config.top or None]
    own = any(row["id"] != row["label"] for row in shown)
    grid = table("relation", *(["id"] if own else []), "facts", "for example", numbers_from=2 if own else 1)
    grid.columns[-1].justify = "left"
    for row in shown:
        ids = [row["id"]] if own else []
        grid.add_row(row["label"], *ids, f"{row['facts']:,}", " → ".join(_short(end) for end in row["example"]))
    console().print(grid)
    if len(shown) < len(relations):
        print(f"and {len(relations) - len(shown):,} more relations; list all with: --top 0")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= WIDTH else f"{line[: WIDTH - 1]}…"


# --- query ---


def query(config: Query) -> None:
    """Print the answer to a SPARQL query."""
    answer = _answer(config)
    if config.json_:
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        print(json.dumps({"columns": answer.columns, "rows": rows}, indent=2, ensure_ascii=False))
    else:
        _print_rows(answer.columns, answer.rows)
        print(f"{len(answer.rows):,} row{'' if len(answer.rows) == 1 else 's'}")


def _answer(config: Query) -> Table:
    if not is_remote(config.kg) and not sources(config.kg)[0].is_store:
        return ask(in_memory(config.kg), config.query)
    with opened(config.kg, config.access) as graph:
        assert isinstance(graph, Queryable)
        return Table(*graph.query(config.query))


def in_memory(spec: str) -> rdf.Store:
    """A graph from files as RDF, for queries."""
    found, reader, store = sources(spec), Reader(), rdf.Store()
    graph = MemoryGraph(reader.read(found))
    Writer(reader.blank, lambda id: bool(graph.relations([id]))).write(store, found)
    return store


# --- link ---


def link(config: Link) -> None:
    """Print what a name may mean, or which names a question holds."""
    embed = _embedder(config)
    with opened(config.kg, config.access) as graph:
        rows = _spans(graph, config) if config.mentions else _candidates(graph, config, embed)
    if config.json_:
        print(json.dumps({"kg": config.kg, "text": config.text, "found": rows}, indent=2, ensure_ascii=False))
    elif not rows:
        print(f"nothing in {config.kg} is called like {config.text!r}")
    else:
        _print_rows(list(rows[0]), [[str(value) for value in row.values()] for row in rows])


def _embedder(config: Link) -> Embed | None:
    if config.embed is None:
        return None
    from upright.models.embed import Embedder  # brings torch

    return Embedder(config.embed)


def _candidates(graph: KnowledgeGraph, config: Link, embed: Embed | None) -> list[dict[str, Any]]:
    return [
        {"name": one.label, "id": one.id, "fits by": one.how, "score": round(one.score, 3), "is": one.description}
        for one in candidates(graph, config.text, config.k, embed)
    ]


def _spans(graph: KnowledgeGraph, config: Link) -> list[dict[str, Any]]:
    rows = []
    for span in spans(graph, config.text):
        labels = graph.labels(span.ids)
        rows += [{"words": span.text, "start": span.start, "name": labels[id], "id": id} for id in span.ids[: config.k]]
    return rows


def _print_rows(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    from rich.text import Text

    from upright.run.terminal import console, table

    grid = table(*columns, numbers_from=len(columns))
    for row in rows:
        grid.add_row(*map(Text, row))
    console().print(grid)
