"""The plain layout: `images/<name>` with `masks/<name>`; the folders may have other names of their kind."""

from collections import Counter
from pathlib import PurePosixPath

from unetlab.data.files import Files
from unetlab.data.layouts.base import Folders, Sample, keyed, paired, stem_of


def find(files: Files, names: list[str], folders: Folders) -> list[Sample] | None:
    """The samples, None where this is another layout; raises UserError as `find_samples` says.

    Endings of image and mask may differ, unless two images differ in nothing else; then each has the mask of its whole
    name, and the ending is part of its id.
    """
    if len(folders.parents) != 1:
        return None
    images, masks = folders.images(folders.parents[0]), folders.masks(folders.parents[0])
    paths = [PurePosixPath(name) for name in images]
    stems = Counter(stem_of(name) for name in images)
    bare = {path.name for path in paths if masks} - {PurePosixPath(name).name for name in masks}
    # where two images differ in their endings only, and their masks too, names count whole
    whole = {stem for stem, count in stems.items() if count > 1} - {stem_of(name) for name in bare}

    def key(name: str) -> str:
        path = PurePosixPath(name)
        return path.name if stem_of(name) in whole else stem_of(name)

    return paired(files, keyed(files, images, key), keyed(files, masks, key))
