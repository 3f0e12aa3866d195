"""Where a model comes from, and which images it has seen."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from mlflow.entities import LoggedModel, Run
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.tracking import MlflowClient

from unetlab.data import Dataset
from unetlab.metrics.baselines import Rivals, class_rivals, constant_answer, few
from unetlab.service.loading import learnt_channels
from unetlab.tracking import read

SIDES = "split.csv"
"""Which image is on which side of a run's split: columns id, side, group (its scene) and sha (of its pixels)."""


@dataclass(frozen=True)
class Origin:
    """What this tracking store knows of a loaded model.

    Args:
        model_id: of the logged model, None where this store does not hold it.
        run_id: of the setup's run that trained it, None where this store does not hold it.
        setup: that made it; "unknown" where nothing says.
        tags: of the logged model and its run.
        sides: the run's `split.csv`, None where there is none.
        channels: of files, from which it learnt, as the model says, or the run of one that was logged before they did.
    """

    model_id: str | None
    run_id: str | None
    setup: str
    tags: dict[str, str]
    sides: pd.DataFrame | None
    channels: str = ""

    @property
    def recorded(self) -> bool:
        """Whether its run says which pixels it was trained on."""
        return self.sides is not None and "sha" in self.sides

    def rivals(self, dataset: Dataset, rows: Sequence[int] | np.ndarray, several: bool = False) -> Rivals:
        """The rivals that met it in training; where nobody noted them the smaller side, and the constant answer that
        is better on the data at hand. Of `several` classes, where nobody noted theirs, those best on the data at hand.
        """
        if several:
            told = [self.tags.get(tag, "") for tag in ("otsu_polarity", "constant_answer", "otsu_class")]
            if told[0] and {*told[1:]} <= {*dataset.classes}:
                return Rivals(*told)
            images, truths, known = (
                map(each, few(rows)) for each in (dataset.image, dataset.class_truth, dataset.known)
            )
            return class_rivals(images, truths, dataset.classes, known)
        polarity = self.tags.get("otsu_polarity", Rivals().polarity)
        constant = self.tags.get("constant_answer")
        return Rivals(
            polarity, constant or constant_answer(map(dataset.objects, few(rows)), map(dataset.known, few(rows)))
        )


def origin(segmenter: PyFuncModel) -> Origin:
    """Looks a loaded model up in the tracking store, from its own run up to the setup's, which has the split."""
    client = MlflowClient()
    model = _logged(client, segmenter.metadata.model_id)
    run = _run(client, model.source_run_id if model else segmenter.metadata.run_id)
    tags = {**(run.data.tags if run else {}), **(model.tags if model else {})}
    sides = None
    while run is not None:
        sides = read.table(read.record(run), SIDES)
        parent = run.data.tags.get("mlflow.parentRunId")
        above = _run(client, parent) if sides is None and parent else None
        if above is None:
            break
        run, tags = above, {**above.data.tags, **tags}
    return Origin(
        model_id=model.model_id if model else None,
        run_id=run.info.run_id if run else None,
        setup=tags.get("setup", "unknown"),
        tags={key: value for key, value in tags.items() if not key.startswith("mlflow.")},
        sides=sides,
        channels=learnt_channels(segmenter.metadata) or (run.data.params.get("channels", "") if run else ""),
    )


def seen(sides: pd.DataFrame, ids: Sequence[str], sha: Sequence[str]) -> np.ndarray:
    """Which images are among those trained or validated on, bool (n,): by their pixels where the table has them, else
    by their names, which only says something of images of the same data set."""
    met = sides[sides["side"] != "test"]
    column, given = ("sha", sha) if "sha" in sides else ("id", ids)
    return np.isin(np.asarray(given, dtype=str), met[column].to_numpy(dtype=str))


def spread_over_scenes(marked: np.ndarray, scenes: np.ndarray) -> np.ndarray:
    """Marks all images of a scene of which one is marked, bool (n,)."""
    return np.isin(scenes, scenes[marked])


def _logged(client: MlflowClient, model_id: str | None) -> LoggedModel | None:
    try:
        return client.get_logged_model(model_id) if model_id else None
    except MlflowException:
        return None


def _run(client: MlflowClient, run_id: str | None) -> Run | None:
    try:
        return client.get_run(run_id) if run_id else None
    except MlflowException:
        return None
