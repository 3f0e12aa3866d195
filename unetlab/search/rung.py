"""How far Hyperband has a trial trained."""

from collections.abc import Mapping
from typing import Any, NamedTuple


class Rung(NamedTuple):
    """Where a trial pauses, and which one it goes on with.

    Args:
        epochs: after which it is judged.
        past: number of the trial that it goes on with, None for one that begins.
    """

    epochs: int
    past: int | None


def rung_of(values: Mapping[str, Any]) -> Rung | None:
    """The rung that is among a trial's values, None where the tuner has none."""
    if "tuner/epochs" not in values:
        return None
    past = values.get("tuner/trial_id") if values.get("tuner/round") else None
    return Rung(int(values["tuner/epochs"]), None if past is None else int(past))
