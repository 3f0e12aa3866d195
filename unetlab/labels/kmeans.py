"""k-means on colour and position."""

import numpy as np
from sklearn.cluster import KMeans

from unetlab.labels.foreground import labelled

CLUSTERS = 4

POSITION = 0.1
"""Weight of position against colour: the image's side counts as so many standard deviations of its colours."""

SAMPLE = 10_000
"""Pixels the clusters are fitted to; all pixels then go to the nearest."""


def kmeans(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to uint8 (h, w) of 0 and 1."""
    return labelled(image, _segments)


def _segments(colours: np.ndarray) -> np.ndarray:
    height, width = colours.shape[:2]
    y, x = np.mgrid[: 1 : height * 1j, : 1 : width * 1j]
    flat = colours.reshape(-1, 3)
    spread = max(float(flat.std(axis=0).max()), 1e-6)
    features = np.column_stack([flat / spread, POSITION * y.ravel(), POSITION * x.ravel()])
    sample = features[:: max(1, len(features) // SAMPLE)]
    model = KMeans(min(CLUSTERS, len(sample)), n_init=2, random_state=0).fit(sample)
    return np.asarray(model.predict(features)).reshape(height, width)
