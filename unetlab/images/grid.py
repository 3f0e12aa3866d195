"""Files that are arrays of many axes: what Zarr and the microscopes' formats have in common."""

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from .axes import Planes, choose_channels, choose_pages, words
from .contract import Pages, PixelError, refuse_size


class Grid(Pages):
    """Arrays whose last axes are Y and X, or Y, X and S, the samples of a colour; each array is a scene of its own.

    Args:
        axes: a capital letter an axis.
        shapes: of each scene; all must be alike.
        dtype: of the pixels.
        fetch: from a scene and an index along each outer axis to one plane, (h, w) or (h, w, samples).
        channels: which make the image, as `choose_channels` takes them.
        pages: which are there at all, as `choose_pages` takes them.

    Raises PixelError for axes that are ambiguous without a choice, and for scenes of several sizes.
    """

    def __init__(
        self,
        axes: str,
        shapes: Sequence[tuple[int, ...]],
        dtype: Any,
        fetch: Callable[[int, tuple[int, ...]], np.ndarray],
        channels: str,
        pages: str,
    ) -> None:
        inner = "YXS" if axes.endswith("YXS") else "YX"
        if not axes.endswith(inner) or set(axes[: -len(inner)]) & set("YXS"):
            raise PixelError(f"its axes are {axes}; they must end in rows Y and columns X")
        for number, shape in enumerate(shapes, start=1):
            if shape != shapes[0]:
                sizes = f"{' x '.join(map(str, shape))}, scene 1 {' x '.join(map(str, shapes[0]))}"
                raise PixelError(f"scene {number} is {sizes} ({axes}); save each scene as a file of its own")
        outer, shape = axes[: -len(inner)], shapes[0]
        self.planes = Planes(outer, shape[: len(outer)], parted=channels == "pages")
        self.fetch, self.lock = fetch, threading.Lock()
        height, width = shape[len(outer) : len(outer) + 2]
        refuse_size(height, width)
        apart, samples = self.planes.channels, shape[-1] if inner == "YXS" else 1
        if apart > 1 and samples > 1:
            raise PixelError(f"it has {apart} channels of {samples} samples each; save one image a channel")
        total = len(shapes) * self.planes.pages
        colours = 3 if samples == 4 else samples  # the fourth is alpha
        many, said = total if apart > 1 else 1, self.planes.said()
        self.chosen = choose_channels(channels, max(apart, colours), many, said, planes=samples == 1)
        weight = height * width * samples * np.dtype(dtype).itemsize
        kind = f"{dtype} {words(self.chosen)}"
        super().__init__(choose_pages(pages, total), (height, width), kind, weight=weight)

    def field(self, page: int) -> tuple[int, ...]:
        """As `Pages.field` says."""
        scene, within = divmod(self.numbers[page], self.planes.pages)
        return scene, self.planes.field(within)

    def _read(self, page: int) -> np.ndarray:
        scene, within = divmod(self.numbers[page], self.planes.pages)
        with self.lock:
            if self.planes.channels > 1:
                planes = [self.fetch(scene, self.planes.index(within, channel)) for channel in self.chosen]
                return np.stack(planes, axis=2)
            plane = self.fetch(scene, self.planes.index(within, 0))
        return (plane[:, :, None] if plane.ndim == 2 else plane)[:, :, list(self.chosen)]
