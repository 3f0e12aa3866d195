"""Small stacks of probabilities and masks, for the tests of metrics."""

import numpy as np


def stack(*rows: list[float]) -> np.ndarray:
    """One image of one row each, float32 (n, 1, w)."""
    return np.array(rows, dtype=np.float32)[:, None, :]


def masks_of(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)[:, None, :]


def random_case(n: int = 5, size: int = 24) -> tuple[np.ndarray, np.ndarray, list[str]]:
    rng = np.random.default_rng(1)
    masks = (rng.random((n, size, size)) < 0.3).astype(np.uint8)
    probabilities = np.clip(0.35 * masks + 0.65 * rng.random(masks.shape), 0, 1).astype(np.float32)
    return probabilities, masks, [f"image{i}" for i in range(n)]
