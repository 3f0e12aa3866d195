"""A model scored on labelled images through its own served code, as a run of role evaluation."""

import contextlib
import functools
import hashlib
import math
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities import RunInfo
from mlflow.pyfunc import PyFuncModel
from rich.console import Console
from rich.progress import track

from unetlab.data import Dataset, cache
from unetlab.data.dataset import stored
from unetlab.errors import UserError
from unetlab.metrics import classes, membranes, significance
from unetlab.metrics.baselines import Rivals
from unetlab.service import class_scoring, mask_scoring, pages, shards
from unetlab.service.gate import ranking_metric
from unetlab.service.loading import class_names, identity_of, loaded
from unetlab.service.seen import SIDES, Origin
from unetlab.service.shards import Spread, in_turn
from unetlab.service.sheets import Shard, Sheet
from unetlab.tracking import figures, thumbnails, write

BATCH = 8
"""Images that the model sees at once, and fewer of large ones: of `pages.BATCH_PIXELS` pixels together."""

SHARD = 64
"""Images that are scored, or are not, together."""

PICTURES = ("images", "truths", "drawn")
"""What thumbnails are made of."""

CONFUSION = "confusion"

RIVALS = ("otsu", "constant")


def score(
    segmenter: PyFuncModel,
    origin: Origin,
    dataset: Dataset,
    rows: Sequence[int] | np.ndarray,
    model: str = "",
    spread: Spread = in_turn,
    kept: Path | None = None,
) -> Sheet:
    """Scores a loaded model and its rivals on the images `rows` of a data set with masks, in shards of SHARD images.

    With `model`, the address of the model, shards may be scored elsewhere, by `spread`. What a killed command has
    scored lies in the folder `kept`, if there is one, and is not scored again.
    """
    rows = [int(row) for row in rows]
    several = bool(class_names(segmenter.metadata))
    rivals = origin.rivals(dataset, rows, several)
    lines, cut = _lines_of(origin)
    shown = frozenset(rows[:: -(-len(rows) // thumbnails.MOST)])

    def shard(span: range) -> Shard:
        own = tuple(rows[span.start : span.stop])
        few = tuple(row for row in own if row in shown)
        return Shard(model, identity_of(segmenter), dataset.folder, own, few, rivals, lines, cut, span.start, several)

    with contextlib.ExitStack() as stack:
        parts = kept or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="unetlab-")))
        parts.mkdir(parents=True, exist_ok=True)
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
        if kept is not None:
            shards.discard(kept)
    return sheet


def _lines_of(origin: Origin) -> tuple[bool, float]:
    """Whether membranes are scored, and the threshold of V_rand."""
    return ranking_metric(origin.tags) == membranes.SCORES[0], float(origin.tags.get("validation_threshold", -1.0))


def _kept(segmenter: PyFuncModel, origin: Origin, dataset: Dataset, rows: Sequence[int], rivals: Rivals) -> Path:
    """Where in the cache the scores lie of this model and these images: of other rivals and thresholds elsewhere."""
    data = (dataset.digest, dataset.classes)
    told = (origin.model_id or segmenter.metadata.model_uuid, data, rows, rivals, *_lines_of(origin), SHARD)
    return cache.root() / "scored" / hashlib.sha256(repr(told).encode()).hexdigest()[:24]


def score_shard(shard: Shard) -> dict[str, np.ndarray]:
    """What `score` learns of some images: each column of their table, and images, truths and masks of thumbnails."""
    segmenter, dataset = loaded(shard.model, mlflow.get_tracking_uri(), shard.identity), _stored(shard.folder)
    return _scored(segmenter, dataset, shard)


@functools.lru_cache(maxsize=1)
def _stored(folder: Path) -> Dataset:
    """A data set, opened once for all shards that one process scores."""
    return stored(folder)


def _scored(segmenter: PyFuncModel, dataset: Dataset, shard: Shard) -> dict[str, np.ndarray]:
    score_some = class_scoring.score_some if shard.classes else mask_scoring.score_some
    tables, small, confusions = [], [], []
    for few in pages.batches(shard.rows, BATCH, lambda i: math.prod(dataset.sizes[i].tolist())):
        some = score_some(segmenter, dataset, few, shard)
        tables.append(some.table)
        small += some.pictures
        if some.confusion is not None:
            confusions.append(some.confusion)
    table = pd.concat(tables, ignore_index=True).drop(columns="id")
    columns = {f"column {name}": table[name].to_numpy() for name in table}
    if confusions:
        columns[CONFUSION] = np.sum(confusions, axis=0)
    if not small:
        return columns
    stacks = (np.stack(stack) for stack in zip(*small, strict=True))
    return columns | dict(zip(PICTURES, stacks, strict=True))


def _gathered(parts: Path, dataset: Dataset, rows: Sequence[int]) -> Sheet:
    tables, confusions = [], []
    folders = sorted(parts.glob("[0-9]*-[0-9]*"))
    for folder in folders:
        with np.load(folder / "scored.npz", allow_pickle=False) as stored:
            names = [name for name in stored.files if name.startswith("column ")]
            tables.append(pd.DataFrame({name.removeprefix("column "): stored[name] for name in names}))
            if CONFUSION in stored.files:
                confusions.append(stored[CONFUSION])
    table = pd.concat(tables, ignore_index=True)
    table.insert(0, "id", [dataset.ids[i] for i in rows])
    shown = [dataset.ids[i] for i in rows[:: -(-len(rows) // thumbnails.MOST)]]
    confusion = np.sum(confusions, axis=0) if confusions else None
    return Sheet(table, thumbnails.pack_each(shown, _pictures(folders)), confusion)


def _pictures(folders: Sequence[Path]) -> Iterator[thumbnails.Picture]:
    """What thumbnails are made of, in the order of the images, the pictures of one shard in memory at a time."""
    for folder in folders:
        with np.load(folder / "scored.npz", allow_pickle=False) as stored:
            if PICTURES[0] in stored.files:
                yield from zip(*(stored[name] for name in PICTURES), strict=True)


def summarise(sheet: Sheet, scenes: np.ndarray | None) -> dict[str, float]:
    """What a sheet says, by the names every run uses: test/, baseline/ and gain/, with 95 % intervals over scenes.

    Ratios of pixels (accuracy, precision, recall, f1) are over all pixels of all images, the others means over images.
    Of classes they are those of `metrics.classes.summarise`.
    """
    table, words = sheet.table, classes.words_of(sheet.table)
    if sheet.confusion is not None:
        own = classes.summarise(table, sheet.confusion, list(words.values()))
    else:
        own = mask_scoring.figures_of(table)
    found = {f"test/{name}": value for name, value in own.items()}
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
        scores = np.array([key.startswith("test/") for key in columns])  # which lie in [0, 1], as gains do not
        low, high = (np.where(scores, np.clip(ends, 0.0, 1.0), ends) for ends in (low, high))
        found |= {f"{key}_low": float(end) for key, end in zip(columns, low, strict=True)}
        found |= {f"{key}_high": float(end) for key, end in zip(columns, high, strict=True)}
    found |= classes.intervals_of(table, scenes)
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
        model, spread: as `score` takes them; with `model` what a killed command has scored is kept in the cache.

    Returns the run's id, its metrics and its score table. Raises UserError, before there is a run, if another process
    scores the same.
    """
    several, rows = bool(class_names(segmenter.metadata)), [int(row) for row in rows]
    rivals = origin.rivals(dataset, rows, several)
    own = _tags(origin, dataset, split_digest, rivals, several)
    if below is not None:  # a tag, since that run may be finished and is not to be opened again
        own["mlflow.parentRunId"] = below
    kept = _kept(segmenter, origin, dataset, rows, rivals) if model else None
    with contextlib.ExitStack() as stack:
        if kept is not None:
            stack.enter_context(shards.alone(kept.with_suffix(".lock"), f"{name!r}, the same command,"))
            own["scores"] = kept.name
        active = stack.enter_context(write.run(name, tags={**own, **tags}, params=params))
        if kept is not None:
            _end_left(active.info, kept.name)
        given = write.split_input(dataset.name, dataset.digest, "test", len(rows), split_digest)
        mlflow.log_inputs([given], ["testing"], [None])
        write.log_table(_sides(dataset, rows, scenes), SIDES)
        sheet = score(segmenter, origin, dataset, rows, model, spread, kept)
        found = summarise(sheet, scenes)
        mlflow.log_metrics(found, model_id=origin.model_id, dataset=given)
        write.log_table(sheet.table, "scores/test.csv")
        write.log_bytes(sheet.album, thumbnails.PATH)
        _log_pictures(segmenter, dataset, rows, sheet)
        return str(active.info.run_id), found, sheet.table


def _end_left(own: RunInfo, scores: str) -> None:
    """Marks runs KILLED that processes which are gone have left RUNNING at the evaluation that is a run's `own`."""
    client = mlflow.MlflowClient()
    where = f"tags.scores = '{scores}' and attributes.status = 'RUNNING'"
    for run in client.search_runs([own.experiment_id], where):
        if run.info.run_id != own.run_id:
            client.set_terminated(run.info.run_id, "KILLED")


def _tags(origin: Origin, dataset: Dataset, split_digest: str, rivals: Rivals, several: bool) -> dict[str, str]:
    return {
        "role": "evaluation",
        "setup": origin.setup,
        "dataset": dataset.name,
        "dataset_digest": dataset.digest,
        "split_digest": split_digest,
        "evaluated_run": origin.run_id or "unknown",
        **rivals.tags(),
        **({"classes": ", ".join(dataset.classes[1:])} if several else {}),
        **({"final_model": origin.model_id} if origin.model_id else {}),
    }


def _sides(dataset: Dataset, rows: Sequence[int] | np.ndarray, scenes: np.ndarray) -> pd.DataFrame:
    columns = {"id": [dataset.ids[i] for i in rows], "side": "test", "group": scenes}
    return pd.DataFrame({**columns, "sha": [dataset.sha[i] for i in rows]})


def _log_pictures(segmenter: PyFuncModel, dataset: Dataset, rows: Sequence[int] | np.ndarray, sheet: Sheet) -> None:
    table = sheet.table
    picked = figures.best_median_worst(table)
    if sheet.confusion is not None:
        class_scoring.log_pictures(segmenter, dataset, rows, picked, table, sheet.confusion)
    else:
        mask_scoring.log_pictures(segmenter, dataset, rows, picked, table)
    strips = {"model": "native_dice", "Otsu": "otsu_native_dice", "constant": "constant_native_dice"}
    write.log_figure(figures.dice_strips({key: table[column] for key, column in strips.items()}), "test_dice.png")
