"""What scoring costs beside the plain way to do it, which the tests hold it to.

    python -m benchmarks.scoring speed --data dsb2018

`speed` scores images at their own size (counts, boundary F1, objects) by `metrics.table.score_native` and by functions
that say the same in the fewest words of SciPy and NumPy. Each repeat times one after the other on the same images, in
time of the processor, so that whatever else the machine does counts for little. Images larger than those of the data
are tiled from them.
"""

import time
from collections.abc import Callable

import click
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from unetlab.cli.base import OneLineGroup
from unetlab.data import Dataset, open_dataset
from unetlab.images.regions import components
from unetlab.metrics.boundary import BOUNDARY_TOLERANCE
from unetlab.metrics.objects import SCORES, Overlaps
from unetlab.metrics.pixelwise import ratio, ratios
from unetlab.metrics.table import score_native

SIDES = (256, 1024, 2048)
"""Height and width of the images that are scored."""

PIXELS = 4_000_000
"""That are scored in a repeat, at least."""


def plain_boundary_f1(predicted: np.ndarray, truth: np.ndarray) -> np.ndarray:
    """`metrics.boundary.boundary_f1` by erosion and dilation of all pixels."""
    cross = ndimage.generate_binary_structure(2, 1)[None]
    reach = np.arange(-BOUNDARY_TOLERANCE, BOUNDARY_TOLERANCE + 1)
    disk = (reach**2 + reach[:, None] ** 2 <= BOUNDARY_TOLERANCE**2)[None]
    own, other = (each & ~ndimage.binary_erosion(each, cross, border_value=1) for each in (predicted, truth))
    found = _area(own & ndimage.binary_dilation(other, disk))
    covered = _area(other & ndimage.binary_dilation(own, disk))
    neither = (_area(own) == 0) & (_area(other) == 0) & (predicted == truth).all(axis=(1, 2))
    precision, recall = ratio(found, _area(own), neither), ratio(covered, _area(other), neither)
    return ratio(2 * precision * recall, precision + recall, neither)


def plain_overlaps(true_labels: np.ndarray, predicted_labels: np.ndarray) -> Overlaps:
    """`metrics.objects.overlaps` by sorting all pixels where both have an object."""
    true_area, predicted_area = (np.bincount(each.ravel(), minlength=1) for each in (true_labels, predicted_labels))
    both = (true_labels > 0) & (predicted_labels > 0)
    width = len(predicted_area)
    pairs = true_labels[both].astype(np.int64) * width + predicted_labels[both]
    pair, intersection = np.unique(pairs, return_counts=True)
    true, predicted = np.divmod(pair, width)
    union = true_area[true] + predicted_area[predicted] - intersection
    n_true, n_predicted = (int((area[1:] > 0).sum()) for area in (true_area, predicted_area))
    return Overlaps(intersection, union, n_true, n_predicted, true, predicted)


def plain_scores(predicted: np.ndarray, labels: np.ndarray) -> dict[str, float]:
    """A row of `metrics.table.score_native`: a mask, bool (h, w), against true objects, integers (h, w)."""
    found, truth = predicted[None], (labels > 0)[None]
    tp, n_predicted, n_true = _area(found & truth), _area(found), _area(truth)
    counts = {"tp": tp, "fp": n_predicted - tp, "fn": n_true - tp, "tn": labels.size - n_predicted - n_true + tp}
    of_pixels = ratios(pd.DataFrame(counts))
    pairs = plain_overlaps(labels, components(predicted))
    return {
        **{f"native_{name}": of_pixels[name][0] for name in ("dice", "iou", "accuracy")},
        "native_boundary_f1": plain_boundary_f1(found, truth)[0],
        **{name: of(pairs) for name, of in SCORES.items()},
    }


def _area(stack: np.ndarray) -> np.ndarray:
    return np.asarray(np.count_nonzero(stack, axis=(1, 2)))


def tiled(labels: np.ndarray, side: int) -> np.ndarray:
    """A label image repeated to uint16 (side, side), each copy of an object with a number of its own."""
    height, width = labels.shape
    down, across = -(-side // height), -(-side // width)
    number = np.arange(down * across).reshape(down, across) * int(labels.max())
    every = np.tile(labels.astype(np.int64), (down, across))
    shifted = every + np.kron(number, np.ones((height, width), np.int64))
    return np.where(every > 0, shifted, 0)[:side, :side].astype(np.uint16)


def answers(truths: list[np.ndarray]) -> list[np.ndarray]:
    """Masks such as a network finds them: the true ones blurred and cut, so that edges move and neighbours merge."""
    return [ndimage.gaussian_filter((each > 0).astype(np.float32), 1.5) > 0.4 for each in truths]


def seconds(work: Callable[[], object]) -> float:
    """Time of the processor that a piece of work on one thread takes."""
    started = time.process_time()
    work()
    return time.process_time() - started


def spread(values: list[float], digits: int = 1) -> str:
    """Median, least and most."""
    return f"{np.median(values):.{digits}f} ({min(values):.{digits}f} to {max(values):.{digits}f})"


def compared(dataset: Dataset, side: int, repeats: int) -> dict[str, list[float]]:
    """Milliseconds an image of the plain way and of ours, and their ratio, each of `repeats`.

    Raises ValueError if a score differs by more than float error.
    """
    count = max(3, -(-PIXELS // side**2))
    rows = [i for i in np.linspace(0, len(dataset) - 1, len(dataset)).astype(int) if dataset.objects(i).any()]
    picked = [rows[k] for k in np.linspace(0, len(rows) - 1, min(count, len(rows))).astype(int)]
    truths = [tiled(dataset.objects(i), side) for i in picked]
    masks = answers(truths)

    def plain() -> pd.DataFrame:
        return pd.DataFrame([plain_scores(*each) for each in zip(masks, truths, strict=True)])

    def ours() -> pd.DataFrame:
        return score_native(lambda i, height, width: masks[i], lambda i: truths[i], len(truths))

    pd.testing.assert_frame_equal(ours()[list(plain().columns)], plain(), rtol=1e-12, atol=0)
    took: dict[str, list[float]] = {"plain": [], "ours": [], "ratio": []}
    for _ in range(repeats):
        slow, fast = (1000 * seconds(work) / len(picked) for work in (plain, ours))
        for name, value in (("plain", slow), ("ours", fast), ("ratio", slow / fast)):
            took[name].append(value)
    return took


@click.group(cls=OneLineGroup)
def main() -> None:
    """Seconds and memory of scoring."""


@main.command()
@click.option("--data", default="synthetic", show_default=True, help="Images with their objects.")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
def speed(data: str, repeats: int) -> None:
    """Milliseconds an image beside the plain way; every score is the same."""
    dataset = open_dataset(data)
    table = Table("image", "plain, ms", "ours, ms", "times faster", title=f"scoring {dataset.name}, {repeats} repeats")
    for side in SIDES:
        found = compared(dataset, side, repeats)
        table.add_row(f"{side}x{side}", *(spread(found[name]) for name in ("plain", "ours", "ratio")))
    Console().print(table)


if __name__ == "__main__":
    main()
