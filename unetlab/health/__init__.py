"""Coded checks of a finished run."""
