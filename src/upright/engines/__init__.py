"""A map over shards, here or over a Ray cluster, with the same result wherever and by however many it is worked on."""

from upright.engines.maps import Engine, opened, stream
from upright.engines.shards import Work

__all__ = ["Engine", "Work", "opened", "stream"]
