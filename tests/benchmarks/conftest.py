"""Benchmarks lie beside the package, not in it: tests import them from the repository's root."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))
