"""Evaluation of synthetic records: what they are good for, how close they are, what they give away."""
