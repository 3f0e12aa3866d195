"""Built-in twins of real data, simulated, so that everything can be tried without an image at hand."""

from collections.abc import Callable
from typing import NamedTuple

from unetlab.data.cache import Decoded
from unetlab.data.twins import kitchen, latex, membranes, mitoses, nuclei

Job = Callable[[], Decoded]
"""Makes one image."""


class Twin(NamedTuple):
    """A row of TWINS.

    Args:
        jobs: makes its jobs from a seed.
        version: of the simulation.
        classes: names of its classes, background first; none where there is one.
    """

    jobs: Callable[[int], list[Job]]
    version: int
    classes: tuple[str, ...] = ()


TWINS: dict[str, Twin] = {
    "nuclei": Twin(nuclei.jobs, nuclei.VERSION),
    "latex": Twin(latex.jobs, latex.VERSION),
    "kitchen": Twin(kitchen.jobs, kitchen.VERSION),
    "membranes": Twin(membranes.jobs, membranes.VERSION),
    "mitoses": Twin(mitoses.jobs, mitoses.VERSION, mitoses.CLASSES),
}
"""Twins by name, as `data=synthetic-<name>` has them."""
