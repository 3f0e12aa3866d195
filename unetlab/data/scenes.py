"""Which images show the same thing: copies, frames of one take, tiles of one field, sections of one stack."""

import csv
import functools
import io
import json
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components
from scipy.spatial import cKDTree
from scipy.stats import norm

from unetlab.data import cache
from unetlab.data.dataset import Dataset
from unetlab.data.files import GROUPS
from unetlab.data.keypoints import points, same_place
from unetlab.data.likeness import Look, continues, correlation, edge_key, look, same_view, texture_key
from unetlab.errors import UserError

COPY = 0.97
"""Correlation of two images' textures at and above which one is a copy of the other."""

VIEW = 0.17
"""Share of blocks that two frames of one take have in common at least."""

VIEW_BLOCKS = 8
"""And how many blocks those must be."""

SOME = 0.02
"""Share of blocks in common from which on points are looked for as well, which takes longer."""

POINTS_KEPT = 20_000
"""Images whose points stay in memory, 8 KB each."""

DETAIL = 0.8
"""Correlation of two borders, shading taken out, at and above which one continues the other."""

PLAIN = 0.97
"""The same for borders as they are; the detail must then correlate by DETAIL_LEAST."""

DETAIL_LEAST = 0.6

SEAM = 1.5
"""The step across a seam is at most so many times the steps beside it."""

SECTION = 0.25
"""Correlation of the textures of neighbouring sections of one stack; sections further apart have one of about 0."""

POINTS = 6
"""Points that moved together make frames of one take of two images that share some blocks, if too few of them."""

NEIGHBOURS = 5
"""Images, and borders, that each is compared with: what the index says lies nearest."""

NEXT = 3
"""Images after each in the order of names it is compared with too: frames of a take are named in order."""

DIMENSIONS = 16
"""Of the index of images."""

KEPT = 1000
"""Pairs that were compared and not joined that are kept, the nearest first."""


@dataclass(frozen=True)
class Pair:
    """Two images that were compared.

    Args:
        first, second: their rows.
        kind: "copy", "frame" (blocks), "points" (frames that turned or came closer), "tile", "section".
        score: how alike they are: correlation, for frames the share of blocks or the points in common.
        limit: the score from which on two are one scene.
    """

    first: int
    second: int
    kind: str
    score: float
    limit: float


@dataclass(frozen=True)
class Scenes:
    """Which scene each image shows.

    Args:
        scene: int (n,), numbered in the order of the first image.
        sections: int (n,), the same where sections of one stack are taken for scenes of their own, as a split by
            blocks needs it.
        joined: pairs that made scenes, as many as that takes.
        near: pairs that came nearest to being joined, the nearest first.
        compared: how many pairs were compared.
        source: "auto", "off", or the name of the file that says so.
    """

    scene: np.ndarray
    sections: np.ndarray
    joined: tuple[Pair, ...]
    near: tuple[Pair, ...]
    compared: int
    source: str


class _Forest:
    """Sets of rows that grow together."""

    def __init__(self, n: int) -> None:
        self.parent = list(range(n))

    def root(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, i: int, j: int) -> None:
        self.parent[self.root(i)] = self.root(j)


def found(dataset: Dataset, looks: Sequence[Look]) -> Scenes:
    """Scenes found from what images look like.

    Pairs to compare come from indices (k-d trees) and from the order of names, so many an image, so that time and
    memory grow with n log n; a pair whose images are in one scene already is not compared.
    """
    n = len(dataset)
    forest = _Forest(n)
    held = functools.lru_cache(maxsize=POINTS_KEPT)(lambda row: points(dataset.image(row)))
    joined: list[Pair] = []
    near: list[Pair] = []
    compared = 0
    for first, second in _exact(dataset.sha):
        forest.join(first, second)
        joined.append(Pair(first, second, "copy", 1.0, COPY))
    alone = np.unique(np.asarray(dataset.sha), return_index=True)[1]
    seen = set()
    for kind, first, second, sides in _candidates(looks, sorted(map(int, alone)), dataset):
        key = (kind, sides, first, second) if kind == "tile" else (kind, min(first, second), max(first, second))
        if key in seen or forest.root(first) == forest.root(second):
            continue
        seen.add(key)
        compared += 1
        pair, is_joined = _compare(looks, first, second, kind, sides)
        if pair.kind == "frame" and not is_joined and pair.score >= SOME:
            moved = same_place(held(first), held(second))
            if moved >= POINTS:
                pair, is_joined = Pair(first, second, "points", moved, POINTS), True
        if is_joined:
            forest.join(first, second)
            joined.append(pair)
        else:
            near.append(pair)
            if len(near) > 4 * KEPT:
                near = _nearest_first(near)
    return Scenes(
        _components(n, joined),
        _components(n, [pair for pair in joined if pair.kind != "section"]),
        tuple(joined),
        tuple(pair for pair in _nearest_first(near) if forest.root(pair.first) != forest.root(pair.second)),
        compared,
        "auto",
    )


def _nearest_first(pairs: list[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: pair.limit - pair.score)[:KEPT]


def _components(n: int, pairs: Sequence[Pair]) -> np.ndarray:
    rows = np.array([(pair.first, pair.second) for pair in pairs], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])


def _exact(sha: Sequence[str]) -> Iterator[tuple[int, int]]:
    first: dict[str, int] = {}
    for row, value in enumerate(sha):
        if first.setdefault(value, row) != row:
            yield first[value], row


def _compare(looks: Sequence[Look], first: int, second: int, kind: str, sides: tuple[int, int]) -> tuple[Pair, bool]:
    """Compares two images as `kind` says; whether they are one scene.

    Of n images n * n pairs of borders may touch: the more there are, the rarer a seam must be by chance. The step
    across it rules out most of those that are left.
    """
    one, other = looks[first], looks[second]
    if kind == "tile":
        seam = continues(one.edges[sides[0]], other.edges[sides[1]])
        rare = float(norm.isf(len(looks) ** (-0.75 if seam.plain >= PLAIN else -1.5)))
        fits = seam.step <= SEAM and seam.sigmas >= rare
        is_joined = fits and (seam.detail >= DETAIL or (seam.plain >= PLAIN and seam.detail >= DETAIL_LEAST))
        return Pair(first, second, kind, seam.detail if fits else min(seam.detail, DETAIL_LEAST), DETAIL), is_joined
    copied = correlation(one.texture, other.texture)
    if copied >= COPY:
        return Pair(first, second, "copy", copied, COPY), True
    if kind == "section":
        return Pair(first, second, kind, copied, SECTION), copied >= SECTION
    share, blocks = same_view(one, other)
    return Pair(first, second, "frame", share, VIEW), share >= VIEW and blocks >= VIEW_BLOCKS


def _candidates(
    looks: Sequence[Look], rows: Sequence[int], dataset: Dataset
) -> Iterator[tuple[str, int, int, tuple[int, int]]]:
    """Pairs worth comparing, the likelier first: kind, both rows, and for tiles the sides that may touch."""
    yield from (("frame", i, j, (0, 0)) for i, j in _near_textures(looks, rows))
    for step in range(1, NEXT + 1):
        yield from (("frame", i, j, (0, 0)) for i, j in zip(rows, rows[step:], strict=False))
    for sides in ((1, 0), (3, 2)):  # right to left, bottom to top
        yield from (("tile", i, j, sides) for i, j in _near_edges(looks, rows, sides))
    yield from (("section", i, j, (0, 0)) for i, j in _next_sections(looks, dataset, rows))


def _near_textures(looks: Sequence[Look], rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    keyed = [(row, key) for row in rows if (key := texture_key(looks[row].texture)) is not None]
    if len(keyed) < 2:
        return
    keys = np.stack([key for _, key in keyed])
    axes = np.linalg.eigh(keys.T @ keys)[1][:, ::-1][:, :DIMENSIONS]
    points = keys @ axes
    yield from _near(points, points, [row for row, _ in keyed], [row for row, _ in keyed], np.inf)


def _near_edges(looks: Sequence[Look], rows: Sequence[int], sides: tuple[int, int]) -> Iterator[tuple[int, int]]:
    """Borders of one length whose details may correlate by DETAIL_LEAST."""
    keyed: list[dict[int, list[tuple[int, np.ndarray]]]] = [defaultdict(list), defaultdict(list)]
    for side, held in zip(sides, keyed, strict=True):
        for row in rows:
            edge = looks[row].edges[side]
            if (key := edge_key(edge)) is not None:
                held[edge.shape[1]].append((row, key))
    bound = float(np.sqrt(2 - 2 * DETAIL_LEAST))
    for length in sorted(keyed[0].keys() & keyed[1].keys()):
        ours, theirs = keyed[0][length], keyed[1][length]
        keys = [np.stack([key for _, key in held]) for held in (ours, theirs)]
        yield from _near(keys[0], keys[1], [row for row, _ in ours], [row for row, _ in theirs], bound)


def _near(
    queries: np.ndarray, points: np.ndarray, ours: list[int], theirs: list[int], bound: float
) -> Iterator[tuple[int, int]]:
    """Pairs of rows whose points are near, the nearest first."""
    k = min(NEIGHBOURS + 1, len(points))
    distances, found = cKDTree(points).query(queries, k=k, distance_upper_bound=bound, workers=-1)
    distances, found = distances.reshape(len(queries), k), found.reshape(len(queries), k)
    order = np.argsort(distances, axis=None, kind="stable")
    for query, rank in zip(*np.unravel_index(order, distances.shape), strict=True):
        if found[query, rank] < len(points) and ours[query] != theirs[found[query, rank]]:
            yield ours[query], theirs[found[query, rank]]


def _next_sections(looks: Sequence[Look], dataset: Dataset, rows: Sequence[int]) -> Iterator[tuple[int, int]]:
    """Images of one size whose names differ in a last number by 1 or 2, where such names are those of a stack.

    They are if neighbours are alike by SECTION more than images half the stack apart, in the median: numbered images
    with an object in the middle are all alike, near or far.
    """
    named: dict[tuple[str, tuple[int, ...]], dict[int, int]] = defaultdict(dict)
    for row in rows:
        if match := re.fullmatch(r"(.*?)(\d+)", dataset.ids[row]):
            named[match[1], tuple(dataset.sizes[row])][int(match[2])] = row

    def alike(numbers: dict[int, int], step: int) -> float:
        pairs = [(row, numbers[k + step]) for k, row in numbers.items() if k + step in numbers]
        return float(np.median([correlation(looks[i].texture, looks[j].texture) for i, j in pairs])) if pairs else 0.0

    for numbers in named.values():
        if alike(numbers, 1) - alike(numbers, max(2, len(numbers) // 2)) < SECTION:
            continue
        for step in (1, 2):
            yield from ((row, numbers[k + step]) for k, row in numbers.items() if k + step in numbers)


def scenes_of(dataset: Dataset, groups: str = "auto") -> Scenes:
    """Which images show the same thing.

    Args:
        dataset: the images; each is read once, and only what is needed to compare it is kept.
        groups: "auto" takes the groups.csv beside the images, or looks at the images if there is none; "off" takes
            each image for a scene of its own, copies too; else the path of a CSV with the columns id and group.

    Raises UserError for a file that cannot be read, lacks a column, names an image that is not there, twice, or not
    at all, or puts all images into one group.
    """
    if groups == "off":
        alone = np.arange(len(dataset))
        return Scenes(alone, alone, (), (), 0, "off")
    if groups == "auto":
        return _given(dataset, dataset.groups, GROUPS) if dataset.groups else _cached(dataset)
    path = Path(groups).expanduser()
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise UserError(
            f"groups: {groups} cannot be read ({reason}); give a CSV of id and group, auto or off"
        ) from error
    return _given(dataset, text, groups)


def _cached(dataset: Dataset) -> Scenes:
    path = dataset.folder / "scenes-2.json"
    if not path.exists():
        made = found(dataset, [look(dataset.image(i)) for i in range(len(dataset))])
        cache.write_text(path, json.dumps(asdict(made), default=np.ndarray.tolist))
    stored = json.loads(path.read_text())
    for key in ("scene", "sections"):
        stored[key] = np.array(stored[key], int)
    for key in ("joined", "near"):
        stored[key] = tuple(Pair(**pair) for pair in stored[key])
    return Scenes(**stored)


def _given(dataset: Dataset, text: str, name: str) -> Scenes:
    """Scenes as a CSV has them."""
    rows = csv.DictReader(io.StringIO(text))
    if missing := {"id", "group"} - set(rows.fieldnames or ()):
        lacking = " and ".join(sorted(missing))
        raise UserError(f"{name} lacks the column {lacking}; its first line must name the columns id and group")
    group: dict[str, str] = {}
    for row in rows:
        id, value = (row["id"] or "").strip(), (row["group"] or "").strip()
        if id in group:
            raise UserError(f"{name} has {id} twice; each image belongs to one group")
        if not value:
            raise UserError(f"{name} has no group for {id or 'a line without id'}; each image belongs to one group")
        group[id] = value
    known = set(dataset.ids)
    if unknown := sorted(group.keys() - known):
        raise UserError(
            f"{name} names {_some(unknown)}, which {dataset.name} does not hold; ids are as {dataset.ids[0]}"
        )
    if lost := sorted(known - group.keys()):
        raise UserError(f"{name} has no line for {_some(lost)}; each of the {len(dataset)} images needs one")
    if len(set(group.values())) < 2 <= len(dataset):
        raise UserError(f"{name} leaves one scene, three sides need three; give each scene a group of its own")
    numbers: dict[str, int] = {}
    scene = np.array([numbers.setdefault(group[id], len(numbers)) for id in dataset.ids])
    return Scenes(scene, scene, (), (), 0, name)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
