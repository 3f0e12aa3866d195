"""Built-in twins of real data, simulated, so that everything can be tried without an image at hand."""

from collections.abc import Callable

import numpy as np

from unetlab.data.twins import nuclei

Job = Callable[[], tuple[str, np.ndarray, np.ndarray, str]]
"""Makes one image: id, image uint8 (h, w, c), labels uint16 (h, w), stored mode."""

TWINS: dict[str, tuple[Callable[[int], list[Job]], int]] = {
    "nuclei": (nuclei.jobs, nuclei.VERSION),
}
"""Name to what makes its jobs from a seed, and the version of the simulation."""
