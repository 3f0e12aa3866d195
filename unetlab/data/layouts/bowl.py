"""The Data Science Bowl's layout: `<id>/images/<file>` with `<id>/masks/*`, one mask an object; or one an image."""

from dataclasses import replace
from pathlib import PurePosixPath

from unetlab.data.files import Files, FolderFiles
from unetlab.data.layouts.base import Folders, Sample
from unetlab.errors import UserError


def find(files: Files, names: list[str], folders: Folders) -> list[Sample] | None:
    """The samples, None where this is another layout; raises UserError as `find_samples` says."""
    parents = folders.parents
    if not parents or (len(parents) == 1 and not _is_one(parents[0], folders.images(parents[0]))):
        return None
    counts = [len(folders.masks(parent)) for parent in parents]
    any_masks, instances = any(counts), max(counts) > 1  # of one mask each, its values say what it holds
    samples: dict[str, Sample] = {}
    for parent in parents:
        if len(folders.images(parent)) > 1:
            raise UserError(_several(files, folders, parent))
        sample = _sample(files, parent, folders.images(parent), folders.masks(parent), any_masks)
        if sample.id in samples:
            first = samples[sample.id].image
            raise UserError(f"{files.label}: {first} and {sample.image} have the same name; rename one folder")
        samples[sample.id] = replace(sample, instances=instances)
    return list(samples.values())


def _is_one(parent: str, images: list[str]) -> bool:
    return len(images) == 1 and PurePosixPath(images[0]).stem == PurePosixPath(parent).name


def _several(files: Files, folders: Folders, parent: str) -> str:
    """What is said of a folder of several images beside other folders of images, such as train/ beside test/."""
    count = len(folders.images(parent))
    largest = max(folders.parents, key=lambda name: (name != ".", len(folders.images(name))))
    said = f"{PurePosixPath(parent) / 'images'} holds {count} images, and of several such folders each may hold one"
    other = f", or name one of the folders: data={files.label}/{largest}" if isinstance(files, FolderFiles) else ""
    return f"{files.label}: {said}; put all into one images/ and one masks/{other}"


def _sample(files: Files, parent: str, images: list[str], masks: list[str], any_masks: bool) -> Sample:
    if any_masks and not masks:
        where = f"put one PNG an object into {parent}/masks, or one black PNG if it shows none"
        raise UserError(f"{files.label}: {images[0]} has no mask; {where}")
    return Sample(PurePosixPath(parent).name, images[0], tuple(sorted(masks)), True)
