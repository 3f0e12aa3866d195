"""Built-in twins of real data, simulated, so that everything can be tried without an image at hand."""

from collections.abc import Callable

from unetlab.data.cache import Decoded
from unetlab.data.twins import kitchen, latex, membranes, nuclei

Job = Callable[[], Decoded]
"""Makes one image."""

TWINS: dict[str, tuple[Callable[[int], list[Job]], int]] = {
    "nuclei": (nuclei.jobs, nuclei.VERSION),
    "latex": (latex.jobs, latex.VERSION),
    "kitchen": (kitchen.jobs, kitchen.VERSION),
    "membranes": (membranes.jobs, membranes.VERSION),
}
"""Name to what makes its jobs from a seed, and the version of the simulation."""
