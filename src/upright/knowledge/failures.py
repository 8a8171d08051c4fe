"""What goes wrong with a graph that is somewhere else."""

from upright.errors import UprightError


class GraphError(UprightError):
    """A knowledge graph cannot answer now: one line with where and why.

    It is no mistake of the user's: whoever searches notes it and goes on with what else is known.
    """
