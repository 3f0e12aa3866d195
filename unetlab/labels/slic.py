"""SLIC superpixels (Achanta et al., PAMI 34, 2012) joined by a normalised cut (Shi and Malik, PAMI 22, 2000)."""

import numpy as np
from scipy import ndimage
from scipy.sparse.linalg import eigsh
from scipy.spatial.distance import cdist
from skimage import graph, segmentation

from unetlab.labels.foreground import labelled

PIXELS_EACH = 40
"""Pixels of a superpixel, in the small copy: fewer than a small nucleus has."""

NEARNESS = 20.0
"""CIELAB distance at which two regions' likeness has fallen to 1 / e."""

DISTANT = 0.1
"""Weight of an edge between regions that do not touch: without such edges each object would be a part of its own."""


def slic(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w) of 0 and 1."""
    return labelled(image, _segments)


def _segments(colours: np.ndarray) -> np.ndarray:
    regions = np.asarray(
        segmentation.slic(
            colours / 100,
            n_segments=max(2, colours[..., 0].size // PIXELS_EACH),
            compactness=0.05,
            convert2lab=False,
            channel_axis=2,
            start_label=0,
        )
    )
    likeness = _likeness(regions, colours)
    return regions if len(likeness) < 4 else normalised_cut(likeness)[regions]


def _likeness(regions: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Weights of the region graph: int (h, w) of k regions and CIELAB (h, w, 3) to float64 (k, k)."""
    count = int(regions.max()) + 1
    means = np.stack([ndimage.mean(colours[..., k], regions, np.arange(count)) for k in range(3)], axis=1)
    likeness = np.exp(-cdist(means, means, "sqeuclidean") / NEARNESS**2)
    touching = np.full((count, count), DISTANT)
    one, other = np.array(graph.RAG(regions).edges, dtype=np.int64).reshape(-1, 2).T
    touching[one, other] = touching[other, one] = 1.0
    return np.asarray(likeness * touching + 1e-6)


def normalised_cut(likeness: np.ndarray) -> np.ndarray:
    """Cuts a graph in two where what is cut is least against what each side holds.

    scikit-image's `cut_normalized` goes on cutting the parts until a threshold of cost stops it, which differs from
    image to image; here one cut is wanted, the best.

    Args:
        likeness: symmetric weights above 0, float64 (k, k), k at least 4.

    Returns:
        bool (k,): of all cuts of the second generalised eigenvector, the side of the best one.
    """
    degree = likeness.sum(axis=1)
    root = np.sqrt(degree)
    start = np.random.default_rng(0).random(len(root))  # the solver's own is random
    _, vectors = eigsh(likeness / np.outer(root, root), k=2, which="LA", v0=start)  # eigenvalues ascend
    order = np.argsort(vectors[:, 0] / root, kind="stable")
    inside = 2 * np.cumsum(np.tril(likeness[order][:, order], -1).sum(axis=1)) + np.cumsum(likeness.diagonal()[order])
    held = np.cumsum(degree[order])[:-1]
    cut = held - inside[:-1]
    cost = cut / held + cut / (degree.sum() - held)
    side = np.zeros(len(root), dtype=bool)
    side[order[: int(cost.argmin()) + 1]] = True
    return side
