"""A folder of images through a logged model: masks, objects, classes, overlays and tables.

Below `out` are written masks/<name>.png (0 and 255, the image's own size), labels/<name>.tif (the objects, as
`objects.label_tiff` has them), overlays/<name>.png, predictions.csv (a row an image) and objects.csv (a row an object,
as `objects.objects_table` has them); <name> is the file's without its ending, which stays (a_png, a_tif) where two
files differ in nothing else; a page of a stack adds its number, counted from 0: cells-000.png, cells-001.png. Of a TIFF
of more than `rows.LARGE` pixels mask and labels are as `large.segment` writes them.

A model of classes adds classes/<name>.png (indices of classes, with a palette), their legend as classes/classes.csv
(value, name and colour; with it the folder can be read as masks) and legend.png, and class_counts.csv (a row an image
and class, as `objects.counts_table` has them); its objects.csv says each object's class.
"""

import contextlib
import dataclasses
import functools
import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from mlflow.pyfunc import PyFuncModel
from rich.console import Console
from rich.progress import Progress

from unetlab.data import cache
from unetlab.errors import UserError, printable, refuse_no_text, unwritable, writing
from unetlab.images import codecs
from unetlab.service import objects, overlays, shards
from unetlab.service.loading import class_names, identity_of, in_words, load, other_channels, pinned
from unetlab.service.pages import images_of, like_pages, names_of, passed_over
from unetlab.service.segmenting import Shard, finish, segment_shard
from unetlab.service.shards import Spread, in_turn

COLUMNS = ("file", "page", "height", "width", "mode", "foreground_fraction", "object_count", "error")

FOLDERS = ("masks", "labels", "overlays")

CLASSES = "classes"
"""The folder that a model of classes fills besides."""

PREDICTIONS = "predictions.csv"

UNFINISHED = ".unetlab-unfinished"
"""Below `out`, what a killed command has finished."""

SHARD = 64
"""Files of a folder that are done, or are not, together."""

BATCH = 8


def predict_folder(
    model: str,
    images: Path,
    out: Path,
    threshold: float | None = None,
    batch: int = BATCH,
    channels: str = "",
    pages: str = "all",
    spread: Spread = in_turn,
) -> pd.DataFrame:
    """Segments every image of a folder, or one image; of a stack every page, one after the other.

    It works in shards of SHARD files. What a killed command has finished of them lies in `out/.unetlab-unfinished`, and
    the same command goes on with the rest. Images that cannot be read are listed in the table and at the end, and do
    not stop the others.

    Args:
        model: "models:/name@alias", "models:/name/version", "models:/m-...", "runs:/..." or a model's folder.
        images: a folder or a file.
        out: created where needed; must not be the images' folder, nor hold masks and the like that are not predict's.
        threshold: in [0, 1]; None for the model's own. None applies to a model of classes.
        batch: images the model sees at once, at most.
        channels: which channels make the image where a file has others than grey or colour: "1" or "1,2,3".
        pages: which pages of a stack: "all", "3" or "1-10", counted from 1.
        spread: who does the shards.

    Returns:
        The table, a row a page: file, page (the number in its name, empty for a single image), height, width, mode,
        foreground_fraction, object_count, error.

    Raises:
        UserError: if there are no images, none can be read, the model cannot be found or is none of unetlab's, the
            threshold is out of range or given to a model of classes, or `out` cannot be written, is where the images
            lie, is written into by another process, or holds in a folder of its outputs what predict has not written.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"threshold must lie in [0, 1]. Received: {threshold}")
    refuse_no_text(out)
    paths, model = images_of(images), pinned(model)
    passed = passed_over(images)
    segmenter = load(model)
    classes = class_names(segmenter.metadata)
    if classes and threshold is not None:
        likeliest = f"{model} {in_words(classes)} and answers the likeliest"
        raise UserError(f"threshold={threshold:g}: {likeliest}, to which no threshold applies; leave it out")
    console = Console(stderr=True)
    with shards.alone(_lock_of(out), f"a prediction into {out}"):
        _make_folders(images, out, classes)
        parts = _unfinished(out, segmenter, paths, (threshold, channels, pages))
        whole = Shard(
            *(model, identity_of(segmenter), out.absolute(), parts.absolute(), threshold, batch, channels, pages),
            first=0,
            files=tuple(path.absolute() for path in paths),
            names=tuple(names_of(paths)),
            taken=frozenset(),
            classes=classes,
        )
        _segment_all(whole, spread, console)
        with writing(out):
            table, names = _gathered(parts, out, classes)
    _report(table, images, out, classes, console)
    said = other_channels(segmenter.metadata, channels)
    for line in (*said, *_left(out, names, classes), *passed):
        console.print(printable(line), highlight=False, soft_wrap=True, markup=False)
    return table


def _segment_all(whole: Shard, spread: Spread, console: Console) -> None:
    """Does what is not done of the shard that has all files, in shards of SHARD of them.

    One whose process is lost is done again in halves, until the one file that is the cause has an error for its row.
    """
    part = functools.partial(_part, whole, like_pages(whole.names))
    todo = [part(span) for span in shards.to_do(len(whole.files), SHARD, shards.done(whole.parts))]
    with Progress(console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task("segmenting", total=len(todo))
        while todo:
            again: list[Shard] = []
            for each, _, lost in spread(segment_shard, todo):
                if not lost:
                    bars.advance(bar)
                elif len(each.files) > 1:
                    span = range(each.first, each.first + len(each.files))
                    again += [part(half) for half in shards.halves(span)]
                else:
                    finish(each, [{"file": each.files[0].name, "page": None, "error": lost}])
            todo = again


def _part(whole: Shard, like: Mapping[str, Sequence[str]], span: range) -> Shard:
    """The files of a span; `like` as `like_pages` has it."""
    some = whole.names[span.start : span.stop]
    return dataclasses.replace(
        whole,
        first=span.start,
        files=whole.files[span.start : span.stop],
        names=some,
        taken=frozenset(other for name in some for other in like.get(name.casefold(), ())),
    )


def _lock_of(out: Path) -> Path:
    """What a process holds that writes into `out`; in the cache, since locks need not work where images lie."""
    return cache.root() / "predicted" / f"{hashlib.sha256(str(out.resolve()).encode()).hexdigest()[:24]}.lock"


def _unfinished(out: Path, segmenter: PyFuncModel, paths: Sequence[Path], told: tuple[Any, ...]) -> Path:
    """Where the parts of this work lie: another model, other files or options are other work, whose parts go, as do
    those whose outputs are no longer there."""
    known = [(str(path.absolute()), *_state(path)) for path in paths]
    key = hashlib.sha256(repr((identity_of(segmenter), told, SHARD, known)).encode()).hexdigest()[:16]
    folder = out / UNFINISHED
    for other in folder.glob(16 * "[0-9a-f]" + "*"):
        if other.name != key:
            shutil.rmtree(other, ignore_errors=True)
    for part in (folder / key).glob("[0-9]*-[0-9]*"):
        if not _is_there(part, out):
            shutil.rmtree(part, ignore_errors=True)
    try:
        (folder / key).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(out, error) from error
    return folder / key


def _is_there(part: Path, out: Path) -> bool:
    """Whether what a part says to have written is in `out`."""
    try:
        names = [row["name"] for row in json.loads((part / "rows.json").read_text()) if not row["error"]]
    except (OSError, ValueError, KeyError):
        return False
    return all(
        any((out / folder / f"{name}{ending}").exists() for ending in (".png", ".tif"))
        for name in names
        for folder in ("masks", "labels")
    )


def _state(path: Path) -> tuple[int, int]:
    """Size and time of change of a file, zeros of a link that leads nowhere."""
    try:
        found = path.stat()
    except OSError:
        return 0, 0
    return found.st_size, found.st_mtime_ns


def _gathered(parts: Path, out: Path, classes: Sequence[str]) -> tuple[pd.DataFrame, set[str]]:
    """Makes the tables of all parts one each, in the order of the files, beside those of an earlier prediction until
    they are whole; the parts go. Returns the table of the images, and the names of what was written of them."""
    found: list[dict[str, Any]] = []
    folders = sorted(parts.glob("[0-9]*-[0-9]*"))
    for folder in folders:
        found += json.loads((folder / "rows.json").read_text())
    tables = objects.begin_tables(parts, classes)
    for name in tables:
        with open(parts / name, "a") as table:
            for folder in folders:
                with open(folder / name) as some:
                    next(some)  # the names of the columns
                    shutil.copyfileobj(some, table)
    kinds = dict.fromkeys(("page", "height", "width", "object_count"), "Int64")
    rows = pd.DataFrame(found, columns=list(COLUMNS)).astype({**kinds, "foreground_fraction": "float64"})
    rows.to_csv(parts / PREDICTIONS, index=False)
    for name in (*tables, PREDICTIONS):
        os.replace(parts / name, out / name)
    if objects.COUNTS not in tables:
        (out / objects.COUNTS).unlink(missing_ok=True)
    shards.discard(parts)
    with contextlib.suppress(OSError):  # a person has put something there
        parts.parent.rmdir()
    return rows, {row["name"] for row in found if not row["error"]}


def _make_folders(images: Path, out: Path, classes: Sequence[str]) -> None:
    """Makes the folders of what is written, and the legend of classes. Raises UserError where that cannot be, would be
    where the images lie, or over files of somebody else."""
    folder = (images.parent if images.is_file() or codecs.is_container(images) else images).resolve()
    below = [out / name for name in (*FOLDERS, *((CLASSES,) if classes else ()))]
    for written in (out, *below):
        if written.resolve() == folder:
            raise UserError(f"out={out} would write where the images lie, in {folder}; give another folder")
    try:
        _refuse_others(out, [out / name for name in (*FOLDERS, CLASSES)])
        for each in (out / UNFINISHED, *below):  # that one first: by it the others are known as predict's own
            each.mkdir(parents=True, exist_ok=True)
        if classes:
            overlays.write_legend(out, out / CLASSES, classes)
    except OSError as error:
        raise unwritable(out, error) from error


def _refuse_others(out: Path, below: Sequence[Path]) -> None:
    """Raises UserError where predict would write over or among files that it has not written, such as a data set's
    masks. What a predict has written is known by its table, or by what it left unfinished."""
    table = out / PREDICTIONS
    if (out / UNFINISHED).exists() or (table.is_file() and _first_line(table) == ",".join(COLUMNS)):
        return
    for own in (table, out / objects.TABLE, out / objects.COUNTS, out / overlays.LEGEND):
        if own.exists():
            raise UserError(f"{own} is there, which predict has not written; give another out")
    for folder in below:
        if folder.is_dir() and any(not each.name.startswith(".") for each in folder.iterdir()):
            raise UserError(f"{folder} holds files that predict has not written; give another out")


def _left(out: Path, names: set[str], classes: Sequence[str]) -> list[str]:
    """What is said where `out` has masks of an earlier prediction besides those of these `names`, or classes."""
    said = []
    others = {each.stem for each in (out / "masks").iterdir() if not each.name.startswith(".")} - names
    if others:
        held = f"{out / 'masks'} holds {len(others)} other mask{'s' * (len(others) != 1)} of an earlier prediction"
        said.append(f"{held}: they stay, with their labels, and are in none of the tables")
    if not classes and (out / CLASSES).is_dir():
        said.append(f"{out / CLASSES} is of an earlier prediction, by a model of classes, and not of this one")
    return said


def _first_line(path: Path) -> str:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline(1000).rstrip()


def _report(table: pd.DataFrame, images: Path, out: Path, classes: Sequence[str], console: Console) -> None:
    failed = table[table["error"] != ""]
    if len(table) == len(failed) == 1:
        raise UserError(f"{images}: {failed['error'].iloc[0]}")
    for row in failed.to_dict("records"):
        where = row["file"] if pd.isna(row["page"]) else f"{row['file']} page {row['page'] + 1}"
        said = printable(f"not segmented: {where}: {row['error']}")
        console.print(said, highlight=False, soft_wrap=True, markup=False)
    if len(failed) == len(table):
        raise UserError(f"none of the {len(table)} images in {images} can be read; {out / PREDICTIONS} says why")
    done = f"{len(table) - len(failed)} of {len(table)} images segmented: {out}"
    console.print(done, highlight=False, soft_wrap=True, markup=False)
    if classes:
        _report_classes(table, out, classes, console)


def _report_classes(table: pd.DataFrame, out: Path, classes: Sequence[str], console: Console) -> None:
    """Says what there is of each class in all images together."""
    counts = pd.read_csv(out / objects.COUNTS, dtype={"class": str}, keep_default_na=False)
    total = counts.groupby("class")[["objects", "area"]].sum().reindex(list(classes), fill_value=0)
    pixels = int((table["height"] * table["width"]).sum())
    told = [
        f"{printable(name)} {row.objects:,} object{'s' * (row.objects != 1)}, {row.area / pixels:.2%} of the pixels"
        for name, row in zip(classes, total.itertuples(), strict=True)
    ]
    console.print("; ".join(told), highlight=False, soft_wrap=True, markup=False)
