"""A SPARQL 1.1 endpoint on the loopback, over a store in memory, that can misbehave like public ones do."""

import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pyoxigraph as rdf

LABEL, ALIAS = (
    rdf.NamedNode("http://www.w3.org/2000/01/rdf-schema#label"),
    rdf.NamedNode("http://www.w3.org/2004/02/skos/core#altLabel"),
)


@dataclass
class Fault:
    """What the server does instead of answering: a status with headers and a body, after a delay in seconds."""

    status: int = 200
    body: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    """Send the true answer, but only its first half."""


@dataclass(repr=False)
class Endpoint:
    """The server's state.

    Attributes:
        cut: most rows of an answer; the rest is left out without a word.
        faults: used up one by one, each by one request, before true answers are given.
        queries: all requests so far, those that failed included.
        most_at_once: requests that were under way at the same time, at most.
    """

    store: rdf.Store
    url: str = ""
    cut: int | None = None
    delay: float = 0.0
    faults: deque[Fault] = field(default_factory=deque)
    queries: list[str] = field(default_factory=list)
    agents: set[str] = field(default_factory=set)
    moments: list[float] = field(default_factory=list)
    at_once: int = 0
    most_at_once: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def api(self) -> str:
        return f"{self.url}/w/api.php"

    def rest(self) -> None:
        """Be healthy again, with nothing counted, once the requests that were given up are over."""
        while self.at_once:
            time.sleep(0.01)
        self.cut, self.delay, self.most_at_once = None, 0.0, 0
        for record in (self.faults, self.queries, self.moments):
            record.clear()

    def arrive(self, query: str, agent: str) -> Fault | None:
        with self.lock:
            self.queries.append(query)
            self.moments.append(time.monotonic())
            self.agents.add(agent)
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
            return self.faults.popleft() if self.faults else None

    def leave(self) -> None:
        with self.lock:
            self.at_once -= 1

    def answer(self, query: str) -> bytes:
        result = self.store.query(query)
        assert not isinstance(result, rdf.QueryTriples)
        text = result.serialize(format=rdf.QueryResultsFormat.JSON)
        assert text is not None
        reply = json.loads(text)
        if self.cut is not None and "results" in reply:
            del reply["results"]["bindings"][self.cut :]
        return json.dumps(reply).encode()

    def search(self, form: dict[str, str]) -> bytes:
        """What the MediaWiki API finds: things with a name that begins with the text, or has all its words."""
        if "srsearch" in form:
            words = set(form["srsearch"].lower().split())
            labels = sorted(self.names(None, LABEL), key=lambda row: row[0].value)
            named = [thing.value for thing, name in labels if words <= set(name.lower().split())]
            return json.dumps({"query": {"search": [{"title": iri.rpartition("/")[2]} for iri in named]}}).encode()
        wanted, found = form["search"].lower(), list[dict[str, Any]]()
        for predicate in (LABEL, ALIAS):
            for thing, name in sorted(self.names(None, predicate), key=lambda row: row[1]):
                if name.lower().startswith(wanted) and "/entity/Q" in thing.value:
                    id, label = thing.value.rpartition("/")[2], min(name for _, name in self.names(thing, LABEL))
                    found.append({"id": id, "label": label, "match": {"text": name}})
        return json.dumps({"search": found}).encode()

    def names(self, thing: rdf.NamedNode | None, predicate: rdf.NamedNode) -> Iterator[tuple[rdf.NamedNode, str]]:
        for quad in self.store.quads_for_pattern(thing, predicate, None, None):
            assert isinstance(quad.subject, rdf.NamedNode)
            assert isinstance(quad.object, rdf.Literal)
            yield quad.subject, quad.object.value


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else each answer waits 40 ms for an acknowledgement
    endpoint: Endpoint

    def do_GET(self) -> None:
        self.reply(urlsplit(self.path).query)

    def do_POST(self) -> None:
        self.reply(self.rfile.read(int(self.headers["Content-Length"])).decode())

    def reply(self, encoded: str) -> None:
        form = {name: texts[0] for name, texts in parse_qs(encoded, keep_blank_values=True).items()}
        fault = self.endpoint.arrive(form.get("query", form.get("search", "")), self.headers["User-Agent"])
        try:
            status, headers, body = self.compose(form, fault)
        finally:
            self.endpoint.leave()  # before the client can know
        with suppress(BrokenPipeError, ConnectionResetError):  # it may have given up
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(body))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(body)

    def compose(self, form: dict[str, str], fault: Fault | None) -> tuple[int, dict[str, str], bytes]:
        time.sleep(fault.delay if fault else self.endpoint.delay)
        status, headers = 200, {"Content-Type": "application/sparql-results+json"}
        if fault and not fault.cut:
            status, body, headers = fault.status, fault.body.encode(), fault.headers
        else:
            try:
                body = self.endpoint.answer(form["query"]) if "query" in form else self.endpoint.search(form)
            except SyntaxError as error:
                status, body = 400, f"Malformed query: {error}".encode()
            body = body[: len(body) // 2] if fault else body
        return status, headers, body

    def log_message(self, format: str, *args: Any) -> None:
        pass


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64


@contextmanager
def serve(store: rdf.Store) -> Iterator[Endpoint]:
    """A running endpoint over a store."""
    endpoint = Endpoint(store)
    handler = type("Handler", (_Handler,), {"endpoint": endpoint})
    with _Server(("127.0.0.1", 0), handler) as server:
        endpoint.url = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield endpoint
        finally:
            server.shutdown()
            thread.join()
