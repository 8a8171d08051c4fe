"""Benchmarks, one script a verb; what two of them need is in `harness`."""
