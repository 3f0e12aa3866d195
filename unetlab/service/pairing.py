"""Scores of a challenger and a champion on the same images, the champion scored anew where it was tested on others."""

import os
from dataclasses import dataclass, replace

import mlflow
import numpy as np
import pandas as pd
from mlflow.entities.model_registry import ModelVersion

from unetlab.data import Dataset
from unetlab.errors import UserError
from unetlab.service import gate, scoring
from unetlab.service.loading import class_names, described, in_words, load, same_channels
from unetlab.service.own import open_again
from unetlab.service.seen import SIDES, Origin, origin, seen, spread_over_scenes
from unetlab.tracking import read
from unetlab.tracking.read import Record


@dataclass(frozen=True)
class Pair:
    """Paired scores.

    Args:
        metric: column that was compared.
        differences: challenger less champion, float64 (images,).
        scenes: the scene of each image, int (images,); None where the challenger's run does not say.
        evaluation: id of the run that scored the champion anew; "" where its own scores are of these images.
        note: what a reader must know, to be put behind a sentence; "" where there is nothing.
    """

    metric: str
    differences: np.ndarray
    scenes: np.ndarray | None
    evaluation: str = ""
    note: str = ""


def pair(challenger: Record, name: str, champion: ModelVersion) -> Pair:
    """Pairs a challenger's test scores with the standing champion's, a version of the registered model `name`.

    Where data or split of the two differ, the champion is scored on the challenger's test images, through its served
    code and as a run of role evaluation below the challenger's. Images whose scene the champion was trained or
    validated on are left out: on those it would be too good.

    Raises UserError, which says why, where there is no image to compare them on, where the two tell other classes
    apart, and where they learnt from other channels of other images. One image shows nothing, but its difference still
    bars a challenger that is worse.
    """
    _refuse_other_classes(challenger, name, champion)
    metric = gate.ranking_metric(challenger.tags)
    own = _scores(challenger, metric)
    sides = read.table(challenger, SIDES)
    standing = read.find_one(str(champion.run_id))
    if all(challenger.tags.get(tag) == standing.tags.get(tag) for tag in ("dataset_digest", "split_digest")):
        return _pair(metric, own, _scores(standing, metric), sides, f"the champion, version {champion.version},")
    _refuse_other_channels(challenger, standing, champion)
    dataset = _data_of(challenger)
    rows = np.array([dataset.ids.index(id) for id in own.index])
    scenes = _scenes(sides, own.index)
    scenes = np.arange(len(rows)) if scenes is None else scenes
    segmenter = load(f"models:/{name}/{champion.version}")
    whence = origin(segmenter)
    whence = replace(whence, tags={**whence.tags, "ranked_by": metric})  # scored for what the challenger is ranked by
    left, said = _unseen(whence, challenger, dataset, rows, scenes)
    what = f"version {champion.version}, the champion, was tested on other images, so it was scored on these"
    if not left.any():
        raise UserError(f"{what}, but 0 of {len(rows)} images are left{said}; register a run with more data")
    if mlflow.active_run() is None and "MLFLOW_RUN_ID" not in os.environ:
        mlflow.set_experiment(experiment_id=mlflow.MlflowClient().get_run(challenger.run_id).info.experiment_id)
    run_id, _, table = scoring.log(
        f"champion {name} version {champion.version} on {dataset.name}",
        segmenter,
        whence,
        dataset,
        rows[left],
        scenes[left],
        split_digest=challenger.tags["split_digest"] if left.all() else scoring.digest_of(own.index[left]),
        tags={"model_version": f"{name}/{champion.version}", "challenged_by": challenger.run_id},
        params={"model": f"models:/{name}/{champion.version}", "data": challenger.params["data"]},
        below=challenger.run_id,
    )
    other = table.set_index("id")[metric]
    found = _pair(metric, own[left], other, sides, f"the champion, version {champion.version},")
    return Pair(metric, found.differences, found.scenes, run_id, f"; {what} in run {run_id}{said}")


def _refuse_other_classes(challenger: Record, name: str, champion: ModelVersion) -> None:
    own, standing = (
        class_names(described(f"models:/{model}"))
        for model in (challenger.tags["final_model"], f"{name}/{champion.version}")
    )
    if own != standing:
        raise UserError(
            f"it {in_words(own)} and version {champion.version}, the champion, {in_words(standing)}, so the scores of "
            "one say nothing of the other; train on masks of the same classes in the same order, or let a person decide"
        )


def _refuse_other_channels(challenger: Record, standing: Record, champion: ModelVersion) -> None:
    """Read by the challenger's, images would show the champion what it never learnt, and none would be known again."""
    own, other = (one.params.get("channels", "") for one in (challenger, standing))
    if not same_channels(own, other):
        raise UserError(
            f"it learnt from channels={own or 'all'} and version {champion.version}, the champion, from channels="
            f"{other or 'all'}, so neither can be scored on what the other reads; let a person decide"
        )


def _pair(metric: str, own: pd.Series, other: pd.Series, sides: pd.DataFrame | None, who: str) -> Pair:
    if set(own.index) != set(other.index):
        raise UserError(f"it and {who} were not scored on the same test images; run it again")
    differences = (own - other.reindex(own.index)).to_numpy(np.float64)
    return Pair(metric, differences, _scenes(sides, own.index))


def _scores(of: Record, metric: str) -> pd.Series:
    table = read.table(of, columns=["id", metric])
    if table is None or metric not in table or not np.isfinite(table[metric]).all():
        raise UserError(f"{of.name} ({of.run_id}) has no {metric} of each image in {read.SCORES}; run it again")
    return table.set_index("id")[metric]


def _scenes(sides: pd.DataFrame | None, ids: pd.Index) -> np.ndarray | None:
    if sides is None:
        return None
    groups = sides.assign(id=sides["id"].astype(str)).set_index("id")["group"].reindex(ids)
    return None if groups.isna().any() else groups.to_numpy(np.int64)


def _data_of(challenger: Record) -> Dataset:
    """The data a run was tested on, opened again. Raises UserError where they are gone, changed or without masks."""
    if "data" not in challenger.params:
        raise UserError("its run does not say which data it was tested on, so the champion cannot be scored on them")
    dataset = open_again(challenger)
    if not dataset.has_masks:  # their labels were made, and are part of the digest
        raise UserError("the champion was tested on other images, and cannot be scored on these, which have no masks")
    if dataset.digest != challenger.tags.get("dataset_digest"):
        raise UserError(
            "the champion was tested on other images, and cannot be scored on these: "
            f"{challenger.params['data']} is no longer what the challenger was tested on (digest {dataset.digest}, was "
            f"{challenger.tags.get('dataset_digest')})"
        )
    return dataset


def _unseen(
    whence: Origin, challenger: Record, dataset: Dataset, rows: np.ndarray, scenes: np.ndarray
) -> tuple[np.ndarray, str]:
    """Which of the images the champion may be scored on, and what is to be said of it."""
    same = whence.tags.get("dataset_digest") == challenger.tags.get("dataset_digest")
    if whence.sides is None or not (whence.recorded or same):
        return np.full(len(rows), True), ", though its run does not say which of them it has seen"
    met = seen(whence.sides, [dataset.ids[i] for i in rows], [dataset.sha[i] for i in rows])
    out = spread_over_scenes(met, scenes)
    return ~out, f", less {out.sum()} that it was trained or validated on or whose scene it was" if out.any() else ""
