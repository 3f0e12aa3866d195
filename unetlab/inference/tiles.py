"""A large image through a network in overlapping tiles, blended.

Tiles are blended by a window that is next to nothing near a tile's own edge within the image, where the network has
seen padding instead of what goes on there, and rises as Hann's does. Tiles begin at multiples of ALIGN, so that every
pooling meets the pixels it would meet in the whole image. Only a row of tiles is in memory at a time.
"""

from collections.abc import Callable, Iterator

import numpy as np

from ..images import geometry
from ..images.rows import FittedRows
from ..images.view import ALIGN, mirrored, padded_side

TILE = 768
"""Side of a tile; an image that fits is seen in one piece. A trained encoder of 53 layers looks so far that in tiles of
512 single pixels at the seams are off by up to 0.03. In these all are within a thousandth of the image seen as one, of
trained networks with MobileNetV2 and EfficientNet-Lite0 (`benchmarks.large_images seams`); where the decoder has hardly
begun to learn, single pixels are not."""

EDGE = 8
"""So many-th part of a tile at each edge counts for nothing where another tile has it further inside; over as much
again a tile fades into its neighbour."""

BATCH_PIXELS = 8 * 256 * 256
"""Pixels, or one tile, that the network sees at once, so that memory does not grow with what is asked."""

FAINT = 1e-6
"""Weight of a tile's edge: it counts where no other tile reaches."""

Network = Callable[[np.ndarray], np.ndarray]
"""float32 (n, h, w, c) in [0, 1] to float32 (n, h, w, k): the mask's probability first, then heads."""


def offsets(length: int, tile: int, step: int) -> list[int]:
    """Where tiles of one axis begin: every `step` pixels, the last so that it ends with the axis."""
    if length <= tile:
        return [0]
    return [*range(0, length - tile, step), length - tile]


def window(length: int, edge: int, first: bool = False, last: bool = False) -> np.ndarray:
    """Weights of a tile along one axis, float32 (length,): FAINT over `edge` pixels, then a rise as sin^2 over as many,
    1 in the middle; and 1 up to the image's own edge, at which the `first` tile begins and the `last` one ends."""
    ahead, behind = np.arange(length), np.arange(length)[::-1]
    far = np.full(length, length)
    inside = np.minimum(far if first else ahead, far if last else behind) + 0.5 - edge
    rise = np.sin(0.5 * np.pi * np.clip(inside / edge, 0.0, 1.0)) ** 2
    return np.maximum(rise, FAINT).astype(np.float32)


def bands(
    network: Network, image: np.ndarray | FittedRows, levels: tuple[float, float], least: int, tile: int = TILE
) -> Iterator[np.ndarray]:
    """What a network says of an image, from top to bottom, as bands of rows float32 (rows, w, k).

    Args:
        network: as `Network`.
        image: uint8 (h, w, c) at the working scale, or read by rows; mirrored beyond its edges to sides the network
            takes.
        levels: the grey levels that become 0 and 1.
        least: the least side that the network sees, in pixels.
        tile: side of a tile, a multiple of ALIGN; an image that fits is seen in one piece.
    """
    height, width = image.shape[:2]
    rows, columns = mirrored(height, padded_side(height, least)), mirrored(width, padded_side(width, least))
    high, wide = min(tile, len(rows)), min(tile, len(columns))
    step = (tile - 3 * (tile // EDGE)) // ALIGN * ALIGN
    tops, lefts = offsets(len(rows), high, step), offsets(len(columns), wide, step)
    if len(tops) == len(lefts) == 1:
        yield network(geometry.stretch(_cut(image, rows, columns), *levels)[None])[0, :height, :width]
        return
    held = weights = None
    for top, below in zip(tops, [*tops[1:], len(rows)], strict=True):
        found, weight = _row(network, image, levels, rows[top : top + high], columns, lefts, wide, tile // EDGE)
        down = window(high, tile // EDGE, top == tops[0], top == tops[-1])
        found *= down[:, None, None]
        weight *= down[:, None]
        if held is not None and weights is not None:
            found[: len(held)] += held
            weight[: len(weights)] += weights
        done = below - top
        found[:done] /= weight[:done, :, None]
        band = found[: min(done, max(0, height - top)), :width].copy()
        held, weights = found[done:].copy(), weight[done:].copy()
        del found, weight  # no more than what goes on is kept while the next row is seen
        yield band


def _cut(image: np.ndarray | FittedRows, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
    return image.cut(rows, columns) if isinstance(image, FittedRows) else geometry.cut(image, rows, columns)


def _row(
    network: Network,
    image: np.ndarray | FittedRows,
    levels: tuple[float, float],
    rows: np.ndarray,
    columns: np.ndarray,
    lefts: list[int],
    wide: int,
    edge: int,
) -> tuple[np.ndarray, np.ndarray]:
    """The weighted sum of a row of tiles, float32 (high, w, k), and the weights, (high, w)."""
    several = max(1, BATCH_PIXELS // (len(rows) * wide))
    total, weight = None, np.zeros((len(rows), len(columns)), np.float32)
    for start in range(0, len(lefts), several):
        part = lefts[start : start + several]
        tiles = [geometry.stretch(_cut(image, rows, columns[left : left + wide]), *levels) for left in part]
        for left, found in zip(part, network(np.stack(tiles)), strict=True):
            across = window(wide, edge, left == lefts[0], left == lefts[-1])
            if total is None:
                total = np.zeros((len(rows), len(columns), found.shape[-1]), np.float32)
            total[:, left : left + wide] += found * across[:, None]
            weight[:, left : left + wide] += across
    assert total is not None  # there is at least one tile
    return total, weight


def tiled(network: Network, image: np.ndarray, levels: tuple[float, float], least: int, tile: int = TILE) -> np.ndarray:
    """What a network says of an image, float32 (h, w, k); arguments as `bands` takes them."""
    out: np.ndarray | None = None
    top = 0
    for band in bands(network, image, levels, least, tile):
        if out is None:
            out = np.empty((*image.shape[:2], band.shape[-1]), np.float32)
        out[top : top + len(band)] = band
        top += len(band)
    assert out is not None  # there is at least one band
    return out
