"""Questions to a SPARQL endpoint, asked in forms that show when the server cut the answer.

Servers cut long results without a word. So a list comes as one row with its length, what is asked about
several things comes as one row a thing, and rows come by pages until there are as many as were counted.
Every reply is kept in the cache; what is asked about several things is kept for each of them.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from upright.knowledge.access import Access
from upright.knowledge.failures import GraphError
from upright.knowledge.reply_cache import ReplyCache, in_chunks
from upright.knowledge.terms import quoted, values
from upright.knowledge.transport import Transport
from upright.knowledge.vocabulary import NEAR

Row = dict[str, str]
SEPARATOR = "\x1f"  # the unit separator of ASCII, which no name holds


class Asker:
    """Asks one endpoint. All methods raise GraphError where it fails. Safe for threads."""

    def __init__(self, url: str, access: Access, cache: ReplyCache) -> None:
        self._url, self._access, self._cache = url, access, cache
        self.transport = Transport(url, access)

    def fetch(self, url: str, form: dict[str, str], read: Callable[[Any], Any]) -> Any:
        """What `read` makes of the JSON answer to a request, from the cache where it is known; JSON itself."""
        key = f"{url}\n{json.dumps(form, sort_keys=True)}"

        def known() -> Any:
            text = self._cache.get([key]).get(key)
            return None if text is None else json.loads(text)

        answer = known()
        if answer is None:
            answer = self.transport.ask(url, form, read, known)
            self._cache.put({key: json.dumps(answer)})
        return answer

    def select(self, query: str) -> list[Row]:
        """The rows of a SELECT query: of each variable that is bound, the text of its term."""
        rows: list[Row] = self.fetch(self._url, {"query": query}, bindings)
        return rows

    def known(self, query: str) -> bool:
        """Whether the cache has the answer to a query."""
        key = f"{self._url}\n{json.dumps({'query': query}, sort_keys=True)}"
        return key in self._cache.get([key])

    def listed(self, query: str) -> list[str]:
        """All texts of a query made by `list_query`, in no order."""
        texts: list[str] = self.fetch(self._url, {"query": query}, _list)
        return texts

    def each(self, iris: Iterable[str], aggregate: str, pattern: str) -> Row:
        """What an aggregate over ?entry makes of a pattern around ?s, for each IRI where it makes something.

        The pattern has `NEAR` where the values of ?s belong.
        """
        keys = {iri: f"{self._url}\n{aggregate}\n{pattern}\n{iri}" for iri in iris}

        def known(some: Iterable[str]) -> Row:
            found = self._cache.get(keys[iri] for iri in some)
            return {iri: found[keys[iri]] for iri in some if keys[iri] in found}

        answers = known(keys)
        for some in in_chunks(sorted(keys.keys() - answers.keys()), self._access.batch_ids):
            while some:
                rows = self._each(some, aggregate, pattern, known)
                self._cache.put({keys[iri]: text for iri, text in rows.items()})
                answers |= rows
                some = [iri for iri in some if iri not in rows]  # the server may cut here, too
        return {iri: text for iri, text in answers.items() if text}

    def _each(self, iris: list[str], aggregate: str, pattern: str, known: Callable[[Iterable[str]], Row]) -> Row:
        block = values("?s", iris)
        inner = pattern.replace(NEAR, block)
        query = f"SELECT ?s ({aggregate} AS ?value) WHERE {{ {block} OPTIONAL {{ {inner} }} }} GROUP BY ?s"

        def all_known() -> Row | None:
            found = known(iris)
            return found if len(found) == len(iris) else None

        def read(reply: Any) -> Row:
            asked = set(iris)
            rows = {f"<{row['s']}>": row.get("value", "") for row in bindings(reply)}
            return {iri: text for iri, text in rows.items() if iri in asked}

        rows = self.transport.ask(self._url, {"query": query}, read, all_known)
        if not rows:
            raise GraphError(f"{self._url}: gave no row for any of {len(iris)} things")
        return rows

    def pages(
        self, columns: Sequence[str], pattern: str, limit: int | None, total: Callable[[], int]
    ) -> Iterator[tuple[str, ...]]:
        """The distinct rows of a pattern, sorted; with a limit the first ones.

        Args:
            columns: variables that the pattern binds to texts, in the order that counts.
            limit: rows wanted; None for all, which are counted first and refused when they are too many.
            total: counts the rows.
        """
        want = self._all(total()) if limit is None else limit
        counted, got, names = limit is None, 0, " ".join(columns)
        while got < want:
            size = min(self._access.page_rows, want - got)
            window = f"ORDER BY {names} LIMIT {size} OFFSET {got}"
            rows = self.select(f"SELECT DISTINCT {names} WHERE {{ {pattern} }} {window}")
            got += len(rows)
            yield from (tuple(row[column[1:]] for column in columns) for row in rows)
            if len(rows) < size and not counted:  # all there is, or all the server gives at once
                counted, want = True, min(want, total())
            if not rows and got < want:
                raise GraphError(f"{self._url}: gave {got} of {want} rows and then no more")

    def _all(self, total: int) -> int:
        most = self._access.max_rows
        if total > most:
            raise GraphError(f"{self._url}: has {total:,} rows for this, more than max_rows={most:,}; ask for fewer")
        return total

    def count(self, columns: Sequence[str], pattern: str) -> int:
        """Number of distinct rows of a pattern."""
        inner = f"SELECT DISTINCT {' '.join(columns)} WHERE {{ {pattern} }}"
        query = f"SELECT (COUNT(*) AS ?n) WHERE {{ {{ {inner} }} }}"
        number: int = self.fetch(self._url, {"query": query}, lambda reply: int(_only(reply)["n"]))
        return number


def list_query(pattern: str) -> str:
    """A query for all texts that a pattern binds ?entry to, which are distinct, as one row; see `Asker.listed`."""
    texts = f"GROUP_CONCAT(?entry; SEPARATOR={quoted(SEPARATOR)})"
    return f"SELECT (COUNT(?entry) AS ?length) ({texts} AS ?all) WHERE {{ {pattern} }}"


def bindings(reply: Any) -> list[Row]:
    """The rows of a SELECT result in JSON."""
    return [{name: term["value"] for name, term in row.items()} for row in reply["results"]["bindings"]]


def _only(reply: Any) -> Row:
    """The one row that was asked for. Raises ValueError for none or several."""
    (row,) = bindings(reply)
    return row


def _list(reply: Any) -> list[str]:
    """The texts of a list query. Raises ValueError when some are missing."""
    row = _only(reply)
    length = int(row["length"])
    texts = row["all"].split(SEPARATOR) if length else []
    if len(texts) != length:
        raise ValueError(f"{len(texts)} of {length} texts")
    return texts
