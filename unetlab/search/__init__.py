"""Proposes hyperparameters and knows nothing of U-Nets."""
