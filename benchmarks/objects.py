"""How good can objects get, if the network is perfect? The ceiling of each way from a mask to objects.

    python -m benchmarks.objects --data dsb2018 --images 60

Gives each method of `inference.objects` the true mask and, as the network's second channel, the true target, at the
images' own size: as they are, seen at half the size, and blurred as a network's answers are. Prints AP50 and AP_dsb
for every value of the method's one number, and the best in bold.
"""

from collections.abc import Callable, Iterator

import click
import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from scipy import ndimage

from unetlab.cli.base import OneLineErrors
from unetlab.data import Dataset, open_dataset, targets
from unetlab.images import geometry
from unetlab.inference.objects import METHODS, instances
from unetlab.jobs.evaluate import refuse_unlabelled
from unetlab.metrics.objects import score_objects

TARGETS: dict[str, Callable[[np.ndarray], np.ndarray]] = {"border": targets.border, "distance": targets.distance}


def _half(plane: np.ndarray) -> np.ndarray:
    height, width = plane.shape
    return geometry.resize_map(geometry.resize_map(plane, -(-height // 2), -(-width // 2)), height, width)


def _blurred(plane: np.ndarray) -> np.ndarray:
    return np.asarray(ndimage.gaussian_filter(plane, 1.0))


SEEN: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "as it is": lambda plane: plane,
    "half the size": _half,
    "blurred": _blurred,
}


def spread(dataset: Dataset, count: int) -> list[int]:
    """`count` images, evenly spread over all when sorted by size and then by name."""
    order = sorted(range(len(dataset)), key=lambda i: (int(dataset.sizes[i].prod()), dataset.ids[i]))
    return [order[k] for k in np.linspace(0, len(order) - 1, min(count, len(order))).round().astype(int)]


def ceilings(dataset: Dataset, rows: list[int]) -> Iterator[tuple[str, str, float, float, float]]:
    """Method, how its input is seen, its number, and the means of AP50 and AP_dsb over the images."""
    truths = [dataset.objects(i) for i in rows]
    heads = {name: [of(truth).astype(np.float32) / 255 for truth in truths] for name, of in TARGETS.items()}
    for seen, see in SEEN.items():
        masks = [see((truth > 0).astype(np.float32)) >= 0.5 for truth in truths]
        for how, method in METHODS.items():
            given = [see(head) for head in heads[how]] if method.uses_head else [None] * len(truths)
            for seeds in method.seeds:
                scores = [
                    score_objects(instances(mask, head, how, seeds), truth)
                    for mask, head, truth in zip(masks, given, truths, strict=True)
                ]
                ap50, ap_dsb = (float(np.mean([each[name] for each in scores])) for name in ("ap50", "ap_dsb"))
                yield how, seen, seeds, ap50, ap_dsb


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic", show_default=True, help="Images with their objects.")
@click.option("--images", type=click.IntRange(1), default=60, show_default=True, help="Spread over all sizes.")
def main(data: str, images: int) -> None:
    """Prints a table."""
    dataset = open_dataset(data)
    refuse_unlabelled(dataset, data)
    rows = spread(dataset, images)
    found = list(track(ceilings(dataset, rows), "parting", console=Console(stderr=True), transient=True))
    shown = Table("method", "input", "seeds", "AP50", "AP_dsb", title=f"{len(rows)} images of {dataset.name}")
    for row in found:
        how, seen, seeds, ap50, ap_dsb = row
        best = row == max((other for other in found if other[:2] == row[:2]), key=lambda other: other[4])
        shown.add_row(how, seen, f"{seeds:g}", f"{ap50:.4f}", f"{ap_dsb:.4f}", style="bold" if best else "")
    Console().print(shown)


if __name__ == "__main__":
    main()
