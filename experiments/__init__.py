"""One file a setup: what it is, its published figures, data, recipe and search space; and their catalogue."""

from experiments.auto import SETUP as auto
from experiments.drosophila import SETUP as drosophila
from experiments.latex import SETUP as latex
from experiments.nuclei import SETUP as nuclei
from experiments.nuclei_scratch import SETUP as nuclei_scratch
from experiments.pseudo_label import SETUP as pseudo_label
from unetlab.errors import UserError
from unetlab.setup import Setup

SETUPS = {setup.name: setup for setup in (nuclei, nuclei_scratch, latex, pseudo_label, drosophila, auto)}
"""Setups by name. A new one is one file and one name here."""


def load_setup(name: str) -> Setup:
    """The setup of that name.

    Raises UserError for an unknown name, listing those there are.
    """
    if name not in SETUPS:
        raise UserError(f"setup must be one of {', '.join(SETUPS)}. Received: {name!r}")
    return SETUPS[name]
