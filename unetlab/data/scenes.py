"""Which images show the same thing: copies, also turned ones, frames of one take, tiles of one field, sections of one
stack, channels of one plane."""

import csv
import functools
import io
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from unetlab.data import cache, faint, nearest, takes, tiles
from unetlab.data.class_table import semicolons
from unetlab.data.dataset import Dataset
from unetlab.data.files import GROUPS, composed
from unetlab.data.keypoints import points, same_place
from unetlab.data.likeness import Look, correlation, look, same_view
from unetlab.errors import UserError

COPY = 0.97
"""Correlation of two images' textures at and above which one is a copy of the other."""

SURE = 0.995
"""The same of an image and another one turned, within a stack: a poor JPEG of a turned image lies above, neighbouring
sections of something round, which are each other's mirror images, below."""

VIEW = 0.4
"""Share of blocks in common from which on two images are frames of one take, whatever else."""

VIEW_BLOCKS = 32
"""And how many blocks those must be, half an image: fewer may be one round thing that lies elsewhere."""

PART = 0.17
"""Share from which on they are frames of one take if their colours agree as well."""

SOME = 0.08
"""Share of blocks in common from which on points are looked for as well, which takes longer."""

TINT = 0.7
"""Likeness of colours from which on they are looked for too: frames that moved far share no blocks."""

POINTS_KEPT = 8000
"""Images whose points stay in memory, 20 KB each as a rule, 55 KB at most."""

SECTION = 0.25
"""Correlation of the textures of neighbouring sections of one stack; sections further apart have one of about 0."""

POINTS = 7
"""Points that moved together make frames of one take of two images that share too few blocks, or none."""

NEXT = 3
"""Images after each in the order of names it is compared with too: frames of a take are named in order."""

KEPT = 1000
"""Pairs that were compared and not joined that are kept, the nearest first."""


@dataclass(frozen=True)
class Pair:
    """Two images that were compared.

    Args:
        first, second: their rows.
        kind: "copy", "turned" (a copy turned by quarters or flipped), "channel" (two of one plane), "frame" (blocks),
            "points" (frames that turned, came closer or moved far), "colours" (frames told by their names' order and
            their colours), "tile", "faint" (tiles whose border holds little), "section".
        score: how alike they are: correlation, for frames the share of blocks or the points in common,
            for faint tiles standard errors above chance.
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
        joined: pairs that made scenes, as many as that takes.
        near: pairs that came nearest to being joined, the nearest first.
        compared: how many pairs were compared.
        source: "auto", "off", or the name of the file that says so.
    """

    scene: np.ndarray
    joined: tuple[Pair, ...]
    near: tuple[Pair, ...]
    compared: int
    source: str

    def copies(self, stacks: Sequence[str]) -> np.ndarray:
        """int (n,), the same for images that are copies of each other: pixel for pixel, turned, or in another one of
        `stacks`, the stack of each image. Within a stack neighbours look like copies where little changes between them.
        Channels of one plane count as copies."""

        def taken(pair: Pair) -> bool:
            alike = pair.kind in ("copy", "turned") and stacks[pair.first] != stacks[pair.second]
            turned = pair.kind == "turned" and pair.score >= SURE
            return alike or turned or pair.kind == "channel" or pair.score == 1

        return _components(len(self.scene), [pair for pair in self.joined if taken(pair)])


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


class _Finding:
    """Scenes as they are being found."""

    def __init__(self, n: int) -> None:
        self.forest = _Forest(n)
        self.joined: list[Pair] = []
        self.near: list[Pair] = []
        self.compared = 0

    def apart(self, first: int, second: int) -> bool:
        return self.forest.root(first) != self.forest.root(second)

    def take(self, pair: Pair, is_joined: bool) -> None:
        """Notes a pair that was compared."""
        self.compared += 1
        if is_joined and self.apart(pair.first, pair.second):
            self.forest.join(pair.first, pair.second)
            self.joined.append(pair)
        elif not is_joined:
            self.near.append(pair)
            if len(self.near) > 4 * KEPT:
                self.near = _nearest_first(self.near)

    def scenes(self) -> Scenes:
        n = len(self.forest.parent)
        near = tuple(pair for pair in _nearest_first(self.near) if self.apart(pair.first, pair.second))
        return Scenes(_components(n, self.joined), tuple(self.joined), near, self.compared, "auto")


def found(dataset: Dataset, looks: Sequence[Look]) -> Scenes:
    """Scenes found from what images look like.

    Pairs to compare come from indices (k-d trees) and from the order of names, so many an image, so that time and
    memory grow with n log n; a pair whose images are in one scene already is not compared.
    """
    n = len(dataset)
    finding = _Finding(n)
    held = functools.lru_cache(maxsize=POINTS_KEPT)(lambda row: points(dataset.image(row)))
    for first, second in _exact(dataset.sha):
        finding.take(Pair(first, second, "copy", 1.0, COPY), True)
    rows = sorted(map(int, np.unique(np.asarray(dataset.sha), return_index=True)[1]))
    for first, second in _exact(dataset.fields):
        finding.take(Pair(first, second, "channel", 1.0, 1.0), True)
    # the surest first: a pair that is in one scene already is not noted, and `copies` counts sure ones alone
    for first, second, score in sorted(nearest.turned(looks, rows), key=lambda pair: -pair[2]):
        if score >= COPY:
            finding.take(Pair(first, second, "turned", score, COPY), True)
    rows = _unturned(dataset.ids, rows, finding.joined)
    seen = set()
    partly: list[Pair] = []
    for kind, first, second in _candidates(looks, rows, dataset):
        key = (kind, min(first, second), max(first, second))
        if key in seen or not finding.apart(first, second):
            continue
        seen.add(key)
        pair, is_joined = _compare(looks, first, second, kind)
        tinted = takes.alike(looks[first].palette, looks[second].palette) >= TINT
        if pair.kind == "frame" and not is_joined and (pair.score >= SOME or tinted):
            moved = same_place(held(first), held(second))
            if moved >= POINTS:
                pair, is_joined = Pair(first, second, "points", moved, POINTS), True
            elif pair.score >= PART:
                partly.append(pair)
        finding.take(pair, is_joined)
    if takes.telling([each.palette for each in looks], _components(n, finding.joined)):
        for pair, is_joined in _by_colours(looks, dataset.ids, rows, partly):
            finding.take(pair, is_joined)
    seams, limit = tiles.seams(looks, rows, finding.apart)
    for tile in seams:
        finding.take(Pair(tile.first, tile.second, "tile", tile.score, max(limit, tiles.LEAST)), tile.score >= limit)
    weak, least = faint.seams(looks, rows, [tile for tile in seams if tile.score >= limit])
    for tile in weak:
        if tile.score >= least:
            finding.take(Pair(tile.first, tile.second, "faint", tile.score, least), True)
    return finding.scenes()


def _by_colours(
    looks: Sequence[Look], ids: Sequence[str], rows: Sequence[int], partly: Sequence[Pair]
) -> Iterator[tuple[Pair, bool]]:
    """Frames of a take that share some blocks, or follow each other by name, and whether their colours agree.

    Many blocks are enough for images in colour: a plate of another colour may stand where the first one stood.
    """

    def alike(first: int, second: int) -> float:
        return takes.alike(looks[first].palette, looks[second].palette)

    for pair in partly:
        if pair.score >= VIEW or alike(pair.first, pair.second) >= takes.AGREE:
            yield Pair(pair.first, pair.second, "frame", pair.score, PART), True
    for first, second, limit in takes.neighbours(ids, rows):
        score = alike(first, second)
        yield Pair(first, second, "colours", score, limit), score >= limit


def _nearest_first(pairs: list[Pair]) -> list[Pair]:
    return sorted(pairs, key=lambda pair: pair.limit - pair.score)[:KEPT]


def _components(n: int, pairs: Sequence[Pair]) -> np.ndarray:
    rows = np.array([(pair.first, pair.second) for pair in pairs], int).reshape(-1, 2)
    graph = coo_array((np.ones(len(rows), bool), (rows[:, 0], rows[:, 1])), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1])


def _exact(values: Sequence[str]) -> Iterator[tuple[int, int]]:
    """Pairs of rows of one value; an empty one tells nothing."""
    first: dict[str, int] = {}
    for row, value in enumerate(values):
        if value and first.setdefault(value, row) != row:
            yield first[value], row


def _unturned(ids: Sequence[str], rows: Sequence[int], joined: Sequence[Pair]) -> list[int]:
    """Rows without those that are others turned, which would go on in mirrored borders, and by chance that way only.

    Kept is the shortest name, since who makes turned copies calls them by the name of the original and a word more.
    """
    same = _components(len(ids), [pair for pair in joined if pair.kind == "turned"])
    kept: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: (len(ids[row]), row)):
        kept.setdefault(int(same[row]), row)
    return sorted(kept.values())


def _compare(looks: Sequence[Look], first: int, second: int, kind: str) -> tuple[Pair, bool]:
    """Compares two images as `kind` says; whether they are one scene."""
    one, other = looks[first], looks[second]
    copied = correlation(one.texture, other.texture)
    if copied >= COPY:
        return Pair(first, second, "copy", copied, COPY), True
    if kind == "section":
        return Pair(first, second, kind, copied, SECTION), copied >= SECTION
    share, blocks = same_view(one, other)
    return Pair(first, second, "frame", share, VIEW), share >= VIEW and blocks >= VIEW_BLOCKS


def _candidates(looks: Sequence[Look], rows: Sequence[int], dataset: Dataset) -> Iterator[tuple[str, int, int]]:
    """Pairs worth comparing, the likelier first: kind and both rows."""
    yield from (("frame", i, j) for i, j in nearest.textures(looks, rows))
    ordered = sorted(rows, key=lambda row: takes.natural(dataset.ids[row]))
    for step in range(1, NEXT + 1):
        yield from (("frame", i, j) for i, j in zip(ordered, ordered[step:], strict=False))
    yield from (("section", i, j) for i, j in _next_sections(looks, dataset, rows))


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
        return Scenes(alone, (), (), 0, "off")
    if groups == "auto":
        return _given(dataset, dataset.groups, GROUPS) if dataset.groups else _cached(dataset)
    path = Path(os.path.expanduser(groups))
    try:
        text = path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "is no text"
        raise UserError(
            f"groups: {groups} cannot be read ({reason}); give a CSV of id and group, auto or off"
        ) from error
    return _given(dataset, text, groups)


def _cached(dataset: Dataset) -> Scenes:
    path = dataset.folder / "scenes-11.json"
    if not path.exists():
        made = found(dataset, [look(dataset.image(i), _own_range(dataset.modes[i])) for i in range(len(dataset))])
        cache.write_text(path, json.dumps(asdict(made), default=np.ndarray.tolist))
    stored = json.loads(path.read_text())
    stored["scene"] = np.array(stored["scene"], int)
    for key in ("joined", "near"):
        stored[key] = tuple(Pair(**pair) for pair in stored[key])
    return Scenes(**stored)


def _own_range(mode: str) -> bool:
    """Whether an image that was stored so was brought to 8 bits by its own range, as `depth.to_uint8` does."""
    return not mode.startswith(("uint8", "bool"))


def _given(dataset: Dataset, text: str, name: str) -> Scenes:
    """Scenes as a CSV has them."""
    rows = csv.DictReader(io.StringIO(text))
    try:
        lines, names = list(rows), set(rows.fieldnames or ())
    except csv.Error as error:
        raise UserError(f"{name} is no table ({error})") from error
    if missing := {"id", "group"} - names:
        lacking = " and ".join(sorted(missing))
        way = "its first line must name the columns id and group"
        raise UserError(f"{name} lacks the column {lacking}; {semicolons(names) or way}")
    group: dict[str, str] = {}
    known = {composed(id): id for id in dataset.ids}
    for row in lines:
        id, value = row["id"] or "", (row["group"] or "").strip()
        id = known.get(composed(id)) or known.get(composed(id.strip()), id.strip())
        if id in group:
            raise UserError(f"{name} has {id} twice; each image belongs to one group")
        if not value:
            raise UserError(f"{name} has no group for {id or 'a line without id'}; each image belongs to one group")
        group[id] = value
    # of files that cannot be decoded nobody knows the ids; what is wrong with them is said elsewhere
    if (unknown := sorted(group.keys() - set(dataset.ids))) and not dataset.unusable:
        raise UserError(
            f"{name} names {_some(unknown)}, which {dataset.name} does not hold; ids are as {dataset.ids[0]}"
        )
    if lost := sorted(set(dataset.ids) - group.keys()):
        raise UserError(f"{name} has no line for {_some(lost)}; each of the {len(dataset)} images needs one")
    if len(set(group.values())) < 2 <= len(dataset):
        raise UserError(f"{name} leaves one scene, three sides need three; give each scene a group of its own")
    numbers: dict[str, int] = {}
    scene = np.array([numbers.setdefault(group[id], len(numbers)) for id in dataset.ids])
    return Scenes(scene, (), (), 0, name)


def _some(ids: Sequence[str]) -> str:
    return ", ".join(ids[:3]) + (f" and {len(ids) - 3} more" if len(ids) > 3 else "")
