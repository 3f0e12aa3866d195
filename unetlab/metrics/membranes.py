"""V_rand and V_info, the scores of the ISBI 2012 membrane challenge.

Definition: Arganda-Carreras et al., Frontiers in Neuroanatomy 9, 2015.

Both ask whether cells are split or merged, not whether membranes are drawn as wide as in the truth: predicted
membranes are thinned to lines of one pixel, and only pixels inside true cells count. A pixel of a predicted line that
lies inside a true cell is a region of its own. Both are F-scores of precision (splits) and recall (mergers) in [0, 1],
1 for a perfect segmentation.
"""

from collections.abc import Iterable
from typing import NamedTuple

import numpy as np
import pandas as pd
from skimage.measure import label
from skimage.segmentation import watershed

from unetlab.images.regions import components
from unetlab.metrics.thresholds import nearest_half

CUTS = np.arange(1, 10) / 10
"""Thresholds of cell probability that are tried. The challenge takes the best on its test sections, for each score by
itself; here validation sections choose one for both, and test sections are scored at that."""


SCORES = ("native_v_rand", "native_v_info")
"""Their columns in the per-image tables: sections are scored at their own size. The first ranks."""


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
    """Scores one segmentation: regions, int (h, w), 0 on lines; truth, (h, w), above 0 inside cells, 0 on membranes;
    regions of one value are cells, which is what parts those that touch.

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
    # by value too: cells that are numbered may touch
    true, found = label(truth, connectivity=1)[inside].astype(np.int64), regions[inside].astype(np.int64)
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


def best_cut(maps: Iterable[np.ndarray], truths: Iterable[np.ndarray]) -> float:
    """The cut of CUTS with the highest mean v_rand over sections; of equals the one nearest 0.5.

    Args:
        maps: float32 (h, w) each, probability of lying inside a cell, at the section's own size.
        truths: (h, w) each, above 0 inside cells, 0 on membranes.
    """
    scores = [
        [_section(found > cut, truth).v_rand for cut in CUTS.astype(np.float32)]
        for found, truth in zip(maps, truths, strict=True)
    ]
    return nearest_half(CUTS, np.mean(scores, axis=0))


def score_sections(cells: Iterable[np.ndarray], truths: Iterable[np.ndarray]) -> pd.DataFrame:
    """Columns native_v_rand and native_v_info, a row a section: cells bool (h, w), True inside; truths as above.

    A truth without a cell has nothing to split or merge and scores 1.
    """
    rows = [_section(found, truth) for found, truth in zip(cells, truths, strict=True)]
    return pd.DataFrame(rows, columns=list(SCORES))


def _section(cells: np.ndarray, truth: np.ndarray) -> RandInfo:
    return rand_info(thinned_regions(cells), truth) if truth.any() else RandInfo(1.0, 1.0)


def _squares(areas: np.ndarray) -> float:
    return float(np.sum(areas.astype(np.float64) ** 2))


def _entropy(areas: np.ndarray) -> float:
    share = areas[areas > 0] / areas.sum()
    return max(0.0, -float(np.sum(share * np.log(share))))
