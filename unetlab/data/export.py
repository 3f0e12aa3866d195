"""A data set as plain PNG files, which every program can read: the first step of many a pipeline of sections."""

import csv
import io
from pathlib import Path

from rich.console import Console
from rich.progress import track

from unetlab.data import classes
from unetlab.data.dataset import Dataset
from unetlab.data.files import GROUPS, composed
from unetlab.errors import UserError
from unetlab.images import codecs


def export(dataset: Dataset, folder: Path) -> int:
    """Writes images/ID.png and, where there are masks, masks/ID.png, as `open_dataset` reads them; returns how many.

    Binary masks hold 0 and 255, or where a table said what is unknown 0, 1 and 255, with a classes.csv. Objects are
    numbered, in 16 bits where 8 are too few; a number is an object whichever way it was given. Classes are indices,
    with their names in classes.csv. A groups.csv comes along.

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
                (folder / "masks" / name).write_bytes(_mask(dataset, i))
        if dataset.has_masks and _in_classes(dataset):
            lines = [f"{index},{_quoted(name)}" for index, name in enumerate(dataset.classes)]
            (folder / classes.TABLE).write_text("\n".join(["value,name", *lines, f"{classes.UNKNOWN},unknown", ""]))
        if dataset.groups:
            _write_groups(dataset, folder / GROUPS)
    except OSError as error:
        raise UserError(f"{folder} cannot be written ({error.strerror}); name another folder to export to") from error
    return len(dataset)


def _write_groups(dataset: Dataset, path: Path) -> None:
    """The lines of the images that are there; those of files that cannot be decoded would be strangers."""
    rows, ids = list(csv.reader(io.StringIO(dataset.groups))), {composed(id) for id in dataset.ids}
    at = rows[0].index("id") if "id" in rows[0] else 0
    kept = [row for row in rows[1:] if len(row) > at and composed(row[at].strip()) in ids]
    with path.open("w", newline="", encoding="utf-8") as out:
        csv.writer(out).writerows([rows[0], *kept])


def _in_classes(dataset: Dataset) -> bool:
    return dataset.meaning == "classes" or (dataset.meaning == "binary" and dataset.has_table)


def _mask(dataset: Dataset, i: int) -> bytes:
    if _in_classes(dataset):
        return codecs.encode_labels(dataset.class_map(i))
    if dataset.meaning == "objects":
        return codecs.encode_labels(dataset.objects(i))
    return codecs.encode_mask(dataset.objects(i) > 0)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"' if set(name) & set(',"\n') else name
