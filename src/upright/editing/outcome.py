"""What a run knows before it touches a weight, and what it found in the end."""

from dataclasses import dataclass

from upright.editing.context import Contexts
from upright.editing.edit import Edit
from upright.editing.measure import Sheet
from upright.editing.probes import Probe
from upright.editing.recipe import Recipe
from upright.editing.requests import Request
from upright.knowledge.changes import FactChange
from upright.knowledge.graph import KnowledgeGraph
from upright.knowledge.overlay import Overlay
from upright.knowledge.relations import Relations
from upright.models.causal import CausalModel


@dataclass(frozen=True)
class World:
    """What the run knows before it touches a weight."""

    graph: KnowledgeGraph
    overlay: Overlay
    relations: Relations
    changes: list[FactChange]
    requests: list[Request]
    contexts: Contexts
    warnings: list[str]


@dataclass(frozen=True)
class Outcome:
    """Everything a run found, for the metrics and the report."""

    edit: Edit
    model: CausalModel
    probes: list[Probe]
    sheets: dict[str, Sheet]
    clock: dict[str, float]
    recipe: Recipe
    stats_source: str
