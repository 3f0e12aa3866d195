"""A folder of images through a logged model: masks, objects, overlays and tables."""

import functools
import hashlib
import json
import shutil
import socket
from collections import Counter, defaultdict
from collections.abc import Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow.pyfunc
import numpy as np
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import Model
from mlflow.pyfunc import PyFuncModel
from rich.console import Console
from rich.progress import Progress
from scipy import ndimage
from skimage.segmentation import find_boundaries

from unetlab.data import cache
from unetlab.errors import UserError, printable
from unetlab.images import codecs, geometry, rows
from unetlab.inference.objects import instances
from unetlab.service import large, objects, shards
from unetlab.service.shards import Spread, in_turn

OUTLINE = (255, 0, 200)
"""A magenta that is seen on dark fluorescence and on purple stains alike; a black rim sets it off from bright ones."""

COLUMNS = ("file", "page", "height", "width", "mode", "foreground_fraction", "object_count", "error")

FOLDERS = ("masks", "labels", "overlays")

SHARD = 64
"""Files of a folder that are done, or are not, together."""

BATCH = 8
BATCH_PIXELS = 16_000_000
"""A batch ends early once its images have so many pixels together, so that memory stays bounded."""


@dataclass(frozen=True)
class Item:
    """A page on its way: its file, the name its outputs get, its number in a stack, its pixels or what is wrong; or the
    path of an image that is too large to be looked at whole."""

    file: str
    name: str
    page: int | None = None
    image: np.ndarray | None = None
    mode: str = ""
    error: str = ""
    large: Path | None = None


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

    It works in shards of SHARD files. What a killed command has finished of them lies in `out/unfinished`, and the same
    command goes on with the rest.

    Writes below `out` masks/<name>.png (0 and 255, the image's own size), labels/<name>.tif (the objects, as
    `objects.label_tiff` has them), overlays/<name>.png, predictions.csv (a row an image) and objects.csv (a row an
    object, as `objects.objects_table` has them); <name> is the file's without its ending, which stays (a_png, a_tif)
    where two files differ in nothing else; a page of a stack adds its number, counted from 0: cells-000.png,
    cells-001.png. Of a TIFF of more than `rows.LARGE` pixels mask and labels are as `large.segment` writes them.
    Images that cannot be read are listed there and at the end, and do not stop the others.

    Args:
        model: "models:/name@alias", "models:/name/version", "models:/m-...", "runs:/..." or a model's folder.
        images: a folder or a file.
        out: created where needed; must not be the images' folder.
        threshold: in [0, 1]; None for the model's own.
        batch: images the model sees at once, at most.
        channels: which channels make the image where a file has others than grey or colour: "1" or "1,2,3".
        pages: which pages of a stack: "all", "3" or "1-10", counted from 1.
        spread: who does the shards.

    Returns:
        The table, a row a page: file, page (the number in its name, empty for a single image), height, width, mode,
        foreground_fraction, object_count, error.

    Raises:
        UserError: if there are no images, none can be read, the model cannot be found or is none of unetlab's, the
            threshold is out of range, or `out` cannot be written or is where the images lie.
    """
    if threshold is not None and not 0 <= threshold <= 1:
        raise UserError(f"threshold must lie in [0, 1]. Received: {threshold}")
    paths = image_files(images)
    _refuse_overwriting(images, out)
    segmenter = load(model)
    _make_folders(out)
    console, names = Console(stderr=True), _names(paths)
    parts = _unfinished(out, segmenter, paths, (threshold, channels, pages))
    like_pages = _like_pages(names)
    told = (model, out.absolute(), parts.absolute(), threshold, batch, channels, pages)

    def shard(span: range) -> Shard:
        some = tuple(names[span.start : span.stop])
        files = tuple(path.absolute() for path in paths[span.start : span.stop])
        taken = frozenset(other for name in some for other in like_pages.get(name.casefold(), ()))
        return Shard(*told, span.start, files, some, taken)

    todo = [shard(span) for span in shards.to_do(len(paths), SHARD, shards.done(parts))]
    total = len(todo)
    with Progress(console=console, disable=not console.is_terminal) as bars:
        bar = bars.add_task("segmenting", total=total)
        while todo:
            again: list[Shard] = []
            for each, _, lost in spread(segment_shard, todo):
                if not lost:
                    bars.advance(bar)
                elif len(each.files) > 1:
                    span = range(each.first, each.first + len(each.files))
                    again += [shard(half) for half in shards.halves(span)]
                else:
                    _finish(each, [{"file": each.files[0].name, "page": None, "error": lost}])
            todo = again
    found = _gathered(parts, out)
    whole = dict.fromkeys(("page", "height", "width", "object_count"), "Int64")
    table = pd.DataFrame(found, columns=list(COLUMNS)).astype({**whole, "foreground_fraction": "float64"})
    table.to_csv(out / "predictions.csv", index=False)
    _report(table, images, out, console)
    return table


@dataclass(frozen=True)
class Shard:
    """Some files of a folder, and all that says how to segment them, so that another machine can.

    Args:
        model: address of it.
        out: where masks, labels and overlays go.
        parts: where the rows go, as `shards.part` has it.
        threshold, batch, channels, pages: as `predict_folder` takes them.
        first: number of the first file in the folder.
        files: where they lie.
        names: of their outputs.
        taken: names of other outputs that those of their pages might be.
    """

    model: str
    out: Path
    parts: Path
    threshold: float | None
    batch: int
    channels: str
    pages: str
    first: int
    files: tuple[Path, ...]
    names: tuple[str, ...]
    taken: frozenset[str]


def segment_shard(shard: Shard) -> None:
    """Writes what `predict_folder` writes of some files, and their rows into a part of their own.

    Raises UserError where this machine does not see the files.
    """
    if not (shard.out.exists() and shard.files[0].parent.exists()):
        raise UserError(
            f"{socket.gethostname()} does not see {shard.files[0].parent} and {shard.out}: images and out have to lie "
            "on storage that all workers share, under the same path"
        )
    segmenter = loaded(shard.model, mlflow.get_tracking_uri())
    params = {} if shard.threshold is None else {"threshold": shard.threshold}
    plain = not shard.channels and shard.pages == "all" and predictor_of(segmenter) is not None
    items = (
        item
        for path, name in zip(shard.files, shard.names, strict=True)
        for item in (
            [Item(path.name, name, large=path)]
            if plain and rows.by_rows(path)
            else _read(path, name, set(shard.taken), shard.channels, shard.pages)
        )
    )
    with cache.new_folder(shards.part(shard.parts, shard.first, len(shard.files))) as part:
        objects.begin_table(part)
        batches = _batches(items, shard.batch)
        _write_rows(part, [row for some in batches for row in _segment(segmenter, some, shard.out, part, params)])


def _finish(shard: Shard, found: list[dict[str, Any]]) -> None:
    with cache.new_folder(shards.part(shard.parts, shard.first, len(shard.files))) as part:
        objects.begin_table(part)
        _write_rows(part, found)


def _write_rows(part: Path, found: list[dict[str, Any]]) -> None:
    (part / "rows.json").write_text(json.dumps(found, default=lambda number: number.item()))


@functools.lru_cache(maxsize=1)
def loaded(model: str, store: str) -> PyFuncModel:
    """A model, loaded once for all shards that one process does."""
    return load(model)


def _unfinished(out: Path, segmenter: PyFuncModel, paths: Sequence[Path], told: tuple[Any, ...]) -> Path:
    """Where the parts of this work lie: another model, other files or options are other work, whose parts go."""
    known = [(path.name, path.stat().st_size, path.stat().st_mtime_ns) for path in paths]
    metadata = getattr(segmenter, "metadata", None)
    which = getattr(metadata, "model_id", None) or getattr(metadata, "model_uuid", None)
    key = hashlib.sha256(repr((which, told, SHARD, known)).encode()).hexdigest()[:16]
    folder = out / "unfinished"
    for other in folder.glob("*"):
        if other.name != key:
            shutil.rmtree(other, ignore_errors=True)
    (folder / key).mkdir(parents=True, exist_ok=True)
    return folder / key


def _gathered(parts: Path, out: Path) -> list[dict[str, Any]]:
    """The rows of all parts in the order of the files; their objects go to one table, and the parts away."""
    found: list[dict[str, Any]] = []
    objects.begin_table(out)
    with open(out / objects.TABLE, "a") as table:
        for folder in sorted(parts.glob("[0-9]*-[0-9]*")):
            found += json.loads((folder / "rows.json").read_text())
            with open(folder / objects.TABLE) as some:
                next(some)  # the names of the columns
                shutil.copyfileobj(some, table)
    shutil.rmtree(parts.parent, ignore_errors=True)
    return found


def _like_pages(names: Sequence[str]) -> dict[str, list[str]]:
    """To each name the others that one of its pages could be called too: they go on after a hyphen."""
    every = {name.casefold() for name in names}
    found: dict[str, list[str]] = defaultdict(list)
    for name in names:
        for k, letter in enumerate(name):
            if letter == "-" and name[:k].casefold() in every:
                found[name[:k].casefold()].append(name)
    return found


def image_files(images: Path) -> list[Path]:
    """The images of a folder in the order of their names, or the one that a path names. Raises UserError for none."""
    if not images.exists():
        raise UserError(f"no folder or image at {images}; give one that exists")
    if images.is_file() or codecs.is_container(images):
        return [images]
    paths = sorted(
        path
        for path in images.iterdir()
        if path.suffix.lower() in codecs.ENDINGS
        and not path.name.startswith(".")
        and (not path.is_dir() or codecs.is_container(path))
    )
    if not paths:
        raise UserError(f"{images} holds no {codecs.KNOWN} image; give a folder that does")
    return paths


def _refuse_overwriting(images: Path, out: Path) -> None:
    folder = (images.parent if images.is_file() or codecs.is_container(images) else images).resolve()
    for written in (out, *(out / name for name in FOLDERS)):
        if written.resolve() == folder:
            raise UserError(f"out={out} would write where the images lie, in {folder}; give another folder")


def _make_folders(out: Path) -> None:
    try:
        for name in FOLDERS:
            (out / name).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"out={out} cannot be written ({error.strerror}); give a folder that can") from error


def load(model: str) -> PyFuncModel:
    """A model by its address. Raises UserError if it cannot be loaded or unetlab did not make it."""
    advice = "the Models page of `make ui` lists what there is, for example models:/unetlab-nuclei@champion"
    try:
        _refuse_pickles(model)
        segmenter = mlflow.pyfunc.load_model(model)
    except (MlflowException, OSError) as error:
        reason = (str(error) or repr(error)).splitlines()[0][:160]
        raise UserError(f"model={model} cannot be loaded ({reason}); {advice}") from error
    schema = segmenter.metadata.get_input_schema()
    if schema is None or schema.input_names() != ["image"]:
        raise UserError(f"model={model} takes no encoded images, so unetlab did not make it; {advice}")
    return segmenter


def _refuse_pickles(model: str) -> None:
    """Raises UserError for a model that is not code beside a Keras file, as unetlab logs it, before it is loaded: that
    would unpickle it, and a pickle runs what it likes."""
    loader = Model.load(model).flavors.get("python_function", {})
    if loader.get("loader_module") != "mlflow.pyfunc.loaders.code_model" or not loader.get("model_code_path"):
        raise UserError(f"model={model} would be unpickled, so unetlab did not make it; log it from a run of unetlab")


def _names(paths: Sequence[Path]) -> list[str]:
    """A name for each file's outputs, no two alike even where the file system ignores case."""
    stems = Counter(path.stem.casefold() for path in paths)
    taken: set[str] = set()
    names = []
    for path in paths:
        first = path.stem if stems[path.stem.casefold()] == 1 else path.name.replace(".", "_")
        name, number = first, 1
        while name.casefold() in taken:
            number += 1
            name = f"{first}_{number}"
        taken.add(name.casefold())
        names.append(name)
    return names


def _read(path: Path, name: str, taken: set[str], channels: str, pages: str) -> Iterator[Item]:
    """The pages of a file, one read at a time, or the one reason why there are none."""
    try:
        opened = codecs.open_pages(path, channels, pages)
    except codecs.PixelError as error:
        yield Item(path.name, name, error=str(error))
        return
    with opened:
        stack = opened.numbers != range(1)
        for i, number in enumerate(opened.numbers):
            page, paged = (number, _paged(name, number, taken)) if stack else (None, name)
            try:
                yield Item(path.name, paged, page, codecs.image_of(opened, i), opened.mode)
            except codecs.PixelError as error:
                yield Item(path.name, paged, page, error=str(error))


def _paged(name: str, number: int, taken: set[str]) -> str:
    """The name of a page's outputs, which no other file's has even where the file system ignores case."""
    paged, folded = f"{name}-{number:03d}", {one.casefold() for one in taken}
    while paged.casefold() in folded:
        paged += "_page"
    return paged


def _batches(items: Any, size: int) -> Iterator[list[Item]]:
    """Lists of at most `size` items and, past the first, of at most BATCH_PIXELS pixels."""
    waiting: list[Item] = []
    held = 0
    for item in items:
        count = 0 if item.image is None else item.image.shape[0] * item.image.shape[1]
        if waiting and (len(waiting) == size or held + count > BATCH_PIXELS):
            yield waiting
            waiting, held = [], 0
        waiting.append(item)
        held += count
    if waiting:
        yield waiting


def _segment(
    segmenter: PyFuncModel, items: Sequence[Item], out: Path, part: Path, params: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Writes what there is of the items that are images, objects into `part`; returns a row of the table each."""
    readable = [item for item in items if item.image is not None]
    frame = pd.DataFrame({"image": [codecs.encode_image(item.image) for item in readable if item.image is not None]})
    answered = pd.DataFrame(segmenter.predict(frame, params=dict(params)) if readable else None)
    answers = iter(answered.to_dict("records"))
    lines = []
    for item in items:
        if item.large is not None:
            lines.append(_segment_large(segmenter, item, out, part, params))
            continue
        if item.image is None:
            lines.append({"file": item.file, "page": item.page, "error": item.error})
            continue
        answer = next(answers)
        (out / "masks" / f"{item.name}.png").write_bytes(answer["mask"])
        labels = labels_of(answer)
        objects.label_tiff(out / "labels" / f"{item.name}.tif", labels)
        objects.add_to_table(part, item.name, labels, item.image)
        drawn = codecs.encode_image(overlay(item.image, labels))
        (out / "overlays" / f"{item.name}.png").write_bytes(drawn)
        found = {key: answer[key] for key in ("foreground_fraction", "object_count")}
        height, width = item.image.shape[:2]
        size = {"height": height, "width": width, "mode": item.mode}
        lines.append({"file": item.file, "page": item.page, **size, **found, "error": ""})
    return lines


def _segment_large(
    segmenter: PyFuncModel, item: Item, out: Path, part: Path, params: Mapping[str, float]
) -> dict[str, Any]:
    """The same for one that is too large to be looked at whole; says what is missing of it."""
    assert item.large is not None
    try:
        found = large.segment(predictor_of(segmenter), item.large, out, part, item.name, params.get("threshold"))
    except codecs.PixelError as error:
        return {"file": item.file, "page": item.page, "error": str(error)}
    cut = f"; {found['cut']} objects were too tall and are cut" if found["cut"] else ""
    size = f"{found['width']} x {found['height']} pixels"
    Console(stderr=True).print(
        f"{printable(item.file)}: {size}, so its mask is a TIFF and there is no overlay{cut}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    return {"file": item.file, "page": item.page, **found, "error": ""}


def predictor_of(segmenter: PyFuncModel) -> Any:
    """What a model predicts large images with; None of one that an older version logged."""
    try:
        predictor = segmenter.unwrap_python_model().predictor
    except (AttributeError, MlflowException):
        return None
    return predictor if hasattr(predictor, "native_bands") else None


def labels_of(answer: Mapping[Hashable, Any]) -> np.ndarray:
    """The objects of a served answer, int32 (h, w); of a model that tells none apart the components of its mask."""
    if "labels" in answer:
        return codecs.decode_labels(answer["labels"])
    return instances(codecs.decode_mask(answer["mask"]), None, "components", 0.5)


def _report(table: pd.DataFrame, images: Path, out: Path, console: Console) -> None:
    failed = table[table["error"] != ""]
    if len(table) == len(failed) == 1:
        raise UserError(f"{images}: {failed['error'].iloc[0]}")
    for row in failed.to_dict("records"):
        where = row["file"] if pd.isna(row["page"]) else f"{row['file']} page {row['page'] + 1}"
        said = printable(f"not segmented: {where}: {row['error']}")
        console.print(said, highlight=False, soft_wrap=True, markup=False)
    if len(failed) == len(table):
        raise UserError(f"none of the {len(table)} images in {images} can be read; {out / 'predictions.csv'} says why")
    done = f"{len(table) - len(failed)} of {len(table)} images segmented: {out}"
    console.print(done, highlight=False, soft_wrap=True, markup=False)


def overlay(image: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Outlines of objects, a label image or a bool mask (h, w), over an image uint8 (h, w, 1 or 3): uint8 (h, w, 3),
    dim images brightened."""
    bright = geometry.normalise(image[None], "percentile")[0] * 255
    drawn = geometry.fit_channels(bright.astype(np.uint8), 3).copy()
    line = find_boundaries(labels, mode="inner")
    drawn[ndimage.binary_dilation(line) & (labels == 0)] = 0
    drawn[line] = OUTLINE
    return drawn
