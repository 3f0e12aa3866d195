"""V_rand and V_info, the scores of the ISBI 2012 membrane challenge.

Definition: Arganda-Carreras et al., Frontiers in Neuroanatomy 9, 2015.

Both ask whether cells are split or merged, not whether membranes are drawn as wide as in the truth: predicted
membranes are thinned to lines of one pixel, and only pixels inside true cells count. A pixel of a predicted line that
lies inside a true cell is a region of its own. Both are F-scores of precision (splits) and recall (mergers) in [0, 1],
1 for a perfect segmentation.
"""

from typing import NamedTuple

import numpy as np
from skimage.segmentation import watershed

from unetlab.images.regions import components

CUTS = np.arange(1, 10) / 10
"""Thresholds of cell probability that are tried; the challenge takes the best one, for each score by itself."""


class RandInfo(NamedTuple):
    """Scores in [0, 1]: v_rand weighs cells by their squared area, v_info by their area."""

    v_rand: float
    v_info: float


def thinned_regions(cells: np.ndarray) -> np.ndarray:
    """bool (h, w), True inside cells, to int32 regions (h, w): 1..k grown until lines of one pixel, 0, part them.

    Regions grow by a watershed on the binary image, as in the challenge: unlike a skeleton it keeps no dead ends,
    which part nothing. Where no pixel is inside a cell, all is one region.
    """
    if not cells.any():
        return np.ones(cells.shape, dtype=np.int32)
    return np.asarray(watershed(~cells, markers=components(cells), watershed_line=True), dtype=np.int32)


def rand_info(regions: np.ndarray, truth: np.ndarray) -> RandInfo:
    """Scores one segmentation: regions, int (h, w), 0 on lines; truth, (h, w), above 0 inside cells, 0 on membranes.

    With s and t the areas of regions and true cells and n those of their overlaps, within true cells only,
    v_rand = 2 sum(n^2) / (sum(s^2) + sum(t^2)) and v_info = 2 I / (H(s) + H(t)), where I = H(s) + H(t) - H(n) is the
    mutual information. v_info is 1 if both are a single region, where neither split nor merger is possible.

    Raises ValueError if the shapes differ or the truth holds no cell.
    """
    if regions.shape != truth.shape or not truth.any():
        raise ValueError(
            f"regions and truth must have one shape, and truth a cell. Received: {regions.shape} and {truth.shape}, "
            f"{np.count_nonzero(truth)} pixels inside cells"
        )
    inside = truth > 0
    true, found = components(inside)[inside].astype(np.int64), regions[inside].astype(np.int64)
    on_line = int((found == 0).sum())
    alone = np.ones(on_line, dtype=np.int64)
    cell = np.bincount(true)[1:]
    region = np.concatenate([np.bincount(found)[1:], alone])
    pairs = (true * (found.max() + 1) + found)[found > 0]
    overlap = np.concatenate([np.unique(pairs, return_counts=True)[1], alone])
    v_rand = 2 * _squares(overlap) / (_squares(region) + _squares(cell))
    entropy = _entropy(region) + _entropy(cell)
    shared = entropy - _entropy(overlap)
    return RandInfo(v_rand, 1.0 if entropy == 0 else max(0.0, 2 * shared / entropy))


def best_rand_info(probabilities: np.ndarray, truths: np.ndarray) -> dict[str, float]:
    """Best scores over CUTS of the mean over sections: v_rand, v_info, and the cuts v_rand_cut, v_info_cut.

    Args:
        probabilities: float32 (n, h, w), probability of lying inside a cell.
        truths: (n, h, w), above 0 inside cells, 0 on membranes.
    """
    means = np.array(
        [
            np.mean(
                [rand_info(thinned_regions(p > cut), truth) for p, truth in zip(probabilities, truths, strict=True)],
                axis=0,
            )
            for cut in CUTS.astype(np.float32)
        ]
    )
    rand, info = means.argmax(axis=0)
    return {
        "v_rand": float(means[rand, 0]),
        "v_info": float(means[info, 1]),
        "v_rand_cut": float(CUTS[rand]),
        "v_info_cut": float(CUTS[info]),
    }


def _squares(areas: np.ndarray) -> float:
    return float(np.sum(areas.astype(np.float64) ** 2))


def _entropy(areas: np.ndarray) -> float:
    share = areas[areas > 0] / areas.sum()
    return max(0.0, -float(np.sum(share * np.log(share))))
