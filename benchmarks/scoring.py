"""What scoring costs beside the plain way to do it, which the tests hold it to.

    python -m benchmarks.scoring speed --data dsb2018
    python -m benchmarks.scoring memory --images 500

`speed` scores images at their own size (counts, boundary F1, objects) by `metrics.table.score_native` and by functions
that say the same in the fewest words of SciPy and NumPy. Each repeat times one after the other on the same images, in
time of the processor, so that whatever else the machine does counts for little. Images larger than those of the data
are tiled from them.

`memory` scores so many small images, and four times as many, each in a fresh process: once with what the network says
of them in memory, as far as that is held, and once with all but a little of it in a file, as it is with many images.
Peaks count every page of the process, those of mapped files too. Linux only.
"""

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import click
import mlflow
import numpy as np
import pandas as pd
from PIL import Image
from rich.console import Console
from rich.table import Table
from scipy import ndimage

from benchmarks.log import logged
from benchmarks.memory import measure
from experiments import load_setup
from unetlab.cli.base import OneLineGroup
from unetlab.data import Dataset, open_dataset
from unetlab.data.split import Split
from unetlab.images.regions import components
from unetlab.inference import spool
from unetlab.jobs import mask_scores
from unetlab.jobs.evaluate import refuse_unlabelled
from unetlab.metrics.boundary import BOUNDARY_TOLERANCE
from unetlab.metrics.objects import SCORES, Overlaps
from unetlab.metrics.pixelwise import ratio, ratios
from unetlab.metrics.table import score_native
from unetlab.tracking.figures import reliability

SIDES = (256, 1024, 2048)
"""Height and width of the images that are scored."""

PIXELS = 4_000_000
"""That are scored in a repeat, at least."""


WHERE = {"held in memory": 2**50, "in a file": 2**20}
"""Bytes of what a network says that are held."""

SCORE = """
import sys
from benchmarks.scoring import score_all
def work():
    return score_all(sys.argv[1], int(sys.argv[2]))
"""


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


def write_blobs(folder: Path, count: int, side: int) -> None:
    """PNG images of blurred noise, grey, and the masks of what is brightest in them."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (folder / name).mkdir()
    for i in range(count):
        field = ndimage.gaussian_filter(rng.normal(size=(side, side)), 4)
        bright = (255 * (field - field.min()) / np.ptp(field)).astype(np.uint8)
        noisy = np.clip(bright + rng.normal(0, 8, bright.shape), 0, 255).astype(np.uint8)
        for name, pixels in (("images", noisy), ("masks", np.where(bright > 150, 255, 0).astype(np.uint8))):
            Image.fromarray(pixels).save(folder / name / f"{i:06d}.png", compress_level=1)


def score_all(folder: str, held: int) -> list[float]:
    """Scores all images of a folder as the final model's are, a network that says how bright a pixel is, and makes the
    figures and thumbnails of it; `held` bytes of what it says stay in memory. Returns some of the scores."""
    spool.HELD = held
    dataset, setup = open_dataset(folder), load_setup("nuclei-scratch")
    recipe = setup.recipe.changed({"image_size": int(dataset.sizes[0, 0]), "channels": 1})
    none, every = np.arange(0), np.arange(len(dataset))
    # all that scoring wants of a bench, without TensorFlow, beside whose memory every growth would be small
    bench: Any = SimpleNamespace(setup=setup, truth=dataset, split=Split(none, none, every, ""))
    tested = mask_scores.score(bench, lambda images: images, recipe, every, dataset, 0.5)
    reliability(tested.maps.mask, tested.masks)
    mask_scores.album(bench, tested, recipe)
    return [float(tested.figures[name]) for name in ("dice", "native_dice", "boundary_f1", "ap_dsb", "auc", "ece")]


@click.group(cls=OneLineGroup)
def main() -> None:
    """Seconds and memory of scoring."""


@main.command()
@click.option("--data", default="synthetic", show_default=True, help="Images with their objects.")
@click.option("--repeats", type=click.IntRange(1), default=7, show_default=True)
def speed(data: str, repeats: int) -> None:
    """Milliseconds an image beside the plain way; every score is the same."""
    dataset = open_dataset(data)
    refuse_unlabelled(dataset, data)
    table = Table("image", "plain, ms", "ours, ms", "times faster", title=f"scoring {dataset.name}, {repeats} repeats")
    rows = []
    for side in SIDES:
        found = compared(dataset, side, repeats)
        table.add_row(f"{side}x{side}", *(spread(found[name]) for name in ("plain", "ours", "ratio")))
        rows.append(pd.DataFrame({name: found[name] for name in ("plain", "ours", "ratio")}).assign(side=side))
    Console().print(table)
    with logged("scoring speed"):
        mlflow.log_params({"data": data, "repeats": repeats})
        mlflow.log_text(pd.concat(rows).to_csv(index=False), "scoring.csv")


@main.command()
@click.option("--images", type=click.IntRange(1), default=500, show_default=True, help="And four times as many.")
@click.option("--side", type=click.IntRange(8), default=128, show_default=True, help="Height and width of an image.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def memory(images: int, side: int, repeats: int) -> None:
    """Peak memory of scoring with four times as many images."""
    table = Table("what the network says", f"{images:,} images, GB", f"{4 * images:,} images, GB", "growth")
    table.title = f"peak memory of scoring, {side}x{side}, {repeats} repeats"
    peaks: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as name:
        folders = {count: Path(name) / str(count) for count in (images, 4 * images)}
        for count, folder in folders.items():
            folder.mkdir()
            write_blobs(folder, count, side)
        for _ in range(repeats):
            for count, folder in folders.items():
                scores = []
                for where, held in WHERE.items():
                    found = measure(SCORE, str(folder), str(held))
                    peaks.setdefault((where, count), []).append(cast(float, found["peak_gb"]))
                    scores.append(cast(list[float], found["found"]))
                if not np.allclose(scores[0], scores[1], rtol=1e-9, atol=0):
                    raise click.ClickException(f"scores differ: {scores[0]} and {scores[1]}")
    for where in WHERE:
        few, many = peaks[where, images], peaks[where, 4 * images]
        growth = [100 * (b / a - 1) for a, b in zip(few, many, strict=True)]
        table.add_row(where, spread(few, 3), spread(many, 3), f"{spread(growth)} %")
    Console().print(table)
    every = [{"where": where, "images": count, "gb": gb} for (where, count), each in peaks.items() for gb in each]
    with logged("scoring memory"):
        mlflow.log_params({"side": side, "repeats": repeats})
        mlflow.log_text(pd.DataFrame(every).to_csv(index=False), "memory.csv")


if __name__ == "__main__":
    main()
