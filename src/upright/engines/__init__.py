"""A map over shards, here or over a Ray cluster, with the same result wherever and by however many it is worked on."""

from upright.engines.shards import Engine, Work, opened, stream

__all__ = ["Engine", "Work", "opened", "stream"]
