"""A data set: ids, native pixels and labels, and both at a model's size, all from the memory map."""

import functools
import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from unetlab.data import cache, public
from unetlab.data.files import Files, open_files
from unetlab.data.readers import Sample, find_samples, kept_bytes, read_sample
from unetlab.data.twins import TWINS
from unetlab.errors import UserError
from unetlab.images import geometry
from unetlab.images.regions import components
from unetlab.setup import Recipe

IGNORED = 65534
"""Labels from this one on are of pixels nobody is sure of: label makers may leave some out, given masks never do."""

LEANING = 65535
"""The label of such a pixel where most label makers would say foreground; IGNORED where most would not."""

UNKNOWN = 2
"""What such pixels are in a mask at a model's size."""


class FittedDataset(NamedTuple):
    """All images of a data set, squeezed to the square that a recipe trains on, memory-mapped.

    Args:
        images: uint8 (n, s, s, c), s and c the recipe's image_size and channels.
        masks: uint8 (n, s, s, 1): 1 where at least half of what a pixel covers is foreground, UNKNOWN where at least
            half is unknown, 0 elsewhere.
    """

    images: np.ndarray
    masks: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Decoded images with their labels.

    Args:
        name: "synthetic-<twin>", the name of a public data set, or the stem of the folder or zip.
        ids: unique names, sorted.
        digest: hash of ids, native pixels and labels, 16 hex digits.
        sizes: int32 (n, 2), native height and width.
        modes: how each image was stored, such as "uint8 RGB".
        levels: how many different values each mask held; foreground is every value above 0.
        sha: hash of each image's native pixels.
        has_masks: whether labels were given.
        folder: where the decoded pixels lie.
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
    unusable: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    @functools.cached_property
    def _maps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        area = self.sizes.astype(np.int64).prod(axis=1)
        pixel_start = np.concatenate([[0], np.cumsum(area * self.channels)])
        label_start = np.concatenate([[0], np.cumsum(area)])
        images = np.memmap(self.folder / "images.bin", np.uint8, "r")
        labels = np.memmap(self.folder / "labels.bin", np.uint16, "r")
        return images, labels, pixel_start, label_start

    def image(self, i: int) -> np.ndarray:
        """The i-th image at its own size, uint8 (h, w, 1 or 3)."""
        images, _, start, _ = self._maps
        return np.asarray(images[start[i] : start[i + 1]]).reshape(*self.sizes[i], self.channels[i])

    def labels(self, i: int) -> np.ndarray:
        """The i-th image's objects at its own size, uint16 (h, w); 0 is background, IGNORED and above unknown."""
        _, labels, _, start = self._maps
        return np.asarray(labels[start[i] : start[i + 1]]).reshape(*self.sizes[i])

    def known(self, i: int) -> np.ndarray:
        """Where the i-th image's labels are known, bool (h, w)."""
        return np.asarray(self.labels(i) < IGNORED)

    def objects(self, i: int) -> np.ndarray:
        """The i-th image's objects at its own size, uint16 (h, w); 0 is background or unknown."""
        return np.where(self.known(i), self.labels(i), np.uint16(0))

    def fitted(self, recipe: Recipe) -> FittedDataset:
        """The data set as a recipe trains on it, made once and kept in the cache."""
        size, channels = recipe.image_size, recipe.channels
        paths = [self.folder / f"{kind}-{size}-{channels}.npy" for kind in ("images", "masks")]
        if not paths[0].exists():
            shape = (len(self), size, size, channels)
            cache.write_array(paths[0], shape, (self._sized_image(i, size, channels) for i in range(len(self))))
        if not paths[1].exists():
            cache.write_array(
                paths[1], (len(self), size, size, 1), (self._sized_mask(i, size) for i in range(len(self)))
            )
        return FittedDataset(np.load(paths[0], mmap_mode="r"), np.load(paths[1], mmap_mode="r"))

    def _sized_image(self, i: int, size: int, channels: int) -> np.ndarray:
        return geometry.resize_image(geometry.fit_channels(self.image(i), channels), size, size)

    def _sized_mask(self, i: int, size: int) -> np.ndarray:
        unknown = ~self.known(i)
        mask = _covered(self.objects(i) > 0, size).astype(np.uint8)
        if unknown.any():
            mask[_covered(unknown, size)] = UNKNOWN
        return mask[:, :, None]


def open_dataset(source: str, seed: int = 0, twin: str = "nuclei", lenient: bool = False) -> Dataset:
    """Opens a data source, decoding it on first sight; unchanged files are not opened again.

    Args:
        source: "synthetic" (the built-in twin), "synthetic-<twin>" (another one), the name of a public data set, or a
            folder or zip.
        seed: of the twin.
        twin: which twin "synthetic" is, a key of TWINS.
        lenient: files that cannot be decoded are left out and listed in `unusable`, to look at the others.

    Raises UserError for everything that is wrong with the source, naming the files; UnusableFiles where only some
    files cannot be decoded.
    """
    if source == "synthetic" or source.startswith("synthetic-"):
        return _open_twin(source.removeprefix("synthetic").removeprefix("-") or twin, seed)
    if source in public.SOURCES:
        files: Files = public.fetch(source)
        return _open(source, source, files.fingerprint(), lambda: _jobs(files, lambda: public.verify(source, files)))
    path = Path(source).expanduser()
    files = open_files(path)
    return _open(path.resolve().stem, str(path), files.fingerprint(), lambda: _jobs(files), lenient=lenient)


def relabelled(dataset: Dataset, name: str, key: str, label: Callable[[np.ndarray], np.ndarray]) -> Dataset:
    """The same images with labels made from each image alone, cached; given masks are not looked at.

    Args:
        dataset: where the images come from; ids, order and sizes stay.
        name: of the new data set.
        key: what `label` is, with its version: the cache is found by it.
        label: image uint8 (h, w, 1 or 3) to uint8 (h, w) of 0, 1, UNKNOWN, and UNKNOWN + 1 where it is rather
            foreground.
    """

    def job(i: int) -> cache.Decoded:
        image = dataset.image(i)
        made = label(image)
        labels = np.minimum(components(made == 1), IGNORED - 1).astype(np.uint16)
        labels[made == UNKNOWN] = IGNORED
        labels[made == UNKNOWN + 1] = LEANING
        return cache.Decoded(dataset.ids[i], image, labels, dataset.modes[i])

    jobs: list[Callable[[], cache.Decoded]] = [functools.partial(job, i) for i in range(len(dataset))]
    return _open(name, name, f"{dataset.digest} {key}", lambda: (jobs, True), "labelling")


def _covered(mask: np.ndarray, size: int) -> np.ndarray:
    return geometry.resize_map(mask.astype(np.float32), size, size) >= 0.5


def _open_twin(twin: str, seed: int) -> Dataset:
    if twin not in TWINS:
        raise UserError(f"data: no twin synthetic-{twin}; there are {', '.join(f'synthetic-{name}' for name in TWINS)}")
    make, version = TWINS[twin]
    name = f"synthetic-{twin}"
    return _open(name, name, f"{twin} twin {version} seed {seed}", lambda: (list(make(seed)), True), "simulating")


def _jobs(files: Files, verify: Callable[[], None] | None = None) -> tuple[list[Callable[[], cache.Decoded]], bool]:
    if verify is not None:
        verify()
    samples = find_samples(files)

    def job(sample: Sample) -> cache.Decoded:
        return cache.Decoded(sample.id, *read_sample(files, sample))

    return [functools.partial(job, sample) for sample in samples], any(sample.masks for sample in samples)


def _open(
    name: str,
    label: str,
    fingerprint: str,
    prepare: Callable[[], tuple[list[Callable[[], cache.Decoded]], bool]],
    doing: str = "decoding",
    lenient: bool = False,
) -> Dataset:
    kind = " of usable files" if lenient else ""
    key = hashlib.sha256(f"{cache.VERSION} {name} {fingerprint}{kind}".encode()).hexdigest()[:24]
    folder = cache.root() / key
    if not (folder / "index.json").exists():
        try:
            jobs, has_masks = prepare()
            header = {"name": name, "label": label, "has_masks": has_masks, "content": hashlib.sha256()}
            cache.build(folder, header, jobs, doing, lenient)
        finally:
            kept_bytes.cache_clear()
    index = json.loads((folder / "index.json").read_text())
    shapes = np.array(index["shapes"], np.int32)
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
        unusable=tuple(index.get("unusable", ())),
    )
