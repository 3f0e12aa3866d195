"""One file a setup: what it is, its published figures, its recipe, its search space."""
