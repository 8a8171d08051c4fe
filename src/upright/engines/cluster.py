"""The shards on a Ray cluster: that of RAY_ADDRESS, else one of this machine's processes, started and ended quietly."""

import os
import pickle
import secrets
import socket
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NamedTuple, TypeVar

from upright.engines.shards import Found, Shard, Work
from upright.errors import MissingExtra, UserError

T = TypeVar("T")
R = TypeVar("R")

LIVES = 3
"""How often a shard is begun whose worker dies, as when a machine of the cluster goes away."""


class _Failure(NamedTuple):
    """What the work raised on a worker."""

    error: Exception
    trace: str


class _Worker:
    """A process of the cluster. The work of a map is made at its first shard, and again if the process dies."""

    def __init__(self) -> None:
        self.map: Any = None
        self.work: Work[Any, Any] | None = None

    def run(self, setup: "list[Any]", shard: Shard) -> "Sequence[Any] | _Failure":
        """Errors come back as values: Ray would wrap them, and lose those that it cannot pickle.

        Args:
            setup: the reference alone of what makes the work: Ray would fetch a bare one for every shard.
        """
        try:
            if self.work is None or self.map != setup[0]:
                self.forget()
                self.work, self.map = _fetched(setup[0])(), setup[0]
            return shard.checked(self.work(shard.items, shard.seed))
        except Exception as error:
            return _Failure(_portable(error), traceback.format_exc())

    def forget(self) -> None:
        """Frees the memory that the work of a map took."""
        self.map = self.work = None


def _fetched(reference: Any) -> Callable[[], Work[Any, Any]]:
    import ray

    found: Callable[[], Work[Any, Any]] = ray.get(reference)
    return found


def _portable(error: Exception) -> Exception:
    """The error itself where it survives the way back, else one that says the same."""
    from ray import cloudpickle

    try:
        pickle.loads(cloudpickle.dumps(error))  # type: ignore[no-untyped-call]
        return error
    except Exception:  # whatever its own pickling code raises
        return RuntimeError(f"{type(error).__name__}: {error}")


def work_on_cluster(setup: Callable[[], Work[T, R]], shards: Iterator[Shard], workers: int) -> Found[R]:
    """The results of each shard in order; at most 2 * workers shards are under way or wait to be taken."""
    with pool(workers) as processes:
        yield from processes.work(setup, shards)


class Pool:
    """Processes of a cluster, for one map after another."""

    def __init__(self, ray: Any, workers: int) -> None:
        # Restarted for as long as it takes; what ends a map is the shard that used up its lives.
        options = {"num_cpus": 1, "num_gpus": _gpus(ray, workers), "max_restarts": -1}
        self._ray, self._kind = ray, ray.remote(_Worker).options(**options)
        self._actors: list[Any] = [None] * workers
        self.workers = workers

    def work(self, setup: Callable[[], Work[T, R]], shards: Iterator[Shard]) -> Found[R]:
        """The results of each shard in order."""
        shared = [self._ray.put(setup)]  # once for all workers: it may hold a model's readings of many records
        self._actors = [actor or self._kind.remote() for actor in self._actors]
        under_way: deque[_Task] = deque()
        try:
            for shard in shards:
                if len(under_way) == 2 * self.workers:
                    yield under_way.popleft().result(self._ray)
                under_way.append(_Task(self._actors[shard.number % self.workers], shared, shard))
            while under_way:
                yield under_way.popleft().result(self._ray)
        finally:
            self._rest(busy=bool(under_way))

    def _rest(self, busy: bool) -> None:
        """Nobody waits for shards that are still under way: what works on them is ended."""
        if busy:
            self.close()
        for actor in filter(None, self._actors):
            actor.forget.remote()

    def close(self) -> None:
        """End the processes; a further map has new ones."""
        for actor in filter(None, self._actors):
            self._ray.kill(actor)
        self._actors = [None] * self.workers


_open: list[Pool] = []
"""The pools of this process, the innermost last; like the connection of Ray, they are the process's own."""


@contextmanager
def pool(workers: int) -> Iterator[Pool]:
    """Processes of a cluster: those of the block around this one, where it asks for as many, or else new ones."""
    if _open and _open[-1].workers == workers:
        yield _open[-1]
        return
    with connected(workers) as ray:
        _open.append(Pool(ray, workers))
        try:
            yield _open[-1]
        finally:
            _open.pop().close()


class _Task:
    """A shard that a worker has been given. Ray's own retries would be told of on the terminal when a map is ended."""

    def __init__(self, actor: Any, setup: list[Any], shard: Shard) -> None:
        self.actor, self.setup, self.shard = actor, setup, shard
        self.reference = actor.run.remote(setup, shard)

    def result(self, ray: Any) -> Any:
        """Waits for the results; begins again where the worker died. Raises what the work raised."""
        outcome = self._outcome(ray)
        if isinstance(outcome, _Failure):
            outcome.error.add_note(f"in {self.shard}, on a worker:\n{outcome.trace}")
            raise outcome.error
        return outcome

    def _outcome(self, ray: Any) -> Any:
        died = 0
        while True:
            try:
                return ray.get(self.reference)
            except ray.exceptions.RayActorError as error:
                died += 1
                if died == LIVES:
                    cure = "give it more memory, fewer workers at once or smaller shards"
                    raise UserError(f"{self.shard}: its worker died {died} times; {cure}") from error
                self.reference = self.actor.run.remote(self.setup, self.shard)


def _gpus(ray: Any, workers: int) -> float:
    """The part of the cluster's GPUs that a worker gets, at most one."""
    return min(1.0, float(ray.cluster_resources().get("GPU", 0)) / workers)


@contextmanager
def connected(workers: int) -> Iterator[Any]:
    """The module `ray`, connected: as it is already, to the cluster of RAY_ADDRESS, or to one that is started.

    What was connected or started here is left or ended with the block.
    """
    address = os.environ.get("RAY_ADDRESS")
    ray = _imported(alone=address is None)
    ours = not ray.is_initialized()
    if ours:
        _join(ray, address) if address else _start(ray, workers)
    try:
        if (cpus := int(ray.cluster_resources().get("CPU", 0))) < workers:
            raise UserError(f"workers {workers}: the Ray cluster has {cpus} CPUs; give at most as many workers")
        yield ray
    finally:
        if ours:
            ray.shutdown()


def _imported(alone: bool) -> Any:
    """Ray reads these at its import."""
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")  # without it Ray warns of its own change
    if alone:
        os.environ.setdefault("RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER", "0")  # listen on the loopback address only
        os.environ.setdefault("RAY_AUTH_MODE", "token")  # others on this machine are kept out,
        os.environ.setdefault("RAY_AUTH_TOKEN", secrets.token_hex(32))  # and no token is left in the home folder
    try:
        import ray
    except ImportError as error:
        raise MissingExtra("ray", "cluster") from error
    return ray


def _join(ray: Any, address: str) -> None:
    host, _, port = address.removeprefix("ray://").rpartition(":")
    try:
        if port.isdecimal():  # Ray itself would try for minutes
            socket.create_connection((host, int(port)), timeout=10).close()
        ray.init(address=address, log_to_driver=False, logging_level="error")
    except OSError as error:
        cure = "start one with `ray start --head`, set RAY_AUTH_MODE=token if it wants a token, or unset RAY_ADDRESS"
        raise UserError(f"RAY_ADDRESS={address}: no Ray cluster lets us in; {cure}") from error


def _start(ray: Any, workers: int) -> None:
    ray.init(address="local", num_cpus=workers, include_dashboard=False, log_to_driver=False, logging_level="error")
