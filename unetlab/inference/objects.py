"""From a mask to its objects: a label image in which what touches is told apart.

Near-linear in pixels: only connected components that hold several seeds are flooded.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy import ndimage
from skimage.morphology import local_maxima
from skimage.segmentation import watershed

from ..images.geometry import COUNTED
from ..images.regions import components

SMOOTH = 1.0
"""Sigma in pixels of the blur of the mask's distance map: a jagged edge has many ridges, an object one."""

AT_ONCE = 2**22
"""Pixels of an image in which all that touches is parted at once."""

BLURRED = 4
"""Pixels that the blur of one looks away."""

AROUND = 128
"""Rows that a band of distances sees above and below itself."""

SPECK = 0.05
"""A seed below this share of the largest in its component, or a peak of the highest, is noise of the network, not an
object."""


@dataclass(frozen=True)
class Method:
    """A row of METHODS.

    Args:
        of: mask bool (h, w), head float32 (h, w) or None, and values of its number, to int32 (h, w) for each in turn: 0
            background, 1..n objects.
        uses_head: whether it wants the network's second channel.
        seeds: values of its one number that are tried on validation images; what the number is, `of` says.
        default: the value where none was chosen.
    """

    of: Callable[[np.ndarray, np.ndarray | None, Sequence[float]], Iterator[np.ndarray]]
    uses_head: bool
    seeds: tuple[float, ...]
    default: float


def instances(mask: np.ndarray, head: np.ndarray | None, how: str, seeds: float, least: int = 0) -> np.ndarray:
    """The objects of a mask.

    Args:
        mask: bool (h, w).
        head: float32 (h, w) in [0, 1], the network's second channel; None for methods that use none.
        how: a key of METHODS.
        seeds: the method's one number, in (0, 1); a larger one parts more.
        least: pixels; what is smaller is no object.

    Returns int32 (h, w): 0 background, 1..n objects. With `least` 0 every pixel of the mask belongs to one, so that the
    mask of the objects is the mask.

    Raises ValueError for an unknown method and for a head that is missing or of another shape.
    """
    (found,) = instances_for_each(mask, head, how, [seeds], least)
    return found


def instances_for_each(
    mask: np.ndarray, head: np.ndarray | None, how: str, seeds: Sequence[float], least: int = 0
) -> Iterator[np.ndarray]:
    """What `instances` returns for each of several `seeds` in turn; what they have in common is done once."""
    if how not in METHODS:
        raise ValueError(f"objects must be one of {', '.join(METHODS)}. Received: {how!r}")
    method = METHODS[how]
    if method.uses_head and (head is None or head.shape != mask.shape):
        came = "none" if head is None else f"shape {head.shape}"
        raise ValueError(f"objects={how} wants a head of the mask's shape {mask.shape}. Received: {came}")
    for found in method.of(np.asarray(mask, bool), head, seeds):
        if least:
            _choose(found, _areas(found) >= least)
        yield found


def confident(labels: np.ndarray, probability: np.ndarray, confidence: float) -> np.ndarray:
    """Those objects over which the mean `probability` is `confidence` or more.

    Args:
        labels: int32 (h, w), 0 background, 1..n objects.
        probability: of the mask, float32 (h, w).
        confidence: in [0, 1].

    Returns int32 (h, w), numbered from 1 in the same order.
    """
    found = labels.copy()
    _choose(found, means(labels, probability) >= confidence)
    return found


def means(labels: np.ndarray, probability: np.ndarray) -> np.ndarray:
    """The mean probability over each object of a label image by its number, float64 (n + 1,)."""
    total: np.ndarray = np.zeros(int(labels.max(initial=0)) + 1, np.float64)
    for part, values in zip(_in_parts(labels), _in_parts(probability), strict=True):
        total += np.bincount(part.ravel(), weights=values.ravel(), minlength=len(total))
    return np.asarray(total / np.maximum(_areas(labels), 1))


def instances_of_classes(classes: np.ndarray, how: str, seeds: float, least: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """The objects of each class, parted within it: two classes that touch are two objects.

    Args:
        classes: uint8 (h, w), 0 background.
        how, seeds, least: as `instances` takes them; a method that uses no head.

    Returns the objects, int32 (h, w), 0 background, numbered from 1 class by class; and the class of each by its
    number, uint8 (n + 1,), 0 for background.

    Raises ValueError as `instances` does.
    """
    labels, kinds = np.zeros(classes.shape, np.int32), [0]
    for kind in np.flatnonzero(np.bincount(classes.ravel())):
        if kind == 0:
            continue
        found = instances(classes == kind, None, how, seeds, least)
        labels = np.where(found > 0, found + np.int32(len(kinds) - 1), labels)
        kinds += [int(kind)] * int(found.max())
    return labels, np.array(kinds, np.uint8)


def _components(mask: np.ndarray, head: np.ndarray | None, seeds: Sequence[float]) -> Iterator[np.ndarray]:
    """Connected components; seeds say nothing."""
    yield from (components(mask) for _ in seeds)


def _watershed(mask: np.ndarray, head: np.ndarray | None, seeds: Sequence[float]) -> Iterator[np.ndarray]:
    """Basins of the mask's distance map; two are one object if the neck between them is at least a seed times as wide
    as the narrower of the two."""
    return _parted(mask, _blurred_depth(mask, None), seeds)


def _border(mask: np.ndarray, head: np.ndarray | None, seeds: Sequence[float]) -> Iterator[np.ndarray]:
    """Basins as those of `_watershed`, of a distance map that is lower the surer the head is of a border: a border that
    is seen in part, or faintly, parts where there is a neck as well."""
    assert head is not None
    return _parted(mask, _blurred_depth(mask, head), seeds)


def _distance(mask: np.ndarray, head: np.ndarray | None, seeds: Sequence[float]) -> Iterator[np.ndarray]:
    """Regions where the head is above the seed, grown back."""
    assert head is not None
    for seed in seeds:
        sure = components(mask & (head > seed))
        yield _grown(mask, sure, head, _areas(sure))


METHODS = {
    "components": Method(_components, False, (0.5,), 0.5),
    "watershed": Method(_watershed, False, (0.5, 0.6, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95), 0.9),
    "border": Method(_border, True, (0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.7, 0.8), 0.5),
    "distance": Method(_distance, True, (0.2, 0.3, 0.4, 0.5, 0.6, 0.7), 0.5),
}
"""Ways from a mask to objects, by the name that a recipe's `objects` has."""


def _blurred_depth(mask: np.ndarray, head: np.ndarray | None) -> np.ndarray:
    """Each pixel's distance to what is outside the mask, 1 everywhere where nothing is, less that share of it which the
    head says, blurred: float32 (h, w), 0 outside the mask."""
    if mask.all():
        return _blurred(np.ones(mask.shape, np.float32), mask, head)
    found = _in_bands(mask, head) if mask.size > AT_ONCE else None
    return _blurred(_distances(mask), mask, head) if found is None else found


def _blurred(depth: np.ndarray, mask: np.ndarray, head: np.ndarray | None) -> np.ndarray:
    if head is not None:
        depth *= 1 - head
    found: np.ndarray = ndimage.gaussian_filter(depth, SMOOTH, radius=BLURRED)
    found[~mask] = 0
    return found


def _distances(mask: np.ndarray) -> np.ndarray:
    """SciPy's exact distances in float32, of the places of the nearest pixels, which takes two thirds of the time and
    half the memory of having it do that in float64."""
    rows, columns = ndimage.distance_transform_edt(mask, return_distances=False, return_indices=True)
    rows -= np.arange(mask.shape[0], dtype=rows.dtype)[:, None]
    columns -= np.arange(mask.shape[1], dtype=rows.dtype)
    return np.sqrt(rows * rows + columns * columns, dtype=np.float32)


def _in_bands(mask: np.ndarray, head: np.ndarray | None) -> np.ndarray | None:
    """`_blurred_depth` band by band, two at a time, since all at once takes 20 bytes a pixel; None where a distance is
    larger than what a band sees around itself, which would not be exact."""
    rows, out = max(AROUND, AT_ONCE // mask.shape[1]), np.empty(mask.shape, np.float32)

    def exact(top: int) -> bool:
        first = max(0, top - BLURRED)
        band = slice(first, top + rows + BLURRED)
        above = min(AROUND, first)
        seen = mask[first - above : band.stop + AROUND]
        if seen.all():
            return False
        depth = _distances(seen)[above:][: len(mask[band])]
        found = depth.max() <= AROUND
        depth = _blurred(depth, mask[band], None if head is None else head[band])
        out[top : top + rows] = depth[top - first :][:rows]
        return bool(found)

    with ThreadPoolExecutor(2) as threads:
        return out if all(threads.map(exact, range(0, len(mask), rows))) else None


def _parted(mask: np.ndarray, height: np.ndarray, ratios: Sequence[float]) -> Iterator[np.ndarray]:
    """Basins of `height`, float32 (h, w), 0 outside the mask; for each of the ratios neighbours are merged, over the
    highest saddle first, where the saddle is at least so much of the lower of their two peaks.

    That keeps the peaks whose dynamics (Grimaud 1992, as in h-maxima) is large for their own height, so that one number
    serves small objects and large ones.
    """
    tops = components(local_maxima(height, connectivity=1) & mask)
    basins = _grown(mask, tops, height, _peaks(tops, height))
    del tops
    peaks = _peaks(basins, height)
    pairs, saddles = _saddles(basins, height)
    del height
    for ratio in ratios:
        yield _merged(peaks, pairs, saddles, ratio)[basins]


def _peaks(labels: np.ndarray, height: np.ndarray) -> np.ndarray:
    """The highest point of each number of a label image, float32 (most + 1,); heights are 0 or more."""
    inside = labels > 0
    there = labels[inside]
    peaks = np.zeros(int(there.max(initial=0)) + 1, np.float32)
    np.maximum.at(peaks, there, height[inside])
    return peaks


def _merged(peaks: np.ndarray, pairs: np.ndarray, saddles: np.ndarray, ratio: float) -> np.ndarray:
    """The object that each basin is part of, 1..n, int32 (basins,); 0, which is background, is 0."""
    parent = list(range(len(peaks)))

    def root(k: int) -> int:
        while parent[k] != k:
            parent[k] = k = parent[parent[k]]
        return k

    for k in np.argsort(-saddles, kind="stable"):
        lower, higher = sorted((root(int(pairs[k, 0])), root(int(pairs[k, 1]))), key=lambda basin: peaks[basin])
        if lower != higher and saddles[k] >= ratio * peaks[lower]:
            parent[lower] = higher
    return np.unique([root(k) for k in range(len(parent))], return_inverse=True)[1].astype(np.int32)


def _saddles(basins: np.ndarray, height: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Basins that touch by an edge, int (k, 2), and the highest point at which they do, float (k,)."""
    found, heights = [], []
    for one, other in ((np.s_[:-1], np.s_[1:]), (np.s_[:, :-1], np.s_[:, 1:])):
        a, b = basins[one], basins[other]
        meet = (a != b) & (a > 0) & (b > 0)
        found.append(np.sort(np.stack([a[meet], b[meet]], axis=1).astype(np.int64), axis=1))
        heights.append(np.minimum(height[one][meet], height[other][meet]))
    pairs, lows = np.concatenate(found), np.concatenate(heights)
    width = int(basins.max()) + 1
    key, where = np.unique(pairs[:, 0] * width + pairs[:, 1], return_inverse=True)
    saddles = np.zeros(len(key), np.float32)
    np.maximum.at(saddles, where, lows)
    return np.stack(np.divmod(key, width), axis=1), saddles


def _grown(mask: np.ndarray, seeds: np.ndarray, height: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Seeds, int32 (h, w), within the mask, grown until they fill it, over high `height` first.

    A component without a seed, or with one, is an object as it is; seeds whose `size`, (most + 1,) by their numbers, is
    below SPECK of the largest of their component are none.
    """
    regions, inside = components(mask), seeds > 0
    owner = np.zeros(len(size), np.int32)
    owner[seeds[inside]] = regions[inside]
    del inside
    largest = np.zeros(int(regions.max()) + 1, size.dtype)
    np.maximum.at(largest, owner[1:], size[1:])
    kept = size >= SPECK * largest[owner]
    kept[0] = False
    several = np.bincount(owner[kept], minlength=len(largest)) > 1
    several[0] = False
    number = np.where(kept, np.arange(len(size), dtype=np.int32), np.int32(0))
    for box, own in _crowded(regions, several):
        flooded = watershed(-height[box], number[seeds[box]] * own, mask=own)
        regions[box][own] = flooded[own] + len(largest)
    _choose(regions, np.concatenate([~several, kept & several[owner]]))
    return regions


def _crowded(regions: np.ndarray, several: np.ndarray) -> Iterator[tuple[tuple[slice, slice], np.ndarray]]:
    """Where to flood, and what there, bool: the regions that are `several`, together, or in an image of more than
    AT_ONCE pixels one by one, since flooding takes fifty bytes a pixel. Pixels of one height between two seeds may then
    fall to the other."""
    if not several.any():
        return
    if regions.size <= AT_ONCE:
        yield np.s_[:, :], several[regions]
        return
    boxes = ndimage.find_objects(regions)
    for region in np.flatnonzero(several):
        yield boxes[region - 1], regions[boxes[region - 1]] == region


def _areas(labels: np.ndarray) -> np.ndarray:
    """Pixels of each number of an int32 (h, w), int64 (most + 1,); in parts, since counting takes eight bytes each."""
    most = int(labels.max(initial=0))
    area = np.zeros(most + 1, np.int64)
    for part in _in_parts(labels):
        area += np.bincount(part.ravel(), minlength=most + 1)
    return area


def _choose(labels: np.ndarray, kept: np.ndarray) -> None:
    """Leaves those objects that are `kept`, bool (most + 1,) by their numbers, all of which are there: 1..n."""
    kept[0] = False
    number = (np.cumsum(kept) * kept).astype(labels.dtype)
    for part in _in_parts(labels):
        part[...] = number[part]


def _in_parts(image: np.ndarray) -> list[np.ndarray]:
    """Views of its rows, so that what is made of each takes little memory."""
    return np.array_split(image, max(1, image.size // COUNTED))
