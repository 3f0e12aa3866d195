"""A look at the data before anything is trained: what there is, what is odd, what must not be split apart."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from rich.table import Table
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unetlab.data import Dataset, cache
from unetlab.images import geometry
from unetlab.images.regions import flat

THUMBNAIL = 24
"""Images are compared for near duplicates at this many pixels a side."""

NEAR = 0.985
"""Correlation of two thumbnails at and above which their images count as near duplicates."""

SMALL = 20
"""Fewer images than this give intervals too wide to tell models apart."""


@dataclass(frozen=True)
class Finding:
    """Something to know about a data set.

    Args:
        code: "D..." as the documentation lists it.
        severity: "error" (training is refused), "warning" or "notice".
        message: what was found, with counts and examples.
        remedy: what to do.
    """

    code: str
    severity: str
    message: str
    remedy: str


@dataclass(frozen=True)
class DataCard:
    """What a data set holds.

    Args:
        name: of the data set.
        digest: of its content.
        images: how many.
        sizes: "height x width" to count.
        modes: stored mode to count.
        modalities: modality to count.
        foreground: mean, smallest and largest share of foreground pixels; empty without masks.
        objects: mean, smallest and largest number of objects an image; empty without masks.
        modality: one word an image, for a stratified split.
        groups: int (n,): images of one group are exact or near duplicates.
        findings: what is odd.
    """

    name: str
    digest: str
    images: int
    sizes: dict[str, int]
    modes: dict[str, int]
    modalities: dict[str, int]
    foreground: tuple[float, ...]
    objects: tuple[float, ...]
    modality: tuple[str, ...]
    groups: np.ndarray
    findings: tuple[Finding, ...]

    def to_json(self) -> dict[str, Any]:
        """Everything but the per-image columns, for an artifact."""
        card = asdict(self)
        del card["modality"], card["groups"]
        return card

    def table(self) -> Table:
        """For the terminal."""
        table = Table(title=f"{self.name}: {self.images} images", show_header=False, title_justify="left")
        table.add_row("digest", self.digest)
        for name, counts in (("sizes", self.sizes), ("stored as", self.modes), ("modality", self.modalities)):
            table.add_row(name, _counts(counts))
        if self.foreground:
            table.add_row("foreground", "mean {:.1%}, {:.1%} to {:.1%} an image".format(*self.foreground))
            table.add_row("objects", "mean {:.1f}, {:.0f} to {:.0f} an image".format(*self.objects))
        for finding in self.findings:
            style = {"error": "bold red", "warning": "yellow", "notice": ""}[finding.severity]
            table.add_row(
                f"{finding.code} {finding.severity}",
                f"{finding.message}; {finding.remedy}",
                style=style,
                end_section=True,
            )
        return table


def _counts(counts: dict[str, int], most: int = 6) -> str:
    ordered = sorted(counts.items(), key=lambda item: -item[1])
    rest = f" and {len(ordered) - most} more" if len(ordered) > most else ""
    return ", ".join(f"{name}: {count}" for name, count in ordered[:most]) + rest


def check(dataset: Dataset) -> DataCard:
    """Looks at every image once; a second call on the same content reads the answer from the cache."""
    path = dataset.folder / "check-2.json"
    if path.exists():
        stored = json.loads(path.read_text())
    else:
        stored = _measure(dataset)
        cache.write_text(path, json.dumps(stored))
    groups = np.array(stored["groups"])
    shares, objects = np.array(stored["foreground"]), np.array(stored["objects"])
    return DataCard(
        name=dataset.name,
        digest=dataset.digest,
        images=len(dataset),
        sizes=dict(Counter(f"{height} x {width}" for height, width in dataset.sizes)),
        modes=dict(Counter(dataset.modes)),
        modalities=dict(Counter(stored["modality"])),
        foreground=_spread(shares) if dataset.has_masks else (),
        objects=_spread(objects) if dataset.has_masks else (),
        modality=tuple(stored["modality"]),
        groups=groups,
        findings=tuple(_findings(dataset, groups, shares, np.array(stored["flat"]))),
    )


def _spread(values: np.ndarray) -> tuple[float, float, float]:
    return float(values.mean()), float(values.min()), float(values.max())


def _measure(dataset: Dataset) -> dict[str, Any]:
    n = len(dataset)
    images = [dataset.image(i) for i in range(n)]
    thumbnails = np.stack([_thumbnail(image) for image in images])
    labels = [dataset.labels(i) for i in range(n)]
    return {
        "modality": [_modality(image) for image in images],
        "flat": [flat(image) for image in images],
        "foreground": [float((label > 0).mean()) for label in labels],
        "objects": [int(np.count_nonzero(np.unique(label))) for label in labels],
        "groups": duplicate_groups(thumbnails, dataset.sha, dataset.sizes).tolist(),
    }


def _thumbnail(image: np.ndarray) -> np.ndarray:
    return geometry.resize_image(geometry.fit_channels(image, 1), THUMBNAIL, THUMBNAIL)[:, :, 0].astype(np.float32)


def _modality(image: np.ndarray) -> str:
    """Colour or grey, on a dark or a light ground: the kinds that nuclei images come in."""
    light = "light" if np.median(image) >= 128 else "dark"
    return f"{'grey' if image.shape[2] == 1 else 'colour'} on {light}"


def duplicate_groups(thumbnails: np.ndarray, sha: Sequence[str], sizes: np.ndarray) -> np.ndarray:
    """Groups of exact and near duplicates, int (n,).

    Two images are near duplicates if they have the same size and their thumbnails correlate by NEAR or more; the
    relation is taken as transitive. Blocks of rows keep the memory linear in n.

    Args:
        thumbnails: float32 (n, t, t).
        sha: hash of each image's pixels; equal ones are exact duplicates.
        sizes: int (n, 2).
    """
    n = len(thumbnails)
    flat = thumbnails.reshape(n, -1)
    flat = flat - flat.mean(axis=1, keepdims=True)
    norm = np.linalg.norm(flat, axis=1, keepdims=True)
    unit = np.where(norm > 1e-3, flat / np.maximum(norm, 1e-3), 0)  # an image of one value correlates with none
    pairs = []
    for start in range(0, n, 1024):
        near = unit[start : start + 1024] @ unit.T >= NEAR
        near &= (sizes[start : start + 1024, None] == sizes[None]).all(axis=2)
        rows, columns = np.nonzero(near)
        pairs.append(np.stack([rows + start, columns]))
    _, exact = np.unique(np.asarray(sha), return_inverse=True)
    first = np.unique(exact, return_index=True)[1][exact]
    pairs.append(np.stack([np.arange(n), first]))
    rows, columns = np.concatenate(pairs, axis=1)
    graph = coo_array((np.ones(len(rows), bool), (rows, columns)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])


def _repeated(sha: Sequence[str], groups: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows of images with an exact copy, and rows of images in a group of different ones."""
    _, content, times = np.unique(np.asarray(sha), return_inverse=True, return_counts=True)
    kinds = np.bincount(np.unique(np.stack([groups, content]), axis=1)[0])
    return np.flatnonzero(times[content] > 1), np.flatnonzero(kinds[groups] > 1)


def _findings(dataset: Dataset, groups: np.ndarray, shares: np.ndarray, flat: np.ndarray) -> list[Finding]:
    found = []

    def add(code: str, severity: str, message: str, remedy: str) -> None:
        found.append(Finding(code, severity, message, remedy))

    def some(rows: np.ndarray) -> str:
        shown = ", ".join(dataset.ids[i][:40] for i in rows[:3])
        return shown + (f" and {len(rows) - 3} more" if len(rows) > 3 else "")

    n = len(dataset)
    exact = n - len(set(dataset.sha))
    near = n - len(np.unique(groups)) - exact
    copies, alike = _repeated(dataset.sha, groups)
    if dataset.unusable:
        count, shown = len(dataset.unusable), "; ".join(dataset.unusable[:3])
        files = f"{count} file{'s' * (count > 1)} cannot be used: {shown}" + ("; ..." if count > 3 else "")
        add("D011", "error", files, "mend or remove them; what stands here is of the others")
    if n < 3:
        add("D001", "error", f"{n} image{'s' * (n > 1)} cannot be split", "give at least 3 different images")
    elif n < SMALL:
        add("D002", "warning", f"only {n} images", f"fewer than {SMALL} give intervals too wide to tell models apart")
    if exact:
        add("D003", "warning", f"{exact} exact copies ({some(copies)})", "they stay on one side of the split")
    if near:
        add("D004", "notice", f"{near} near duplicates ({some(alike)})", "they stay on one side of the split")
    if many := [i for i, levels in enumerate(dataset.levels) if levels > 2]:
        text = f"{len(many)} masks hold more than two values, up to {max(dataset.levels)} ({some(np.array(many))})"
        add("D010", "notice", text, "every value above 0 is foreground")
    if flat.any():
        add("D005", "warning", f"{flat.sum()} images of one flat colour ({some(np.flatnonzero(flat))})", "look at them")
    if not dataset.has_masks:
        add("D006", "notice", "no masks", "put one mask an image into masks/ to train and score")
        return found
    empty = np.flatnonzero(shares == 0)
    if len(empty) == n:
        add("D007", "error", "all masks are empty", "masks must be above 0 where there is foreground")
    elif len(empty):
        add("D008", "notice", f"{len(empty)} empty masks ({some(empty)})", "their Dice is 1 only if nothing is found")
    if shares.mean() > 0.5:
        share = f"{shares.mean():.0%} of all pixels are foreground"
        add("D009", "notice", share, "if that is the background, invert the masks")
    return found
