"""The local graph as text that fits a budget of tokens; what does not fit is folded to counts, never dropped unseen.

    #1: Lima [Q2868] (capital of Peru)
    #2 = #1 ~capital: 1 entity, 1 fact
      Lima ← capital ← Peru [Q419]
    #3 = #2 borders: 5 entities, 5 facts, 2 shown
      Peru → borders → Bolivia; Brazil

One block a set, in the order in which they were read, so that the text of a state begins with that of its parent
as long as nothing must be folded.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from upright.knowledge.graph import Edge
from upright.traversal.answers import evidence
from upright.traversal.names import Names, plural
from upright.traversal.state import EntitySet, Selection, State, origins

Counter = Callable[[str], int]


@dataclass(frozen=True)
class Window:
    """The text; and by number, for each set that was folded, how many facts (or seeds) are shown and were read."""

    text: str
    folded: Mapping[int, tuple[int, int]]


def window(state: State, names: Names, tokens: int, count: Counter) -> Window:
    """The local graph of a state in about `tokens` tokens.

    Seeds come first, then the facts on the way to what is being expanded (or to the last set), then the last
    expansion, then the other sets, the latest first; within each, facts in their order. The heads of the blocks are
    always there, whatever the budget.

    Args:
        state: whose graph.
        names: of the graph.
        tokens: the budget.
        count: tokens of a text.
    """
    sets = state.sets
    shown = _granted(state, names, tokens, count)
    blocks = [_block(group, shown[group.number], names) for group in sets]
    sizes = {group.number: len(group.edges) if group.number > 1 else len(group.ids) for group in sets}
    folded = {number: (len(shown[number]), size) for number, size in sizes.items() if len(shown[number]) < size}
    return Window("\n".join(blocks), folded)


def _granted(state: State, names: Names, tokens: int, count: Counter) -> dict[int, set[Edge | str]]:
    """What of each set is shown: seeds by id, facts."""
    shown: dict[int, set[Edge | str]] = {group.number: set() for group in state.sets}
    left = tokens - sum(count(_block(group, set(), names)) for group in state.sets)
    for group, items in _by_weight(state):
        for item in items:
            if item in shown[group.number]:
                continue
            left -= count(item if isinstance(item, str) else _fact(group, item, names))
            if left < 0:
                return shown
            shown[group.number].add(item)
    return shown


def _by_weight(state: State) -> Iterator[tuple[EntitySet, Sequence[Edge | str]]]:
    """What may be shown, the most important first."""
    sets = state.sets
    yield sets[0], sets[0].ids
    if len(sets) == 1:
        return
    way = way_to(sets, state.selection or sets[-1].selection)
    for group in reversed(sets[1:]):
        yield group, [edge for edge in group.edges if edge in way]
    yield sets[-1], sets[-1].edges
    for group in reversed(sets[1:-1]):
        yield group, group.edges


def way_to(sets: tuple[EntitySet, ...], selection: Selection) -> set[Edge]:
    """The facts on the ways to the selected entities."""
    ends = ((group.number, entity) for group, ids in origins(sets, selection) for entity in ids)
    return set(evidence(sets, ends))


def _fact(group: EntitySet, edge: Edge, names: Names) -> str:
    far = names.described(group.far(edge))
    arrow = "→" if group.step.direction == "out" else "←"
    return f"  {names.entity(group.near(edge))} {arrow} {names.shown(edge.relation)} {arrow} {far}\n"


def _block(group: EntitySet, shown: set[Edge | str], names: Names) -> str:
    if group.number == 1:
        return _seeds(group, shown, names)
    lines = [f"{group.name} = {_origin(group, names)}: {_size(group, len(shown))}"]
    arrow = "→" if group.step.direction == "out" else "←"
    relation = names.shown(group.step.relation)
    for near, far in _grouped(group, (edge for edge in group.edges if edge in shown)):
        ends = "; ".join(names.described(entity) for entity in far)
        lines.append(f"  {names.entity(near)} {arrow} {relation} {arrow} {ends}")
    return "\n".join(lines)


def _seeds(group: EntitySet, shown: set[Edge | str], names: Names) -> str:
    listed = "; ".join(names.described(entity) for entity in group.ids if entity in shown)
    rest = len(group.ids) - len(shown)
    more = [f"{rest} more"] if rest else []
    return f"{group.name}: {'; '.join([*([listed] if listed else []), *more]) or 'no entities'}"


def _origin(group: EntitySet, names: Names) -> str:
    chosen = group.selection
    if chosen.number is not None:
        source = f"#{chosen.number}"
    elif len(chosen.ids) <= 3:
        source = ", ".join(names.shown(entity) for entity in chosen.ids)
    else:
        source = f"{names.shown(chosen.ids[0])} and {len(chosen.ids) - 1} more"
    return f"{source} {names.relation(*group.step)}"


def _size(group: EntitySet, shown: int) -> str:
    read = len(group.edges)
    facts = plural(read, "fact") if group.complete else f"the first {read} of {group.total} facts"
    part = "" if shown == read else f", {shown} shown"
    return f"{plural(len(group.ids), 'entity', 'entities')}, {facts}{part}"


def _grouped(group: EntitySet, edges: Iterable[Edge]) -> Iterator[tuple[str, list[str]]]:
    """The found ends by the expanded end."""
    ends: dict[str, list[str]] = defaultdict(list)
    for edge in edges:
        ends[group.near(edge)].append(group.far(edge))
    yield from sorted(ends.items())
