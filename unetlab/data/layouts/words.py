"""Files side by side, paired by a word in their names: `train-volume.tif` and `train-labels.tif`, `a_mask.png`."""

import re
from pathlib import PurePosixPath

from unetlab.data.files import Files
from unetlab.data.layouts.base import WORDS, Folders, Sample, keyed, paired, stem_of, word_of


def find(files: Files, names: list[str], folders: Folders) -> list[Sample] | None:
    """The samples, None where this is another layout; images alone where no name says mask."""
    if folders.parents:
        return None
    kinds = {name: WORDS.get(word_of(name), "images") for name in names}
    if "masks" not in kinds.values():
        return paired(files, keyed(files, names, stem_of), {})

    def key(name: str) -> str:
        path, word = PurePosixPath(name), rf"(?<![a-z]){word_of(name)}(?![a-z])"
        bare = stem_of(name).lower()
        if word_of(name):
            bare = re.sub(rf"[-_. ]*{word}[-_. ]*(?!.*{word})", "-", bare).strip("-")
        return str(path.with_name(bare or "*"))

    images, masks = ([name for name in names if kinds[name] == kind] for kind in ("images", "masks"))
    whole = {str(PurePosixPath(name).with_name(stem_of(name).lower())): key(name) for name in images}

    def key_of_mask(name: str) -> str:
        own = key(name)
        return whole.get(own, own)  # `image_1_mask` has the whole name of `image_1`

    named = ("{}-volume.tif", "{}-labels.tif")
    return paired(files, keyed(files, images, key), keyed(files, masks, key_of_mask), named)
