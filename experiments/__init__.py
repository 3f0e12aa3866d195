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


def setups_named(text: str) -> tuple[str, ...]:
    """The setups of a comma-separated list, or all.

    Raises UserError for an unknown name, and for fewer than two.
    """
    names = tuple(SETUPS) if text == "all" else tuple(dict.fromkeys(n.strip() for n in text.split(",") if n.strip()))
    for name in names:
        if name not in SETUPS:
            raise UserError(f"setups must be `all` or names out of {', '.join(SETUPS)}. Received: {name!r}")
    if len(names) < 2:
        raise UserError(f"a showdown needs two setups or more, such as nuclei,nuclei-scratch. Received: {text!r}")
    return names
