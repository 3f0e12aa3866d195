"""Some files of a folder through a logged model, in whatever process: masks, objects, overlays and rows of tables."""

import json
import socket
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
from mlflow.pyfunc import PyFuncModel
from rich.console import Console

from unetlab.data import cache
from unetlab.errors import UserError, printable, writing
from unetlab.images import codecs, rows
from unetlab.service import large, objects, pages, shards
from unetlab.service.loading import answered, labels_of, loaded, predictor_of
from unetlab.service.overlays import overlay


@dataclass(frozen=True)
class Shard:
    """Some files of a folder, and all that says how to segment them, so that another machine can.

    Args:
        model: address of it.
        identity: of what lay there when the work began, as `loading.identity_of` has it.
        out: where masks, labels and overlays go.
        parts: where the rows go, as `shards.part` has it.
        threshold, batch, channels, pages: as `predict_folder` takes them.
        first: number of the first file in the folder.
        files: where they lie.
        names: of their outputs.
        taken: names of other outputs that those of their pages might be.
        classes: names of the classes that the model tells apart, without background; none where it finds one mask.
    """

    model: str
    identity: str
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
    classes: tuple[str, ...] = ()


def segment_shard(shard: Shard) -> None:
    """Writes what `predict_folder` writes of some files, and their rows into a part of their own.

    Raises UserError where this machine does not see the files.
    """
    if not (shard.out.exists() and shard.files[0].parent.exists()):
        raise UserError(
            f"{socket.gethostname()} does not see {shard.files[0].parent} and {shard.out}: images and out have to lie "
            "on storage that all workers share, under the same path"
        )
    segmenter = loaded(shard.model, mlflow.get_tracking_uri(), shard.identity)
    params = {} if shard.threshold is None else {"threshold": shard.threshold}
    by_rows = predictor_of(segmenter) is not None
    items = (
        item
        for path, name in zip(shard.files, shard.names, strict=True)
        for item in (
            [pages.Item(path.name, name, large=path)]
            if by_rows and rows.by_rows(path)
            else pages.read(path, name, set(shard.taken), shard.channels, shard.pages)
        )
    )
    with cache.new_folder(shards.part(shard.parts, shard.first, len(shard.files))) as part:
        objects.begin_tables(part, shard.classes)
        batches = pages.batches(items, shard.batch, lambda item: item.pixels)
        _write_rows(part, [row for some in batches for row in _segment(segmenter, some, shard, part, params)])


def finish(shard: Shard, found: list[dict[str, Any]]) -> None:
    """Writes rows for a shard that nothing was segmented of."""
    with cache.new_folder(shards.part(shard.parts, shard.first, len(shard.files))) as part:
        objects.begin_tables(part, shard.classes)
        _write_rows(part, found)


def _write_rows(part: Path, found: list[dict[str, Any]]) -> None:
    (part / "rows.json").write_text(json.dumps(found, default=lambda number: number.item()))


def _segment(
    segmenter: PyFuncModel, items: Sequence[pages.Item], shard: Shard, part: Path, params: Mapping[str, float]
) -> list[dict[str, Any]]:
    """Writes what there is of the items that are images, objects into `part`; returns a row of the table each."""
    answers = iter(answered(segmenter, (item.image for item in items if item.image is not None), params))
    lines = []
    for item in items:
        if item.large is not None:
            lines.append(_segment_large(segmenter, item, shard, part, params))
        elif item.image is None:
            lines.append({"file": item.file, "page": item.page, "error": item.error})
        else:
            with writing(shard.out):
                lines.append(_write(item, item.image, next(answers), shard, part))
    return lines


def _write(
    item: pages.Item, image: np.ndarray, answer: Mapping[Hashable, Any], shard: Shard, part: Path
) -> dict[str, Any]:
    """Writes what was answered of an image; returns its row."""
    out, labels, kinds = shard.out, labels_of(answer), None
    measured = image if item.values is None else item.values
    (out / "masks" / f"{item.name}.png").write_bytes(answer["mask"])
    objects.label_tiff(out / "labels" / f"{item.name}.tif", labels)
    if shard.classes:
        (out / "classes" / f"{item.name}.png").write_bytes(answer["classes"])
        kinds = np.asarray(answer["object_classes"])
        area = np.bincount(codecs.decode_labels(answer["classes"]).ravel(), minlength=1 + len(shard.classes))
        objects.append_table(part, item.name, objects.counts_table(shard.classes, kinds, area), objects.COUNTS)
    objects.append_table(part, item.name, objects.objects_table(labels, measured, kinds, shard.classes))
    drawn = codecs.encode_image(overlay(image, labels, kinds, len(shard.classes)))
    (out / "overlays" / f"{item.name}.png").write_bytes(drawn)
    found = {key: answer[key] for key in ("foreground_fraction", "object_count")}
    size = {"height": image.shape[0], "width": image.shape[1], "mode": item.mode}
    return {"file": item.file, "page": item.page, "name": item.name, **size, **found, "error": ""}


def _segment_large(
    segmenter: PyFuncModel, item: pages.Item, shard: Shard, part: Path, params: Mapping[str, float]
) -> dict[str, Any]:
    """The same for one that is too large to be looked at whole; says what is missing of it."""
    assert item.large is not None
    try:
        cut, asked = params.get("threshold"), (shard.channels, shard.pages)
        found = large.segment(predictor_of(segmenter), item.large, shard.out, part, item.name, cut, *asked)
    except codecs.PixelError as error:
        return {"file": item.file, "page": item.page, "error": str(error)}
    tall = f"; objects too tall to wait for were cut {found['cut']} times" if found["cut"] else ""
    size = f"{found['width']} x {found['height']} pixels"
    Console(stderr=True).print(
        f"{printable(item.file)}: {size}, so its mask is a TIFF and there is no overlay{tall}",
        highlight=False,
        soft_wrap=True,
        markup=False,
    )
    return {"file": item.file, "page": item.page, "name": item.name, **found, "error": ""}
