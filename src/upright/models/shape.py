"""The size of a small language model that is made from nothing."""

from pydantic import PositiveInt

from upright.run.config import Config


class Shape(Config):
    """Size of a small model: a Llama with tied embeddings."""

    vocabulary: PositiveInt = 4096
    """Entries of the byte-level BPE tokenizer."""
    hidden: PositiveInt = 128
    """Width of the states."""
    mlp: PositiveInt = 1536
    """Width of the MLPs: where facts live, so wide."""
    layers: PositiveInt = 5
    """Blocks."""
    heads: PositiveInt = 4
    """Attention heads."""
    context: PositiveInt = 512
    """Longest sequence, in tokens."""
