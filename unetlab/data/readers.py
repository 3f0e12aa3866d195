"""Which files make a sample: the Data Science Bowl's layout, images/ and masks/ folders, and TIFF stacks."""

import functools
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import PurePosixPath

import numpy as np
from scipy import ndimage

from unetlab.data.files import Files
from unetlab.errors import UserError
from unetlab.images import codecs

ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}

STACKS = {".tif", ".tiff"}

MEMBRANES = ("membranes", "membrane")
"""Folders and words whose masks mark the lines between cells; foreground is the inside of cells all the same."""

FOLDERS = {
    **dict.fromkeys(("images", "image", "raw"), "images"),
    **dict.fromkeys(("masks", "mask", "labels", "label", *MEMBRANES), "masks"),
}
"""Folder name to what it holds."""

WORDS = {
    **dict.fromkeys(("images", "image", "volume", "raw"), "images"),
    **dict.fromkeys(("masks", "mask", "labels", "label", *MEMBRANES), "masks"),
}
"""What a word in a file name says it holds, where there are no folders: `train-volume.tif`, `train-labels.tif`."""

MAX_OBJECTS = np.iinfo(np.uint16).max - 2
"""Labels are uint16, whose two largest values stand for unknown."""


@dataclass(frozen=True)
class Sample:
    """Files of one image.

    Args:
        id: unique name.
        image: file name of the image.
        masks: file names of its masks; one an object if `instances`, empty where there are none.
        instances: whether each mask holds one object.
        page: of a stack, counted from 0; None where each image has a file of its own.
    """

    id: str
    image: str
    masks: tuple[str, ...]
    instances: bool
    page: int | None = None


def find_samples(files: Files) -> list[Sample]:
    """Pairs images and masks by name, sorted by id; each page of a multi-page TIFF is an image, `<name>-000` and on.

    `<id>/images/<file>` with `<id>/masks/*`, one mask an object, is the Data Science Bowl's layout; `images/<name>`
    with `masks/<name>` the plain one: endings may differ, unless two images differ in nothing else; then each has the
    mask of its whole name, and the ending is part of its id. The folders may have the other names of FOLDERS. Where
    there are no such folders, files are pairs if a word of WORDS is all their names differ in, such as
    `train-volume.tif` and `train-labels.tif`, `images.tif` and `masks.tif`, or `a.png` and `a_mask.png`. Images alone
    have no masks.

    Raises UserError naming the file for an image without a mask, a mask without an image, a name that occurs twice,
    a file in a folder below images/ or masks/, and stacks of different length; and if there is no image at all.
    """
    samples = sorted((page for sample in _find(files) for page in _pages(files, sample)), key=lambda sample: sample.id)
    for first, second in pairwise(samples):
        if first.id == second.id:
            both = f"{first.image} and {second.image}"
            raise UserError(f"{files.label}: {both} would both be called {first.id}; rename one")
    return samples


def _find(files: Files) -> list[Sample]:
    names = [name for name in files.names if PurePosixPath(name).suffix.lower() in ENDINGS]
    if not names:
        raise UserError(
            f"{files.label} holds no PNG, JPEG, TIFF or BMP image; put images into images/, masks into masks/"
        )
    by_folder: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        path = PurePosixPath(name)
        by_folder[str(path.parent.parent), FOLDERS.get(path.parent.name, path.parent.name)].append(name)
    parents = sorted({parent for parent, folder in by_folder if folder == "images"})
    _refuse_stray(files, names, set(parents), {parent for parent, folder in by_folder if folder == "masks"})
    if not parents:
        return _by_words(files, names)
    if len(parents) == 1 and not _is_bowl(parents[0], by_folder[parents[0], "images"]):
        return _plain(files, by_folder[parents[0], "images"], by_folder.get((parents[0], "masks"), []))
    any_masks = any((parent, "masks") in by_folder for parent in parents)
    samples: dict[str, Sample] = {}
    for parent in parents:
        sample = _bowl(files, parent, by_folder[parent, "images"], by_folder.get((parent, "masks"), []), any_masks)
        if sample.id in samples:
            first = samples[sample.id].image
            raise UserError(f"{files.label}: {first} and {sample.image} have the same name; rename one folder")
        samples[sample.id] = sample
    return [samples[id] for id in sorted(samples)]


def _refuse_stray(files: Files, names: list[str], with_images: set[str], with_masks: set[str]) -> None:
    """Files that would otherwise be left out in silence: masks no image belongs to, and folders below the two."""
    known = {PurePosixPath(parent, kind) for parent in with_images | with_masks for kind in FOLDERS}
    for name in names:
        folder, *above = PurePosixPath(name).parents
        if folder in known:
            if FOLDERS[folder.name] == "masks" and str(folder.parent) not in with_images:
                raise UserError(f"{files.label}: {name} has no image; add {folder.parent / 'images'} or take it away")
        elif known.intersection(above):
            raise UserError(f"{files.label}: {name} lies too deep; put files right into images/ and masks/")


def _is_bowl(parent: str, images: list[str]) -> bool:
    return len(images) == 1 and PurePosixPath(images[0]).stem == PurePosixPath(parent).name


def _by_words(files: Files, names: list[str]) -> list[Sample]:
    """Pairs by a word in their names; images alone where no name says mask."""
    kinds = {name: WORDS.get(_word(name), "images") for name in names}
    if "masks" not in kinds.values():
        return _paired(files, _keyed(files, names, lambda name: PurePosixPath(name).stem), {})

    def key(name: str) -> str:
        path, word = PurePosixPath(name), rf"(?<![a-z]){_word(name)}(?![a-z])"
        bare = path.stem.lower()
        if _word(name):
            bare = re.sub(rf"[-_. ]*{word}[-_. ]*(?!.*{word})", "-", bare).strip("-")
        return str(path.with_name(bare or "*"))

    images, masks = ([name for name in names if kinds[name] == kind] for kind in ("images", "masks"))
    return _paired(files, _keyed(files, images, key), _keyed(files, masks, key), ("{}-volume.tif", "{}-labels.tif"))


def _word(name: str) -> str:
    """The last word of WORDS in a file's name; "" if there is none."""
    words = [word for word in re.split(r"[^a-z]+", PurePosixPath(name).stem.lower()) if word in WORDS]
    return words[-1] if words else ""


def _pages(files: Files, sample: Sample) -> Iterator[Sample]:
    """The sample itself, or one for each page of a stack."""
    stacks = [name for name in (sample.image, *sample.masks) if PurePosixPath(name).suffix.lower() in STACKS]
    if sample.instances or not stacks:
        yield sample
        return
    counts = {name: _count_pages(files, name) if name in stacks else 1 for name in (sample.image, *sample.masks)}
    if len(set(counts.values())) > 1:
        said = " and ".join(f"{name} has {count} page{'s' * (count > 1)}" for name, count in counts.items())
        raise UserError(f"{files.label}: {said}; image and label stack must be of one length")
    count = counts[sample.image]
    if count == 1:
        yield sample
        return
    digits = max(3, len(str(count - 1)))
    for page in range(count):
        yield replace(sample, id=f"{sample.id}-{page:0{digits}d}", page=page)


def _count_pages(files: Files, name: str) -> int:
    try:
        return codecs.count_pages(kept_bytes(files, name))
    except codecs.PixelError:
        return 1  # reading the sample says what is wrong with it


@functools.lru_cache(maxsize=4)
def kept_bytes(files: Files, name: str) -> bytes:
    """The bytes of a file, kept for the next page of the same stack until `kept_bytes.cache_clear()`."""
    return files.read(name)


def _bowl(files: Files, parent: str, images: list[str], masks: list[str], any_masks: bool) -> Sample:
    if len(images) != 1:
        raise UserError(f"{files.label}: {parent}/images holds {len(images)} images; this layout wants one")
    if any_masks and not masks:
        raise UserError(f"{files.label}: {images[0]} has no mask; put one PNG an object into {parent}/masks")
    return Sample(PurePosixPath(parent).name, images[0], tuple(sorted(masks)), True)


def _plain(files: Files, images: list[str], masks: list[str]) -> list[Sample]:
    paths = [PurePosixPath(name) for name in images]
    stems = Counter(path.stem for path in paths)
    bare = {path.name for path in paths if masks} - {PurePosixPath(name).name for name in masks}
    # where two images differ in their endings only, and their masks too, names count whole
    whole = {stem for stem, count in stems.items() if count > 1} - {PurePosixPath(name).stem for name in bare}

    def key(name: str) -> str:
        path = PurePosixPath(name)
        return path.name if path.stem in whole else path.stem

    return _paired(files, _keyed(files, images, key), _keyed(files, masks, key))


def _paired(
    files: Files,
    images: dict[str, str],
    masks: dict[str, str],
    wanted: tuple[str, str] = ("images/{}.png", "masks/{}.png"),
) -> list[Sample]:
    """Samples of images and masks by what pairs them; `wanted` is what an error proposes to call a missing one."""
    if masks:
        if bare := sorted(images.keys() - masks.keys()):
            what = f"{images[bare[0]]} has no mask{_more(bare)}"
            raise UserError(f"{files.label}: {what}; add {wanted[1].format(bare[0])} or take the image away")
        if lost := sorted(masks.keys() - images.keys()):
            what = f"{masks[lost[0]]} has no image{_more(lost)}"
            raise UserError(f"{files.label}: {what}; add {wanted[0].format(lost[0])} or take it away")
    named = Counter(PurePosixPath(name).stem for name in images.values())
    samples = [
        Sample(
            PurePosixPath(name).name if named[PurePosixPath(name).stem] > 1 else PurePosixPath(name).stem,
            name,
            (masks[key],) if masks else (),
            False,
        )
        for key, name in images.items()
    ]
    return sorted(samples, key=lambda sample: sample.id)


def _more(stems: list[str]) -> str:
    return f" (nor have {len(stems) - 1} more)" if len(stems) > 1 else ""


def _keyed(files: Files, names: list[str], key: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        if key(name) in found:
            raise UserError(f"{files.label}: {found[key(name)]} and {name} have the same name; rename one")
        found[key(name)] = name
    return found


def read_sample(files: Files, sample: Sample) -> tuple[np.ndarray, np.ndarray, str, int]:
    """Decodes a sample: image uint8 (h, w, 1 or 3), labels uint16 (h, w) with 0 for background, the stored mode, and
    how many different values a plain mask holds.

    Labels number the masks in the order of their names, or the connected components of a plain mask's foreground:
    what is above 0, or the inside of cells if the mask marks membranes (`marks_membranes`).

    Raises UserError naming the file for what cannot be decoded, for a mask of another size than its image, and for
    more than MAX_OBJECTS objects.
    """
    where, page = ("", 0) if sample.page is None else (f" page {sample.page + 1}", sample.page)
    try:
        image, mode = codecs.decode(_read(files, sample.image), page)
    except codecs.PixelError as error:
        raise UserError(f"{sample.image}{where}: {error}") from error
    if len(sample.masks) > MAX_OBJECTS:
        raise UserError(f"{sample.image}: {len(sample.masks):,} masks; an image can have {MAX_OBJECTS:,}")
    labels, levels = np.zeros(image.shape[:2], np.uint16), 2
    for number, name in enumerate(sample.masks, start=1):
        try:
            mask, values = codecs.decode_mask_and_levels(_read(files, name), page)
        except codecs.PixelError as error:
            raise UserError(f"{name}{where}: {error}") from error
        if mask.shape != image.shape[:2]:
            sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels, its image {image.shape[1]} x {image.shape[0]}"
            raise UserError(f"{name}{where}: the mask is {sizes}; they must be of one size")
        if sample.instances:
            labels[mask] = number
            continue
        levels = values
        if marks_membranes(name) and mask.mean() < 0.5:
            mask = ~mask
        components, count = ndimage.label(mask)
        if count > MAX_OBJECTS:
            raise UserError(
                f"{name}{where}: {count:,} separate objects, at most {MAX_OBJECTS:,} can be told apart; is it a mask?"
            )
        labels = components.astype(np.uint16)
    return image, labels, mode, levels


def marks_membranes(name: str) -> bool:
    """Whether a folder or file name says that a mask marks the lines between cells: the smaller side of a section.

    Foreground is then the larger side, the inside of cells, whichever of the two is stored above 0.
    """
    return PurePosixPath(name).parent.name in MEMBRANES or _word(name) in MEMBRANES


def _read(files: Files, name: str) -> bytes:
    """The bytes of a file; those of a TIFF, which may be a stack, are kept for its next page."""
    return kept_bytes(files, name) if PurePosixPath(name).suffix.lower() in STACKS else files.read(name)
