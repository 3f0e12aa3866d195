"""What scenes are found in a data set, and how many test images a split leaves with a continuing tile elsewhere.

    python -m benchmarks.scenes FOLDER-OR-ZIP --seeds 5

The measure of leaks is made apart from the search for scenes and knows nothing of it: all pairs of images with a side
of one length, no index. The mean of the three outermost lines of a border stands for it, its lowest cosine terms left
out (shading), and two borders are held against each other by the correlation of what remains. Where a field was cut,
the step across the seam is besides about as large as the steps on either side of it; pairs with more than STEP times
that continue nothing, however alike they look. The same borders with the second one read backwards continue nothing and
have as much in them: what they reach is chance. The limit is the lowest correlation that mirrored borders reach at most
a fifth as often; where none is, images have no tiles. What is left of leaks among scenes is to be read against the
column "by chance", the same count with mirrored borders on the same sides: where the two agree, nothing is left that a
measure of borders could tell from chance.
"""

from collections import defaultdict

import click
import numpy as np
from rich.console import Console
from rich.table import Table
from scipy.fft import dct

from unetlab.cli.base import OneLineErrors
from unetlab.data import Dataset, open_dataset
from unetlab.data.check import check
from unetlab.data.split import split
from unetlab.images import geometry

LINES = 3
"""Outermost lines of a border that are averaged."""

SHADING = 3
"""Cosine terms that are left out."""

QUIET = 0.7
"""Grey levels, root mean square, below which a border is too plain to tell."""

STEP = 1.2
"""Most that the step across a seam may be over the mean of the steps on either side (root mean squares)."""

LEAST = 0.4
"""Correlation below which a pair is not kept."""

CHANCE = 0.2
"""How often mirrored borders may reach the limit, as a share of true ones."""


def borders(dataset: Dataset) -> list[tuple[int, int, float, float]]:
    """All ordered pairs of images whose borders may meet: rows, correlation, the same mirrored; 0 beyond a step."""
    found = []
    for upright in (True, False):
        held: dict[int, list[tuple[int, np.ndarray, np.ndarray]]] = defaultdict(list)
        for row in range(len(dataset)):
            grey = geometry.fit_channels(dataset.image(row), 1)[:, :, 0]
            grey = (grey if upright else grey.T).astype(np.float64)
            if min(grey.shape) > LINES:
                held[grey.shape[0]].append((row, grey[:, : -LINES - 1 : -1].T, grey[:, :LINES].T))
        for rows in held.values():
            last, first = np.stack([each[1] for each in rows]), np.stack([each[2] for each in rows])
            right, wrong = _agreement(last, first), _agreement(last, first[:, :, ::-1])
            for i, j in np.argwhere(np.maximum(right, wrong) >= LEAST):
                if i != j:
                    found.append((rows[i][0], rows[j][0], float(right[i, j]), float(wrong[i, j])))
    return found


def _agreement(last: np.ndarray, first: np.ndarray) -> np.ndarray:
    """How borders, (n, LINES, length) from the outermost line inwards, go on in others: (n, n), 0 where they do not."""
    likeness = np.stack([_fine(each) for each in last]) @ np.stack([_fine(each) for each in first]).T
    squares = (last[:, 0] ** 2).mean(axis=1)[:, None] + (first[:, 0] ** 2).mean(axis=1)
    across = np.sqrt(np.maximum(squares - 2 * last[:, 0] @ first[:, 0].T / last.shape[2], 0))
    beside = [np.sqrt(((lines[:, 0] - lines[:, 1]) ** 2).mean(axis=1)) for lines in (last, first)]
    return np.asarray(np.where(across <= STEP * (beside[0][:, None] + beside[1]) / 2, likeness, 0.0))


def _fine(lines: np.ndarray) -> np.ndarray:
    terms = dct(lines.mean(axis=0), norm="ortho")
    terms[:SHADING] = 0
    norm = float(np.linalg.norm(terms))
    return np.asarray(terms / norm) if norm >= QUIET * np.sqrt(len(terms)) else np.zeros_like(terms)


def limit_of(pairs: list[tuple[int, int, float, float]]) -> float:
    """The lowest correlation that mirrored borders reach at most CHANCE as often; above 1 if there is none."""
    right, wrong = (np.sort([pair[k] for pair in pairs])[::-1] for k in (2, 3))
    reached = np.searchsorted(-wrong, -right, side="right")
    fits = right[(right >= LEAST) & (reached <= CHANCE * np.arange(1, len(right) + 1))]
    return float(fits.min(initial=1.01))


def leaks(pairs: list[tuple[int, int, float, float]], limit: float, test: np.ndarray, column: int) -> int:
    """How many test images have a border that reaches the limit with an image that is not in test.

    Args:
        test: bool (n,), which images are.
        column: 2 for borders as they are, 3 for mirrored ones.
    """
    met = {i if test[i] else j for i, j, *score in pairs if score[column - 2] >= limit and test[i] != test[j]}
    return len(met)


@click.command(cls=OneLineErrors)
@click.argument("data")
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True)
def main(data: str, seeds: int) -> None:
    """Scenes of a data set, and tiles that a split parts with and without them."""
    dataset = open_dataset(data)
    card = check(dataset)
    console = Console()
    console.print(card.table())
    pairs = borders(dataset)
    limit = limit_of(pairs)
    counted = sum(pair[2] >= limit for pair in pairs)
    chance = sum(pair[3] >= limit for pair in pairs)
    console.print(f"borders that reach {limit:.3f}: {counted}; mirrored: {chance}", highlight=False)
    table = Table(title="test images with a continuing tile in train or validation")
    for heading in ("seed", "test", "scenes in test", "single images", "scenes", "by chance", "sides"):
        table.add_column(heading, justify="right")
    for seed in range(seeds):
        counts = []
        for groups, column in ((np.arange(len(dataset)), 2), (card.groups, 2), (card.groups, 3)):
            sides = split(dataset.ids, groups, card.modality, seed)
            counts.append(leaks(pairs, limit, np.isin(np.arange(len(dataset)), sides.test), column))
        sizes = " / ".join(str(len(side)) for side in (sides.train, sides.validation, sides.test))
        scenes = len(np.unique(card.groups[sides.test]))
        table.add_row(str(seed), str(len(sides.test)), str(scenes), *map(str, counts), sizes)
    console.print(table)


if __name__ == "__main__":
    main()
