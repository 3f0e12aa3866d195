"""What layouts share: what a sample is, the words of folders and files, pairing images with masks."""

import re
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import PurePosixPath

from unetlab.data.files import Files, composed
from unetlab.errors import UserError

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


@dataclass(frozen=True)
class Sample:
    """Files of one image.

    Args:
        id: unique name.
        image: file name of the image.
        masks: file names of its masks; one an object if `instances`, empty where there are none.
        instances: whether each mask holds one object.
        page: its number in the stack, counted from 0, whichever are chosen; None where an image has a file of its own.
    """

    id: str
    image: str
    masks: tuple[str, ...]
    instances: bool
    page: int | None = None


class Folders:
    """Which folders hold images and which hold masks, by what their names say.

    Args:
        names: of all image files.
    """

    def __init__(self, names: list[str]) -> None:
        self.held: dict[tuple[str, str], list[str]] = defaultdict(list)
        for name in names:
            path = PurePosixPath(name)
            folder = path.parent.name
            self.held[str(path.parent.parent), FOLDERS.get(folder.lower(), folder)].append(name)
        self.parents = sorted({parent for parent, kind in self.held if kind == "images"})

    def images(self, parent: str) -> list[str]:
        """The files in the folder of images below `parent`."""
        return self.held.get((parent, "images"), [])

    def masks(self, parent: str) -> list[str]:
        """The files in the folder of masks below `parent`."""
        return self.held.get((parent, "masks"), [])

    def refuse_stray(self, files: Files, names: list[str]) -> None:
        """Files that would otherwise be left out in silence: masks no image belongs to, and folders below the two."""
        with_images, with_masks = set(self.parents), {parent for parent, kind in self.held if kind == "masks"}

        parents = with_images | with_masks
        if not parents:
            self._refuse_deep(files, names)

        def known(folder: PurePosixPath) -> bool:
            return folder.name.lower() in FOLDERS and str(folder.parent) in parents

        for name in names:
            folder, *above = PurePosixPath(name).parents
            if known(folder):
                if FOLDERS[folder.name.lower()] == "masks" and str(folder.parent) not in with_images:
                    raise UserError(
                        f"{files.label}: {name} has no image; add {folder.parent / 'images'} or take it away"
                    )
            elif any(map(known, above)):
                raise UserError(_too_deep(files, name))

    def _refuse_deep(self, files: Files, names: list[str]) -> None:
        """Where no file lies right in images/ or masks/, folders of both further up mean these two all the same."""
        deep = {name: {FOLDERS.get(folder.lower()) for folder in PurePosixPath(name).parts[:-1]} for name in names}
        if {"images", "masks"} <= set().union(*deep.values()):
            first = next(name for name, above in deep.items() if above & {"images", "masks"})
            raise UserError(_too_deep(files, first))


def _too_deep(files: Files, name: str) -> str:
    return f"{files.label}: {name} lies too deep; put files right into images/ and masks/"


def stem_of(name: str) -> str:
    """A file's name without its ending, of which `.ome` is a part: `cell` of `images/cell.ome.tif`."""
    return PurePosixPath(name).stem.removesuffix(".ome")


def word_of(name: str) -> str:
    """The last word of WORDS in a file's name; "" if there is none."""
    found = [word for word in re.split(r"[^a-z]+", stem_of(name).lower()) if word in WORDS]
    return found[-1] if found else ""


def paired(
    files: Files,
    images: dict[str, str],
    masks: dict[str, str],
    wanted: tuple[str, str] = ("images/{}.png", "masks/{}.png"),
) -> list[Sample]:
    """Samples of images and masks by what pairs them; `wanted` is what an error proposes to call a missing one."""
    if masks:
        bare, lost = sorted(images.keys() - masks.keys()), sorted(masks.keys() - images.keys())
        if bare and lost:
            what = f"{images[bare[0]]} has no mask{more(bare)}, and {masks[lost[0]]} no image{more(lost)}"
            raise UserError(f"{files.label}: {what}; a mask has the name of its image")
        if bare:
            what = f"{images[bare[0]]} has no mask{more(bare)}"
            raise UserError(f"{files.label}: {what}; add {wanted[1].format(bare[0])} or take the image away")
        if lost:
            what = f"{masks[lost[0]]} has no image{more(lost)}"
            raise UserError(f"{files.label}: {what}; add {wanted[0].format(lost[0])} or take it away")
    named = Counter(stem_of(name) for name in images.values())
    samples = [
        Sample(
            PurePosixPath(name).name if named[stem_of(name)] > 1 else stem_of(name),
            name,
            (masks[key],) if masks else (),
            False,
        )
        for key, name in images.items()
    ]
    return sorted(samples, key=lambda sample: sample.id)


def more(stems: list[str]) -> str:
    return f" (nor have {len(stems) - 1} more)" if len(stems) > 1 else ""


def keyed(files: Files, names: list[str], key: Callable[[str], str]) -> dict[str, str]:
    found: dict[str, str] = {}
    for name in names:
        own = composed(key(name))
        if own in found:
            ways = "" if key(found[own]) == key(name) else ", its letters put together in two ways"
            raise UserError(f"{files.label}: {found[own]} and {name} have the same name{ways}; rename one")
        found[own] = name
    return found


def marks_membranes(name: str) -> bool:
    """Whether the name of its folder of masks, or of a mask that lies in none, says that it marks the lines between
    cells.

    Foreground is then the inside of cells, the larger side of most masks, whichever of the two is stored above 0.
    """
    folder = PurePosixPath(name).parent.name.lower()
    return folder in MEMBRANES if folder in FOLDERS else word_of(name) in MEMBRANES
