"""Scores and statistics on arrays; nothing here knows of a run."""
