"""A data set: ids, native pixels and labels, and both at a model's size, all from the memory map."""

import functools
import hashlib
import json
import os
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from unetlab.data import cache, classes, public, targets
from unetlab.data.classes import UNKNOWN
from unetlab.data.files import Files, given_groups, open_files, refuse_no_path
from unetlab.data.ragged import Ragged
from unetlab.data.reading import Reader
from unetlab.data.twins import TWINS
from unetlab.errors import UserError
from unetlab.images import geometry, view
from unetlab.options import OPTIONS
from unetlab.setup import Recipe

Job = Callable[[], cache.Decoded]
"""Makes or decodes one image."""


class FittedDataset(NamedTuple):
    """All images of a data set at the size at which a recipe's network works, memory-mapped.

    Args:
        images: uint8 (n, s, s, c), s and c the recipe's image_size and channels; in patches a Ragged of (h, w, c) at
            the recipe's scale.
        masks: uint8 alike, with k channels: first 1 where at least half of what a pixel covers is foreground, UNKNOWN
            where at least half is unknown, 0 elsewhere, or where the recipe tells classes apart the index of the class
            that covers most; then what the recipe's head and border weight learn from, as
            `data.targets` has it.
    """

    images: np.ndarray | Ragged
    masks: np.ndarray | Ragged


@dataclass(frozen=True)
class Dataset:
    """Decoded images with their labels.

    Args:
        name: "synthetic-<twin>", the name of a public data set, or the stem of the folder or zip.
        ids: unique names, sorted.
        digest: hash of ids, native pixels and labels, 16 hex digits.
        sizes: int32 (n, 2), native height and width.
        modes: how each image was stored, such as "uint8 RGB".
        levels: how many different values each mask held.
        sha: hash of each image's native pixels.
        has_masks: whether labels were given.
        folder: where the decoded pixels lie.
        meaning: what the values of its masks mean: "binary", "objects" or "classes".
        why: how that was decided.
        classes: names of the classes by index, background first.
        label_types: dtype of each label image.
        object_classes: of each image, uint8 (objects + 1,), or None where there is one class.
        fields: of each image, what it shares with the other channels of its plane where channels are images; else "".
        groups: text of the groups.csv beside the images, "" if there is none.
        unusable: what was wrong with each file that was left out; files are left out only where that was asked for.
    """

    name: str
    ids: tuple[str, ...]
    digest: str
    sizes: np.ndarray
    channels: np.ndarray
    modes: tuple[str, ...]
    levels: tuple[int, ...]
    sha: tuple[str, ...]
    has_masks: bool
    folder: Path
    meaning: str = "binary"
    why: str = ""
    classes: tuple[str, ...] = ("background", "foreground")
    label_types: tuple[str, ...] = ()
    object_classes: tuple[np.ndarray | None, ...] = ()
    fields: tuple[str, ...] = ()
    groups: str = ""
    unusable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def learnt_classes(self) -> int:
        """How many foreground classes a network learns to tell apart: all where there are two or more, else 0."""
        several = len(self.classes) - 1
        return several if self.meaning == "classes" and several > 1 else 0

    @property
    def has_table(self) -> bool:
        """Whether a table names the values of its masks, `unknown` perhaps among them."""
        return classes.TABLE in self.why

    @functools.cached_property
    def _starts(self) -> tuple[np.ndarray, np.ndarray]:
        """Where each image and each label image begins in its file, in bytes."""
        area = self.sizes.astype(np.int64).prod(axis=1)
        widths = np.array([np.dtype(kind).itemsize for kind in self.label_types], np.int64)
        return tuple(np.concatenate([[0], np.cumsum(area * each)]) for each in (self.channels, widths))  # type: ignore[return-value]  # a pair

    def image(self, i: int) -> np.ndarray:
        """The i-th image at its own size, uint8 (h, w, 1 or 3).

        Read anew each time, not mapped: the pages of a map count as the process's memory.
        """
        shape = (*self.sizes[i], self.channels[i])
        found = np.fromfile(self.folder / "images.bin", np.uint8, int(np.prod(shape)), offset=self._starts[0][i])
        return found.reshape(shape)

    def labels(self, i: int) -> np.ndarray:
        """The i-th image's label image at its own size, uint8 or uint16 (h, w), as `classes` has it."""
        height, width = (int(side) for side in self.sizes[i])
        kind, start = np.dtype(self.label_types[i]), self._starts[1][i]
        return np.fromfile(self.folder / "labels.bin", kind, height * width, offset=start).reshape(height, width)

    def known(self, i: int) -> np.ndarray:
        """Where the i-th image's labels are known, bool (h, w)."""
        return classes.known(self.labels(i))

    def objects(self, i: int) -> np.ndarray:
        """The i-th image's objects at its own size, uint8 or uint16 (h, w); 0 is background or unknown."""
        return classes.objects(self.labels(i))

    def class_map(self, i: int) -> np.ndarray:
        """The i-th image's classes at its own size, uint8 (h, w): indices of `classes`, or UNKNOWN."""
        objects, of_object = self.objects(i), self.object_classes[i]
        found = (objects > 0).astype(np.uint8) if of_object is None else of_object[objects]
        return np.where(self.known(i), found, np.uint8(UNKNOWN))

    def class_truth(self, i: int) -> np.ndarray:
        """The same with 0 where labels are unknown, as scores take it."""
        found = self.class_map(i)
        return np.where(found == UNKNOWN, np.uint8(0), found)

    def fitted(self, recipe: Recipe) -> FittedDataset:
        """The data set as a recipe trains on it, made once and kept in the cache."""
        at = f"x{recipe.scale:g}" if recipe.view == "patches" else str(recipe.image_size)
        extra = targets.names(recipe)
        images = self._kept(
            f"images-{at}-{recipe.channels}", recipe, recipe.channels, lambda i: view.fitted(self.image(i), recipe)
        )
        kind = f"classes{recipe.classes}" if recipe.classes else "masks"
        masks = self._kept("-".join([kind, at, *extra]), recipe, 1 + len(extra), lambda i: self._target(i, recipe))
        return FittedDataset(images, masks)

    def _kept(self, name: str, recipe: Recipe, channels: int, make: Callable[[int], np.ndarray]) -> np.ndarray | Ragged:
        """What `make` gives of each image, uint8 (h, w, channels), from the file of that name, made if need be."""
        path = self.folder / f"{name}.npy"
        sizes = np.array([view.size_of(size, recipe) for size in self.sizes.tolist()], np.int64)
        ragged = recipe.view == "patches"
        if not path.exists():
            made = (make(i) for i in range(len(self)))
            if ragged:
                cache.write_array(path, (int((sizes.prod(axis=1) * channels).sum()),), made)
            else:
                cache.write_array(path, (len(self), *(int(side) for side in sizes[0]), channels), made)
        mapped = np.load(path, mmap_mode="r")
        return Ragged(mapped, sizes, channels) if ragged else mapped

    def _target(self, i: int, recipe: Recipe) -> np.ndarray:
        objects, unknown = self.objects(i), ~self.known(i)
        height, width = view.size_of(objects.shape, recipe)
        if recipe.classes:
            mask = _commonest(self.class_map(i), recipe.classes, height, width)
        else:
            mask = covered(objects > 0, height, width).astype(np.uint8)
        if unknown.any():
            mask[covered(unknown, height, width)] = UNKNOWN
        if not (names := targets.names(recipe)):
            return mask[:, :, None]
        labels = geometry.resize_labels(objects, height, width)
        return np.stack([mask, *(targets.TARGETS[name](labels) for name in names)], axis=-1)


def open_dataset(
    source: str,
    seed: int = 0,
    twin: str = "nuclei",
    lenient: bool = False,
    *,
    masks: str = "auto",
    channels: str = "",
    pages: str = "all",
) -> Dataset:
    """Opens a data source, decoding it on first sight; unchanged files are not opened again.

    Args:
        source: "synthetic" (the built-in twin), "synthetic-<twin>" (another one), the name of a public data set, or a
            folder or zip.
        seed: of the twin.
        twin: which twin "synthetic" is, a key of TWINS.
        lenient: files that cannot be decoded are left out and listed in `unusable`, to look at the others.
        masks: what values of masks mean, as `classes.decide` takes it.
        channels: which channels of the images, such as "1" or "1,2,3"; "" for all, where there are 1 or 3.
        pages: which pages of a stack, "all" or such as "1-10".

    Raises UserError for everything that is wrong with the source, naming the files; UnusableFiles where only some
    files cannot be decoded.
    """
    if masks not in (allowed := OPTIONS["masks"].choices):
        raise UserError(f"masks must be one of {', '.join(allowed)}. Received: {masks!r}")
    _refuse_both(source)
    if source == "synthetic" or source.startswith("synthetic-"):
        return _open_twin(source.removeprefix("synthetic").removeprefix("-") or twin, seed, masks)
    told = (masks, channels, pages)
    if source in public.SOURCES:
        files: Files = public.fetch(source)
        name, label, verify = source, source, lambda: public.verify(source, files)
    else:
        path = Path(os.path.expanduser(source))
        files = open_files(path)
        name, label, verify = path.resolve().stem, str(path), lambda: None
    fingerprint = f"{files.fingerprint()} {told}"

    def prepare(stack: ExitStack) -> tuple[list[Job], dict[str, Any]]:
        verify()
        table = public.SOURCES[source].classes if source in public.SOURCES and masks == "classes" else ""
        return _jobs(stack.enter_context(closing(Reader(files, channels, pages, table))), masks)

    dataset = _open(name, label, fingerprint, prepare, lenient=lenient)
    return replace(dataset, groups=given_groups(files))


def refuse_missing(source: str) -> None:
    """Raises UserError for a source, as `open_dataset` takes it, of which nothing is there. Nothing is opened."""
    _refuse_both(source)
    if source == "synthetic" or source in public.SOURCES:
        return
    if source.startswith("synthetic-"):
        _refuse_unknown_twin(source.removeprefix("synthetic-"))
    else:
        refuse_no_path(Path(os.path.expanduser(source)))


def _refuse_both(source: str) -> None:
    """Raises UserError for a name that a folder or zip of the user's has as well."""
    if (source in public.SOURCES or source.split("-")[0] == "synthetic") and Path(source).exists():
        raise UserError(f"data={source} is a named data set and a folder here; rename the folder, or write ./{source}")


def relabelled(dataset: Dataset, name: str, key: str, label: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """The same images with labels made from each image alone, cached; given masks are not looked at.

    Args:
        dataset: where the images come from; ids, order and sizes stay.
        name: of the new data set.
        key: what `label` is, with its version: the cache is found by it.
        label: image uint8 (h, w, 1 or 3) to a mask, uint8 (h, w) of 0, 1, UNKNOWN and LEANING.
    """

    def job(i: int) -> cache.Decoded:
        image = dataset.image(i)
        made, field = classes.from_mask(label(image)), dataset.fields[i] if dataset.fields else ""
        return cache.Decoded(dataset.ids[i], image, made, dataset.modes[i], field=field)

    jobs: list[Job] = [functools.partial(job, i) for i in range(len(dataset))]
    about = {"has_masks": True, "masks": "binary", "why": "made from the images"}
    return _open(name, name, f"{dataset.digest} {key}", lambda _: (jobs, about), "labelling")


def covered(mask: np.ndarray, height: int, width: int) -> np.ndarray:
    """A mask, bool (h, w), at another size: pixels of which it covers half or more."""
    return geometry.resize_map(mask.astype(np.float32), height, width) >= 0.5


def _refuse_unknown_twin(twin: str) -> None:
    if twin not in TWINS:
        raise UserError(f"data: no twin synthetic-{twin}; there are {', '.join(f'synthetic-{name}' for name in TWINS)}")


def _commonest(index: np.ndarray, classes: int, height: int, width: int) -> np.ndarray:
    """The class that covers most of each pixel of an index map resized, uint8 (height, width); of equals the first, but
    background, as of one mask, only where it covers more than any other."""
    if index.shape == (height, width):
        return index.copy()
    found, most = np.zeros((height, width), np.uint8), np.zeros((height, width), np.float32)
    for kind in (*range(1, classes + 1), 0):
        share = geometry.resize_map((index == kind).astype(np.float32), height, width)
        more = share > most
        found[more], most[more] = kind, share[more]
    return found


def _open_twin(twin: str, seed: int, masks: str) -> Dataset:
    _refuse_unknown_twin(twin)
    made, name = TWINS[twin], f"synthetic-{twin}"
    about: dict[str, Any] = {"has_masks": True, "masks": "objects", "why": "simulated objects"}
    several = bool(made.classes) and masks in ("auto", "classes")
    if several:
        about |= {"masks": "classes", "why": "simulated objects of several classes", "classes": made.classes}
    jobs: list[Job] = [functools.partial(_made, job, several) for job in made.jobs(seed)]
    alone = " as one class" if made.classes and not several else ""
    return _open(name, name, f"{twin} twin {made.version} seed {seed}{alone}", lambda _: (jobs, about), "simulating")


def _made(job: Job, several: bool) -> cache.Decoded:
    made = cache.Decoded(*job())
    return made._replace(labels=classes.smallest(made.labels), classes=made.classes if several else None)


def _jobs(reader: Reader, masks: str) -> tuple[list[Job], dict[str, Any]]:
    samples = reader.samples()
    meaning = reader.meaning(samples, masks)
    about: dict[str, Any] = {"has_masks": any(sample.masks for sample in samples)}
    about |= {"masks": meaning.kind, "why": meaning.why, "classes": meaning.classes}
    return [functools.partial(reader.read, sample, meaning) for sample in samples], about


def _open(
    name: str,
    label: str,
    fingerprint: str,
    prepare: Callable[[ExitStack], tuple[list[Job], dict[str, Any]]],
    doing: str = "decoding",
    lenient: bool = False,
) -> Dataset:
    kind = " of usable files" if lenient else ""
    key = hashlib.sha256(f"{cache.VERSION} {name} {fingerprint}{kind}".encode()).hexdigest()[:24]
    folder = cache.root() / key
    if not (folder / "index.json").exists():
        with ExitStack() as stack:
            jobs, about = prepare(stack)
            header = {"name": name, "label": label, **about, "content": hashlib.sha256()}
            cache.build(folder, header, jobs, doing, lenient)
    return stored(folder)


def stored(folder: Path) -> Dataset:
    """The data set whose decoded pixels lie in a folder of the cache."""
    index = json.loads((folder / "index.json").read_text())
    shapes = np.array(index["shapes"], np.int32)
    kinds = index["object_classes"]
    return Dataset(
        name=index["name"],
        ids=tuple(index["ids"]),
        digest=index["digest"],
        sizes=shapes[:, :2],
        channels=shapes[:, 2],
        modes=tuple(index["modes"]),
        levels=tuple(index["levels"]),
        sha=tuple(index["sha"]),
        has_masks=index["has_masks"],
        folder=folder,
        meaning=index["masks"],
        why=index["why"],
        classes=tuple(index.get("classes", ("background", "foreground"))),
        label_types=tuple(index["label_types"]),
        object_classes=tuple(None if each is None else np.array(each, np.uint8) for each in kinds),
        fields=tuple(index.get("fields", ())),
        unusable=tuple(index.get("unusable", ())),
    )
