"""Names that others read: the experiment and its views."""

EXPERIMENT = "unetlab"

RANKED = "unetlab-dice"
"""View of the run table: the setups' runs alone, best validation Dice first."""

NESTED = "unetlab-searches"
"""View of the run table: newest first, trials below their search; the UI unfolds children only in that order."""
