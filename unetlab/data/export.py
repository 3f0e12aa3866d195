"""A data set as plain PNG files, which every program can read: the first step of many a pipeline of sections."""

from pathlib import Path

from rich.console import Console
from rich.progress import track

from unetlab.data.dataset import Dataset
from unetlab.errors import UserError
from unetlab.images import codecs


def export(dataset: Dataset, folder: Path) -> int:
    """Writes images/ID.png and, where there are masks, masks/ID.png of 0 and 255; returns how many images.

    Raises UserError if the folder holds something already, or cannot be written.
    """
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise UserError(f"{folder} is not an empty folder; name a new one to export to")
    console = Console(stderr=True)
    try:
        for kind in ("images", "masks") if dataset.has_masks else ("images",):
            (folder / kind).mkdir(parents=True, exist_ok=True)
        rows = track(range(len(dataset)), "writing PNG", console=console, disable=not console.is_terminal)
        for i in rows:
            name = f"{dataset.ids[i]}.png"
            (folder / "images" / name).write_bytes(codecs.encode_image(dataset.image(i)))
            if dataset.has_masks:
                (folder / "masks" / name).write_bytes(codecs.encode_mask(dataset.objects(i) > 0))
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); name another folder to export to") from error
    return len(dataset)
