"""Causal language models: loading, layer layouts, batched generation and scoring."""
