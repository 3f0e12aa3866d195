"""k-means on colour and position."""

import warnings

import numpy as np
from sklearn.cluster import KMeans
from sklearn.exceptions import ConvergenceWarning

from unetlab.labels.foreground import foreground, lab

CLUSTERS = 4
POSITION = 0.1
"""Weight of position against colour: the image's side counts as so many standard deviations of its colours."""


def kmeans(image: np.ndarray) -> np.ndarray:
    """uint8 (h, w, 1 or 3) to bool (h, w)."""
    colours = lab(image)
    height, width = colours.shape[:2]
    y, x = np.mgrid[: 1 : height * 1j, : 1 : width * 1j]
    flat = colours.reshape(-1, 3)
    spread = max(float(flat.std(axis=0).max()), 1e-6)
    features = np.column_stack([flat / spread, POSITION * y.ravel(), POSITION * x.ravel()])
    sample = features[:: max(1, len(features) // 10_000)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # fewer colours than clusters are no mistake
        model = KMeans(CLUSTERS, n_init=2, random_state=0).fit(sample)
    return foreground(model.predict(features).reshape(height, width), colours)
