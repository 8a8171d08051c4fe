"""Open knowledge graphs and the words of their relations from files.

A graph is a fact file, a folder of fact files, a folder that `upright kg load` made, or ``lab:NAME``; several are
merged. Fact files, also ``.gz``:

- ``.tsv`` (``.txt`` when given by name): ``head<TAB>relation<TAB>tail``; the names, stripped, are the ids;
- ``.nt``, ``.ttl``: RDF. IRIs are the ids and the texts of literals are theirs. ``rdfs:label`` gives labels
  (English, then without a language, then others), else the local name does; ``skos:altLabel`` gives aliases,
  ``schema:description``, or else ``rdfs:comment``, descriptions.

Beside the facts may lie ``labels.tsv`` (``id<TAB>label``), ``aliases.tsv`` (``id<TAB>alias``), ``descriptions.tsv``
(``id<TAB>description``) and ``relations.toml`` (see `upright.knowledge.relations`), whose symmetric relations are
mirrored.
"""

from collections.abc import Sequence
from pathlib import Path

from upright.errors import UserError
from upright.knowledge.arrays import ArrayGraph
from upright.knowledge.memory import MemoryGraph
from upright.knowledge.reading import RDF_FORMATS, SIDE_TABLES, Reader, Source, kind_of
from upright.knowledge.relations import Relations
from upright.knowledge.store import Store, is_store

Spec = str | Path

ALLOWED = "give a folder, a .tsv, .nt or .ttl file (also with .gz), or lab:NAME"


def open_graph(spec: Spec | Sequence[Spec]) -> ArrayGraph:
    """Open a store, or read one graph or the union of several into memory.

    Raises:
        UserError: if something is not there or not readable; a bad line is named by file and line number.
    """
    found = sources(spec)
    if len(found) == 1 and found[0].is_store:
        return Store(found[0].folder)
    reader = Reader()
    return MemoryGraph(reader.read(found), reader.labels, reader.aliases, reader.descriptions)


def open_relations(spec: Spec | Sequence[Spec], graph: ArrayGraph) -> Relations:
    """Words for every relation of the graph that `open_graph` read from the same spec.

    They come from the relation files, the first spec having precedence; a relation without words gets plain
    ones from its label, and `is_generic` says if all are such.
    """
    found = [Relations.load(path) for source in sources(spec) for path in source.relation_files]
    words = {name: words for relations in reversed(found) for name, words in relations.relations.items()}
    bare = [name for name in graph.relation_ids if name not in words]
    generic = Relations.generic(bare, graph.labels(bare))
    if not found:
        return generic
    words = {**generic.relations, **words}
    chains = dict.fromkeys(chain for relations in found for chain in relations.chains)
    return found[0].model_copy(update={"relations": words, "chains": tuple(chains)})


def sources(spec: Spec | Sequence[Spec]) -> list[Source]:
    """The files and folders that one or several graphs are read from."""
    specs = [spec] if isinstance(spec, str | Path) else list(spec)
    if not specs:
        raise UserError(f"no knowledge graph was given; {ALLOWED}")
    return [_source(one) for one in specs]


def _source(spec: Spec) -> Source:
    if str(spec).startswith("sparql:"):
        raise UserError(f"{spec}: SPARQL endpoints cannot be read into memory; {ALLOWED}")
    path = Path(spec)
    if str(spec).startswith("lab:"):
        from upright.lab import world  # the lab's resources are opened by name

        path = world(str(spec).removeprefix("lab:"))
    if path.is_dir():
        if is_store(path):
            return Source((), path)
        facts = sorted(file for file in path.iterdir() if kind_of(file) in {".tsv", *RDF_FORMATS})
        facts = [file for file in facts if file.name not in SIDE_TABLES.values()]
        if not facts:
            raise UserError(f"{path}: the folder holds no facts; put a .tsv, .nt or .ttl file (also with .gz) in it")
        return Source(tuple(facts), path)
    if not path.exists():
        raise UserError(f"{spec}: there is no such file or folder; {ALLOWED}")
    if kind_of(path) not in {".tsv", ".txt", *RDF_FORMATS}:
        raise UserError(f"{spec}: the kind of file is not known; {ALLOWED}")
    return Source((path,), path.parent)
