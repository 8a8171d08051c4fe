"""Requests to other people's servers: paced, given up in time, repeated when that may help."""

import ipaddress
import json
import random
import re
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Any, TypeVar
from urllib.parse import urlsplit

import httpx

from upright import __version__
from upright.errors import UserError
from upright.knowledge.access import Access
from upright.knowledge.failures import GraphError

T = TypeVar("T")
PASSING = {408, 425, 429, 500, 502, 503, 504}  # states of a server that may be over soon
LONGEST_GET = 2000  # characters of a query that still fits every server's limit for URLs
PUBLIC_PER_SECOND, PUBLIC_AT_ONCE, OWN_AT_ONCE = 5.0, 1, 8
CONNECT_SECONDS, FIRST_WAIT = 10.0, 0.5
ACCEPT = "application/sparql-results+json, application/json;q=0.9"


class _Trouble(Exception):
    """A request that failed: whether trying again may help, and how long the server asks to wait, in seconds."""

    def __init__(self, message: str, passing: bool = True, wait: float | None = None) -> None:
        super().__init__(message)
        self.passing, self.wait = passing, wait


class Transport:
    """Asks one host. Safe for threads.

    Attributes:
        requests: requests sent so far, further tries included.
    """

    def __init__(self, url: str, access: Access) -> None:
        public = is_public(url)
        self._access = access
        self._slots = threading.BoundedSemaphore(access.at_once or (PUBLIC_AT_ONCE if public else OWN_AT_ONCE))
        self._pace = Pace(access.per_second or (PUBLIC_PER_SECOND if public else None))
        self._jitter = random.Random()  # tells processes apart; it moves moments, never answers
        self._client = httpx.Client(
            headers={"User-Agent": user_agent(access.contact), "Accept": ACCEPT},
            timeout=httpx.Timeout(access.timeout, connect=min(CONNECT_SECONDS, access.timeout)),
            follow_redirects=True,
        )
        self._counting = threading.Lock()
        self.requests = 0

    def ask(self, url: str, form: dict[str, str], read: Callable[[Any], T], known: Callable[[], T | None]) -> T:
        """What `read` makes of the JSON a server answers with.

        Args:
            form: the parameters; sent by GET where they are short, so that caches on the way may help.
            read: takes the parsed reply; its ValueError, KeyError, TypeError or AttributeError mean a broken one.
            known: looked at when it is this request's turn: another thread may have brought the answer.

        Raises:
            GraphError: when there is no answer after all tries, or none can be hoped for.
        """
        for attempt in count():
            try:
                with self._slots:
                    answer = known()
                    return self._once(url, form, read) if answer is None else answer
            except _Trouble as trouble:
                self._pace.hold(self._wait(url, trouble, attempt))
        raise AssertionError("count() does not end")

    def _wait(self, url: str, trouble: _Trouble, attempt: int) -> float:
        """Seconds to wait before the next try."""
        if not trouble.passing:
            raise GraphError(f"{url}: {trouble}") from None
        if attempt >= self._access.retries:
            raise GraphError(f"{url}: {trouble}" + (f"; tried {attempt + 1} times" if attempt else "")) from None
        if trouble.wait is None:
            doubled = FIRST_WAIT * float(2**attempt)
            return min(doubled * self._jitter.uniform(0.5, 1.5), self._access.longest_wait)
        if trouble.wait > self._access.longest_wait:
            limit = f"longest_wait is {self._access.longest_wait:g} s"
            raise GraphError(f"{url}: {trouble}; it asks to wait {trouble.wait:.0f} s, {limit}") from None
        return trouble.wait

    def _once(self, url: str, form: dict[str, str], read: Callable[[Any], T]) -> T:
        self._pace.wait()
        with self._counting:
            self.requests += 1
        response, body = self._send(url, form)
        if response.status_code != httpx.codes.OK:
            code = response.status_code
            wait = _retry_after(response.headers.get("Retry-After"))
            raise _Trouble(f"answered {code} ({_first_line(body)})", code in PASSING, wait)
        try:
            return read(json.loads(body))
        except (ValueError, KeyError, TypeError, AttributeError):
            raise _Trouble(f"answered with something that is no result ({_first_line(body)})") from None

    def _send(self, url: str, form: dict[str, str]) -> tuple[httpx.Response, bytes]:
        short = sum(map(len, form.values())) <= LONGEST_GET
        deadline = time.monotonic() + self._access.timeout
        options: dict[str, Any] = {"params": form} if short else {"data": form}
        body = bytearray()
        try:
            with self._client.stream("GET" if short else "POST", url, **options) as response:
                for chunk in response.iter_bytes():
                    body += chunk
                    if time.monotonic() > deadline:  # a server may drip for ever without being silent
                        raise httpx.ReadTimeout("too slow")
        except httpx.ReadTimeout:  # the same question would take as long again
            raise _Trouble(f"gave no answer within {self._access.timeout:g} s", passing=False) from None
        except httpx.RequestError as error:
            raise _Trouble(f"cannot be reached ({type(error).__name__}: {error})") from None
        return response, bytes(body)

    def close(self) -> None:
        """Close the connections."""
        self._client.close()


class Pace:
    """Spreads requests over time: at most `per_second`, and none before a hold is over. Safe for threads."""

    def __init__(
        self,
        per_second: float | None,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._interval = 1 / per_second if per_second else 0.0
        self._clock, self._sleep = clock, sleep
        self._free = clock()
        self._lock = threading.Lock()

    def wait(self) -> None:
        """Sleep until it is this request's turn."""
        with self._lock:
            now = self._clock()
            start = max(now, self._free)
            self._free = start + self._interval
        if start > now:
            self._sleep(start - now)

    def hold(self, seconds: float) -> None:
        """Let no request start within so many seconds."""
        with self._lock:
            self._free = max(self._free, self._clock() + seconds)


def is_public(url: str) -> bool:
    """Whether a URL leads to a host outside the own network.

    >>> is_public("https://query.wikidata.org/sparql"), is_public("http://10.0.0.7:7001"), is_public("http://graph/")
    (True, False, False)
    """
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_global
    except ValueError:
        return "." in host and not host.endswith((".local", ".internal", ".localhost"))


def check_url(url: str) -> str:
    """The URL of an endpoint, as it is. Raises UserError when it cannot be one."""
    try:
        httpx.URL(url)
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname) and not re.search(r"\s", url)
    except (httpx.InvalidURL, ValueError, TypeError):
        good = False
    if not good:
        raise UserError(f"sparql:{url}: is no endpoint; give sparql:http://HOST/PATH or sparql:https://HOST/PATH")
    return url


def user_agent(contact: str) -> str:
    """How requests introduce themselves."""
    return f"upright/{__version__} ({contact or 'knowledge-graph client'}) httpx/{httpx.__version__}"


def _retry_after(header: str | None) -> float | None:
    """Seconds from a Retry-After header: a number, or a date."""
    if header is None:
        return None
    if header.strip().isdigit():
        return float(header)
    try:
        moment = parsedate_to_datetime(header)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())


def _first_line(body: bytes) -> str:
    lines = body.decode("utf-8", "replace").split("\n")
    text = next((line.strip() for line in lines if line.strip()), "nothing")
    return text if len(text) <= 100 else f"{text[:99]}…"
