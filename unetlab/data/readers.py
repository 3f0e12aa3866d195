"""Which files make a sample: the Data Science Bowl's layout, and plain images/ and masks/ folders."""

from collections import defaultdict
from dataclasses import dataclass
from pathlib import PurePosixPath

import numpy as np
from scipy import ndimage

from unetlab import pixels
from unetlab.data.files import Files
from unetlab.errors import UserError

ENDINGS = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp"}

MAX_OBJECTS = np.iinfo(np.uint16).max - 1
"""Labels are uint16, whose largest value stands for unknown."""


@dataclass(frozen=True)
class Sample:
    """Files of one image.

    Args:
        id: unique name.
        image: file name of the image.
        masks: file names of its masks; one an object if `instances`, empty where there are none.
        instances: whether each mask holds one object.
    """

    id: str
    image: str
    masks: tuple[str, ...]
    instances: bool


def find_samples(files: Files) -> list[Sample]:
    """Pairs images and masks by name, sorted by id.

    `<id>/images/<file>` with `<id>/masks/*`, one mask an object, is the Data Science Bowl's layout; `images/<name>`
    with `masks/<name>` the plain one, endings may differ. Images alone, in either layout, have no masks.

    Raises UserError naming the file for an image without a mask, a mask without an image, a name that occurs twice
    and a file in a folder below images/ or masks/; and if there is no image at all.
    """
    names = [name for name in files.names if PurePosixPath(name).suffix.lower() in ENDINGS]
    if not names:
        raise UserError(
            f"{files.label} holds no PNG, JPEG, TIFF or BMP image; put images into images/, masks into masks/"
        )
    by_folder: dict[tuple[str, str], list[str]] = defaultdict(list)
    for name in names:
        path = PurePosixPath(name)
        by_folder[str(path.parent.parent), path.parent.name].append(name)
    parents = sorted({parent for parent, folder in by_folder if folder == "images"})
    _refuse_stray(files, names, set(parents), {parent for parent, folder in by_folder if folder == "masks"})
    if not parents:
        return _images_alone(files, names)
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
    known = {PurePosixPath(parent, kind) for parent in with_images | with_masks for kind in ("images", "masks")}
    for name in names:
        folder, *above = PurePosixPath(name).parents
        if folder in known:
            if folder.name == "masks" and str(folder.parent) not in with_images:
                raise UserError(f"{files.label}: {name} has no image; add {folder.parent / 'images'} or take it away")
        elif known.intersection(above):
            raise UserError(f"{files.label}: {name} lies too deep; put files right into images/ and masks/")


def _is_bowl(parent: str, images: list[str]) -> bool:
    return len(images) == 1 and PurePosixPath(images[0]).stem == PurePosixPath(parent).name


def _images_alone(files: Files, names: list[str]) -> list[Sample]:
    return [Sample(stem, name, (), False) for stem, name in sorted(_by_stem(files, names).items())]


def _bowl(files: Files, parent: str, images: list[str], masks: list[str], any_masks: bool) -> Sample:
    if len(images) != 1:
        raise UserError(f"{files.label}: {parent}/images holds {len(images)} images; this layout wants one")
    if any_masks and not masks:
        raise UserError(f"{files.label}: {images[0]} has no mask; put one PNG an object into {parent}/masks")
    return Sample(PurePosixPath(parent).name, images[0], tuple(sorted(masks)), True)


def _plain(files: Files, images: list[str], masks: list[str]) -> list[Sample]:
    by_stem, masks_by_stem = _by_stem(files, images), _by_stem(files, masks)
    if masks:
        if bare := sorted(by_stem.keys() - masks_by_stem.keys()):
            what = f"{by_stem[bare[0]]} has no mask{_more(bare)}"
            raise UserError(f"{files.label}: {what}; add masks/{bare[0]}.png or take the image away")
        if lost := sorted(masks_by_stem.keys() - by_stem.keys()):
            what = f"{masks_by_stem[lost[0]]} has no image{_more(lost)}"
            raise UserError(f"{files.label}: {what}; add images/{lost[0]}.png or take it away")
    return [
        Sample(stem, name, (masks_by_stem[stem],) if masks else (), False) for stem, name in sorted(by_stem.items())
    ]


def _more(stems: list[str]) -> str:
    return f" (nor have {len(stems) - 1} more)" if len(stems) > 1 else ""


def _by_stem(files: Files, names: list[str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        stem = PurePosixPath(name).stem
        if stem in found:
            raise UserError(f"{files.label}: {found[stem]} and {name} have the same name; rename one")
        found[stem] = name
    return found


def read_sample(files: Files, sample: Sample) -> tuple[np.ndarray, np.ndarray, str]:
    """Decodes a sample: image uint8 (h, w, 1 or 3), labels uint16 (h, w) with 0 for background, and the stored mode.

    Labels number the masks in the order of their names, or the connected components of a plain mask.

    Raises UserError naming the file for what cannot be decoded, for a mask of another size than its image, and for
    more than MAX_OBJECTS objects.
    """
    try:
        image, mode = pixels.decode(files.read(sample.image))
    except pixels.PixelError as error:
        raise UserError(f"{sample.image}: {error}") from error
    if len(sample.masks) > MAX_OBJECTS:
        raise UserError(f"{sample.image}: {len(sample.masks):,} masks; an image can have {MAX_OBJECTS:,}")
    labels = np.zeros(image.shape[:2], np.uint16)
    for number, name in enumerate(sample.masks, start=1):
        try:
            mask = pixels.decode_mask(files.read(name))
        except pixels.PixelError as error:
            raise UserError(f"{name}: {error}") from error
        if mask.shape != image.shape[:2]:
            sizes = f"{mask.shape[1]} x {mask.shape[0]} pixels, its image {image.shape[1]} x {image.shape[0]}"
            raise UserError(f"{name}: the mask is {sizes}; they must be of one size")
        if sample.instances:
            labels[mask] = number
            continue
        components, count = ndimage.label(mask)
        if count > MAX_OBJECTS:
            raise UserError(
                f"{name}: {count:,} separate objects, at most {MAX_OBJECTS:,} can be told apart; is it a mask?"
            )
        labels = components.astype(np.uint16)
    return image, labels, mode
