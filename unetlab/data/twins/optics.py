"""What all twins share: clouds of noise, uneven light, and the camera."""

import numpy as np
from scipy import ndimage


def clouds(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Smooth noise of mean 0 and standard deviation 1."""
    small = tuple(max(4, int(side / sigma) + 3) for side in shape)
    coarse = ndimage.zoom(rng.normal(0, 1, small), [side / s for side, s in zip(shape, small, strict=True)], order=3)
    cloud = coarse[: shape[0], : shape[1]]
    return (cloud - cloud.mean()) / max(float(cloud.std()), 1e-6)


def light(rng: np.random.Generator, shape: tuple[int, int], strength: float) -> np.ndarray:
    """Illumination around 1: brighter to one side and falling off from a centre, as lamps do."""
    y, x = np.mgrid[-1 : 1 : shape[0] * 1j, -1 : 1 : shape[1] * 1j]
    centre = rng.uniform(-0.5, 0.5, 2)
    return (
        1
        + strength * (rng.uniform(-0.5, 0.5) * x + rng.uniform(-0.5, 0.5) * y)
        - strength * (0.5 * ((y - centre[0]) ** 2 + (x - centre[1]) ** 2))
    )


def camera(rng: np.random.Generator, signal: np.ndarray, photons: float, read: float) -> np.ndarray:
    """Shot noise of `photons` at signal 1, read noise in grey values; signal 1 is 255. uint8."""
    counted = rng.poisson(np.clip(signal, 0, None) * photons) / photons
    return np.clip(counted * 255 + rng.normal(0, read, signal.shape), 0, 255).astype(np.uint8)
