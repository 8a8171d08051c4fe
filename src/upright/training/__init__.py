"""Training: the one loop every verb shares, and its optimisers."""
