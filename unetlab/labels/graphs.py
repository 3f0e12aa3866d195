"""Graph methods: Felzenszwalb and Huttenlocher's segments, and superpixels joined by a normalised cut."""

import numpy as np
from scipy import ndimage
from skimage import graph, segmentation
from sklearn.cluster import spectral_clustering

from unetlab.labels.foreground import foreground, lab

SCALE = 60.0
SMALLEST = 20
"""Pixels of the smallest segment, at the labelled size."""

SUPERPIXELS = 500
PARTS = 3
"""Into how many parts the normalised cut divides the regions."""

NEARNESS = 20.0
"""CIELAB distance at which two regions' likeness has fallen to 1 / e."""

DISTANT = 0.1
"""Weight of an edge between regions that do not touch: without such edges each object would be a part of its own."""


def felzenszwalb(image: np.ndarray) -> np.ndarray:
    """Efficient graph-based segmentation (Felzenszwalb and Huttenlocher 2004), uint8 (h, w, 1 or 3) to bool (h, w)."""
    colours = lab(image)
    segments = segmentation.felzenszwalb(colours / 100, scale=SCALE, sigma=0.8, min_size=SMALLEST, channel_axis=2)
    return foreground(segments, colours)


def slic(image: np.ndarray) -> np.ndarray:
    """SLIC superpixels (Achanta et al. 2012) joined by a normalised cut (Shi and Malik 2000) of their region graph.

    uint8 (h, w, 1 or 3) to bool (h, w). The cut is scikit-learn's spectral clustering.
    """
    colours = lab(image)
    pixels = segmentation.slic(
        colours / 100, n_segments=SUPERPIXELS, compactness=0.05, convert2lab=False, channel_axis=2, start_label=0
    )
    count = int(pixels.max()) + 1
    means = np.stack([ndimage.mean(colours[..., k], pixels, np.arange(count)) for k in range(3)], axis=1)
    if count <= PARTS or np.ptp(means, axis=0).max() < 1e-3:
        return foreground(pixels, colours)
    apart = np.linalg.norm(means[:, None] - means[None], axis=2)
    touching = np.full((count, count), DISTANT)
    for one, other in graph.RAG(pixels).edges:
        touching[one, other] = touching[other, one] = 1.0
    likeness = np.exp(-((apart / NEARNESS) ** 2)) * touching + 1e-6
    parts = spectral_clustering(likeness, n_clusters=PARTS, assign_labels="cluster_qr", random_state=0)
    return foreground(parts[pixels], colours)
