"""Generators of synthetic records, each behind one protocol."""

from importlib import import_module
from pathlib import Path

from upright.engines import Engine, Work
from upright.synthesis.codes import Codes
from upright.synthesis.config import Config
from upright.synthesis.generators.protocol import Generator, Task
from upright.synthesis.sampling import Draft, Item, work_of

MODULES = {"tuned": "tuned", "ngrams": "counted", "evolution": "evolved", "prompted": "shown"}
"""Module of this package that has `fit` for each name of the setting `generator`."""


def fitted(task: Task) -> Generator:
    """The generator that was asked for, once it has learnt its records; see `Generator`."""
    module = import_module(f"{__name__}.{MODULES[task.config.generator]}")
    found: Generator = module.fit(task)
    return found


def engine_of(config: Config) -> Engine:
    """Where records are written: here, unless the generator can be opened anew on each worker of a cluster."""
    return config.engine if config.generator == "tuned" else "local"


def reopened(config: Config, codes: Codes, out: Path) -> Work[Item, Draft]:
    """What writes with the model that lies in `out`, for a worker of a cluster."""
    from upright.synthesis.generators.tuned import reopen

    return work_of(reopen(config, codes, out).write)
