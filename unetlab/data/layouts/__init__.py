"""Which files make a sample: one file a layout, tried in order."""

from itertools import pairwise
from pathlib import PurePosixPath

from unetlab.data.files import Files
from unetlab.data.layouts import bowl, folders, words
from unetlab.data.layouts.base import FOLDERS, Folders, Sample, word_of
from unetlab.errors import UserError
from unetlab.images.codecs import ENDINGS, KNOWN

UNREAD = (
    *(".gif", ".webp", ".jfif", ".heic", ".heif", ".avif", ".ppm", ".pgm"),
    *(".jp2", ".svs", ".npy", ".npz", ".h5"),
    *(".lsm", ".stk", ".oib", ".oif", ".vsi", ".ims", ".dcm"),
)
"""Endings of images that are not read; in images/ or masks/, or side by side with others and called image or mask, they
would be left out in silence."""

LAYOUTS = (bowl.find, folders.find, words.find)
"""Each answers with samples, or None where files are laid out otherwise; a new layout is one file and one name here."""


def find_samples(files: Files) -> list[Sample]:
    """Pairs images and masks by name, sorted by id; a stack of pages is one sample here.

    Raises UserError naming the file for an image without a mask, a mask without an image, a name that occurs twice,
    a file in a folder below images/ or masks/, and one there that is not read; and if there is no image at all.
    """
    names = [name for name in files.names if PurePosixPath(name).suffix.lower() in ENDINGS]
    there = Folders(names)
    for name in files.names:
        path = PurePosixPath(name)
        counts = path.parent.name.lower() in FOLDERS or (not there.parents and word_of(name))
        if path.suffix.lower() in UNREAD and counts:
            raise UserError(f"{files.label}: {name} is no {KNOWN} image; convert it to PNG or TIFF, or take it away")
    if not names:
        raise UserError(
            f"{files.label} holds no PNG, JPEG, TIFF or BMP image; put images into images/, masks into masks/"
        )
    there.refuse_stray(files, names)
    samples = next(found for find in LAYOUTS if (found := find(files, names, there)) is not None)
    return sorted(samples, key=lambda sample: sample.id)


def refuse_twins(files: Files, samples: list[Sample]) -> None:
    """Raises UserError for two samples, sorted by id, of one id."""
    for first, second in pairwise(samples):
        if first.id == second.id:
            both = f"{first.image} and {second.image}"
            raise UserError(f"{files.label}: {both} would both be called {first.id}; rename one")
