"""A model scored on labelled images through its own served code, as a run of role evaluation."""

import contextlib
import functools
import hashlib
import math
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.pyfunc import PyFuncModel
from rich.console import Console
from rich.progress import track

from unetlab.data import Dataset, cache
from unetlab.data.dataset import stored
from unetlab.errors import UserError
from unetlab.images import codecs
from unetlab.images.otsu import otsu_mask
from unetlab.metrics import membranes, pixelwise, significance
from unetlab.metrics.baselines import Rivals, constant_mask, dice_of
from unetlab.metrics.table import score_native
from unetlab.service import shards
from unetlab.service.gate import ranking_metric
from unetlab.service.predict import labels_of, loaded
from unetlab.service.seen import SIDES, Origin
from unetlab.service.shards import Spread, in_turn
from unetlab.tracking import figures, thumbnails, write
from unetlab.tracking.objects import object_panel

BATCH = 8

SHARD = 64
"""Images that are scored, or are not, together."""

PICTURES = ("images", "truths", "drawn")
"""What thumbnails are made of."""

SHOWN = 512
"""Pixels a side of the pictures at most."""

RIVALS = ("otsu", "constant")

MEANS = (
    *("dice", "iou", "native_dice", "native_iou", "ap50", "ap_dsb", "pq", "f1_50", "f1_70", "count_error"),
    *membranes.SCORES,
)
"""Columns whose mean over images is logged; ratios of pixels are taken over all of them."""


@dataclass(frozen=True)
class Sheet:
    """Scores of some images.

    Args:
        table: a row an image, every column at the image's own size, the only one that a served model shows: id, tp, fp,
            fn, tn, dice, iou, accuracy, precision, recall, those of `metrics.table.score_native`, otsu_native_dice,
            constant_native_dice, and for membranes those of `metrics.membranes.SCORES`, the rivals' too.
        album: thumbnails of image, truth and mask.
    """

    table: pd.DataFrame
    album: bytes


@dataclass(frozen=True)
class Shard:
    """Some images of a data set, and all that says how to score a model on them, so that another machine can.

    Args:
        model: address of it.
        folder: of the data set, below the cache.
        rows: the images.
        shown: those of them that get thumbnails.
        rivals: that it meets.
        lines: whether membranes are scored.
        cut: the threshold of V_rand, chosen on validation; -1 is the model's own.
        first: how many images come before.
    """

    model: str
    folder: Path
    rows: tuple[int, ...]
    shown: tuple[int, ...]
    rivals: Rivals
    lines: bool
    cut: float
    first: int


def score(
    segmenter: PyFuncModel,
    origin: Origin,
    dataset: Dataset,
    rows: Sequence[int] | np.ndarray,
    model: str = "",
    spread: Spread = in_turn,
) -> Sheet:
    """Scores a loaded model and its rivals on the images `rows` of a data set with masks, in shards of SHARD images.

    With `model`, the address of the model, shards may be scored elsewhere, by `spread`, and what a killed command has
    scored is kept in the cache and not scored again.
    """
    rows = [int(row) for row in rows]
    rivals = origin.rivals(dataset, rows)
    lines = ranking_metric(origin.tags) == membranes.SCORES[0]
    cut = float(origin.tags.get("best_threshold", -1.0))
    shown = frozenset(rows[:: -(-len(rows) // thumbnails.MOST)])

    def shard(span: range) -> Shard:
        own = tuple(rows[span.start : span.stop])
        few = tuple(row for row in own if row in shown)
        return Shard(model, dataset.folder, own, few, rivals, lines, cut, span.start)

    said = repr((origin.model_id or segmenter.metadata.model_uuid, dataset.digest, rows, rivals, lines, cut, SHARD))
    with contextlib.ExitStack() as stack:
        if model:
            parts = cache.root() / "scored" / hashlib.sha256(said.encode()).hexdigest()[:24]
            parts.mkdir(parents=True, exist_ok=True)
        else:
            parts = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unetlab-")))
        todo = [shard(span) for span in shards.to_do(len(rows), SHARD, shards.done(parts))]
        function = score_shard if model else functools.partial(_scored, segmenter, dataset)
        console = Console(stderr=True)
        scored = spread(function, todo)
        doing, hidden = f"scoring on {dataset.name}", not console.is_terminal
        for each, answer, lost in track(scored, doing, len(todo), console=console, disable=hidden):
            if lost:
                raise UserError(f"scoring {dataset.ids[each.rows[0]]} and {len(each.rows) - 1} images after it: {lost}")
            with cache.new_folder(shards.part(parts, each.first, len(each.rows))) as part:
                np.savez(part / "scored.npz", **answer)
        sheet = _gathered(parts, dataset, rows)
        if model:
            shutil.rmtree(parts)
    return sheet


def score_shard(shard: Shard) -> dict[str, np.ndarray]:
    """What `score` learns of some images: each column of their table, and images, truths and masks of thumbnails."""
    segmenter, dataset = loaded(shard.model, mlflow.get_tracking_uri()), _stored(shard.folder)
    return _scored(segmenter, dataset, shard)


@functools.lru_cache(maxsize=1)
def _stored(folder: Path) -> Dataset:
    """A data set, opened once for all shards that one process scores."""
    return stored(folder)


def _scored(segmenter: PyFuncModel, dataset: Dataset, shard: Shard) -> dict[str, np.ndarray]:
    tables, small = [], []
    for start in range(0, len(shard.rows), BATCH):
        part = shard.rows[start : start + BATCH]
        masks, objects = zip(*_answers(segmenter, dataset, part), strict=True)
        found = _table(dataset, part, masks, objects, shard.rivals)
        if shard.lines:
            at = {"threshold": shard.cut}
            cells = masks if shard.cut < 0 else [mask for mask, _ in _answers(segmenter, dataset, part, at)]
            for prefix, made in {"": cells, **_rival_masks(dataset, part, shard.rivals)}.items():
                sections = membranes.score_sections(made, (dataset.objects(i) for i in part))
                found = found.join(sections.add_prefix(prefix))
        tables.append(found)
        small += [
            thumbnails.squared(dataset.image(i), dataset.objects(i) > 0, mask)
            for i, mask in zip(part, masks, strict=True)
            if i in shard.shown
        ]
    table = pd.concat(tables, ignore_index=True).drop(columns="id")
    columns = {f"column {name}": table[name].to_numpy() for name in table}
    if not small:
        return columns
    pictures = (np.stack(stack) for stack in zip(*small, strict=True))
    return columns | dict(zip(PICTURES, pictures, strict=True))


def _gathered(parts: Path, dataset: Dataset, rows: Sequence[int]) -> Sheet:
    tables, pictures, shown = [], [], []
    for folder in sorted(parts.glob("[0-9]*-[0-9]*")):
        with np.load(folder / "scored.npz", allow_pickle=False) as stored:
            names = [name for name in stored.files if name.startswith("column ")]
            tables.append(pd.DataFrame({name.removeprefix("column "): stored[name] for name in names}))
            if PICTURES[0] in stored.files:
                pictures.append([stored[name] for name in PICTURES])
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "id", [dataset.ids[i] for i in rows])
    shown = [dataset.ids[i] for i in rows[:: -(-len(rows) // thumbnails.MOST)]]
    images, truths, drawn = (np.concatenate(stack) for stack in zip(*pictures, strict=True))
    return Sheet(table, thumbnails.pack(shown, images, truths, drawn))


def summarise(table: pd.DataFrame, scenes: np.ndarray | None) -> dict[str, float]:
    """What a table says, by the names every run uses: test/, baseline/ and gain/, with 95 % intervals over scenes.

    Ratios of pixels (accuracy, precision, recall, f1) are over all pixels of all images, the others means over images.
    """
    found = {f"test/{name}": float(table[name].mean()) for name in MEANS if name in table}
    pooled = pixelwise.ratios(table[["tp", "fp", "fn", "tn"]].sum().to_frame().T)
    found |= {f"test/{name}": float(pooled[name][0]) for name in ("accuracy", "precision", "recall")}
    found["test/f1"] = float(pooled["dice"][0])
    found["test/images"] = float(len(table))
    found["test/scenes"] = float(significance.count_scenes(scenes, len(table)))
    ranked = [name for name in ("native_dice", membranes.SCORES[0]) if name in table]
    columns = {f"test/{name}": table[name] for name in ranked}
    for name in RIVALS:
        found |= {f"baseline/{column}": float(table[column].mean()) for column in table if column.startswith(name)}
        columns[f"gain/over_{name}"] = table["native_dice"] - table[f"{name}_native_dice"]
        found[f"gain/over_{name}"] = float(columns[f"gain/over_{name}"].mean())
    if found["test/scenes"] > 1:
        values = np.stack([column.to_numpy(np.float64) for column in columns.values()])
        low, high = significance.bootstrap_interval(values, scenes)
        found |= {f"{key}_low": float(end) for key, end in zip(columns, low, strict=True)}
        found |= {f"{key}_high": float(end) for key, end in zip(columns, high, strict=True)}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def digest_of(ids: Sequence[str]) -> str:
    """Digest of a split whose images are all on the test side, 16 hex digits."""
    return hashlib.sha256(f"||{','.join(sorted(ids))}".encode()).hexdigest()[:16]


def log(
    name: str,
    segmenter: PyFuncModel,
    origin: Origin,
    dataset: Dataset,
    rows: Sequence[int] | np.ndarray,
    scenes: np.ndarray,
    *,
    split_digest: str,
    tags: Mapping[str, str],
    params: Mapping[str, Any],
    below: str | None = None,
    model: str = "",
    spread: Spread = in_turn,
) -> tuple[str, dict[str, float], pd.DataFrame]:
    """Scores a model as `score` does and logs all of it as a run of role evaluation.

    Args:
        name: of the run.
        segmenter: the loaded model.
        origin: of it.
        dataset: with masks.
        rows: the images that are scored.
        scenes: int (len(rows),), the scene of each.
        split_digest: of these images; runs of the same data and images are compared.
        tags, params: besides those that every evaluation has.
        below: id of the run that it is a child of; None for the active run, or none.
        model, spread: as `score` takes them.

    Returns the run's id, its metrics and its score table.
    """
    own = {
        "role": "evaluation",
        "setup": origin.setup,
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "split_digest": split_digest,
        "evaluated_run": origin.run_id or "unknown",
        **origin.rivals(dataset, rows).tags(),
    }
    if origin.model_id:
        own["final_model"] = origin.model_id
    if below is not None:  # a tag, since that run may be finished and is not to be opened again
        own["mlflow.parentRunId"] = below
    with write.run(name, tags={**own, **tags}, params=params) as active:
        given = write.split_input(dataset.name, dataset.digest, "test", len(rows), split_digest)
        mlflow.log_inputs([given], ["testing"], [None])
        write.log_table(_sides(dataset, rows, scenes), SIDES)
        sheet = score(segmenter, origin, dataset, rows, model, spread)
        found = summarise(sheet.table, scenes)
        mlflow.log_metrics(found, model_id=origin.model_id, dataset=given)
        write.log_table(sheet.table, "scores/test.csv")
        write.log_bytes(sheet.album, thumbnails.PATH)
        _log_pictures(segmenter, dataset, rows, sheet.table)
        return str(active.info.run_id), found, sheet.table


def _sides(dataset: Dataset, rows: Sequence[int] | np.ndarray, scenes: np.ndarray) -> pd.DataFrame:
    columns = {"id": [dataset.ids[i] for i in rows], "side": "test", "group": scenes}
    return pd.DataFrame({**columns, "sha": [dataset.sha[i] for i in rows]})


def _answers(
    segmenter: PyFuncModel, dataset: Dataset, rows: Sequence[int], params: Mapping[str, float] | None = None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """What the served model answers, masks bool (h, w) and objects int (h, w); nothing is found where labels are
    unknown."""
    frame = pd.DataFrame({"image": [codecs.encode_image(dataset.image(i)) for i in rows]})
    answers = pd.DataFrame(segmenter.predict(frame, params=dict(params or {}))).to_dict("records")
    for answer, i in zip(answers, rows, strict=True):
        known = dataset.known(i)
        yield codecs.decode_mask(answer["mask"]) & known, labels_of(answer) * known


def _table(
    dataset: Dataset,
    rows: Sequence[int],
    masks: Sequence[np.ndarray],
    objects: Sequence[np.ndarray],
    rivals: Rivals,
) -> pd.DataFrame:
    truths = [dataset.objects(i) > 0 for i in rows]
    each = [pixelwise.count(mask[None], truth[None]) for mask, truth in zip(masks, truths, strict=True)]
    counts = pd.DataFrame({name: [int(found[name][0]) for found in each] for name in ("tp", "fp", "fn", "tn")})
    found = pd.DataFrame({"id": [dataset.ids[i] for i in rows]}).join(counts).assign(**pixelwise.ratios(counts))
    native = score_native(
        lambda k, height, width: masks[k], lambda k: dataset.objects(rows[k]), len(rows), lambda k, mask: objects[k]
    )
    return found.join(native).assign(
        **{
            f"{prefix}native_dice": [dice_of(each, truth) for each, truth in zip(made, truths, strict=True)]
            for prefix, made in _rival_masks(dataset, rows, rivals).items()
        }
    )


def _rival_masks(dataset: Dataset, rows: Sequence[int], rivals: Rivals) -> dict[str, list[np.ndarray]]:
    """What each rival answers, bool (h, w) each, by the prefix of its columns."""
    known = [dataset.known(i) for i in rows]
    return {
        "otsu_": [otsu_mask(dataset.image(i), rivals.polarity) & each for i, each in zip(rows, known, strict=True)],
        "constant_": [constant_mask(rivals.constant, each.shape) & each for each in known],
    }


def _log_pictures(
    segmenter: PyFuncModel, dataset: Dataset, rows: Sequence[int] | np.ndarray, table: pd.DataFrame
) -> None:
    order = np.argsort(table["native_dice"].to_numpy(), kind="stable")
    places = dict.fromkeys([order[-1], order[len(order) // 2], order[0]])
    labels = ("best", "median", "worst") if len(places) == 3 else ("best", "worst")
    picked, parted = [], []
    for label, k in zip(labels, places, strict=False):
        i = int(rows[k])
        ((mask, objects),) = _answers(segmenter, dataset, [i])
        parted.append(
            {
                "label": label,
                "id": table["id"][k],
                "image": dataset.image(i),
                "truth": dataset.objects(i),
                "found": objects,
            }
        )
        step = -(-max(mask.shape) // SHOWN)
        shown = {"image": dataset.image(i), "truth": dataset.objects(i) > 0, "mask": mask}
        reduced = {key: stack[::step, ::step] for key, stack in shown.items()}
        picked.append({"label": label, "id": table["id"][k], "dice": table["native_dice"][k], **reduced})
    write.log_figure(figures.prediction_panel(picked), "predictions.png")
    write.log_figure(object_panel(parted), "objects.png")
    write.log_figure(figures.confusion(pixelwise.confusion_matrix(table)), "confusion.png")
    strips = {"model": "native_dice", "Otsu": "otsu_native_dice", "constant": "constant_native_dice"}
    write.log_figure(figures.dice_strips({key: table[column] for key, column in strips.items()}), "test_dice.png")
    mlflow.log_text(pixelwise.classification_report(table), "classification_report.txt")
