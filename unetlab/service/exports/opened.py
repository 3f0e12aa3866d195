"""A model's export in its place: the same preparation and objects, another runtime for the network."""

import json
import os
import threading
from pathlib import Path

import mlflow
import numpy as np
from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel
from mlflow.tracking import MlflowClient

from unetlab.errors import UserError
from unetlab.inference.predict import Predictor
from unetlab.service.exports import FORMATS
from unetlab.service.exports.base import Network, Shape, require, silence
from unetlab.service.exports.card import FOLDER, NAME
from unetlab.service.exports.network import completed, tiled_as
from unetlab.tracking.read import local_folder


def predictor_of_export(segmenter: PyFuncModel, own: Predictor, name: str) -> Predictor:
    """What predicts as a model does, with the network of one of its exports.

    Args:
        segmenter: the model.
        own: its own predictor.
        name: format and precision as `export` names the folder, such as "litert-int8".

    Raises UserError where there is no such export, which names those there are, or its packages are missing.
    """
    folder = _download(segmenter, name)
    card = json.loads((folder / NAME).read_text())
    row = FORMATS[card["format"]]
    require(row, card["precision"])
    shape: Shape = tuple(card["input"]["shape"])
    with silence():
        network = _in_turn(row.open(folder / card["file"], os.cpu_count() or 1))
    return type(own)(network, *tiled_as(completed(vars(own.recipe)), shape))


def _download(segmenter: PyFuncModel, name: str) -> Path:
    """The folder of an export, from the run that trained the model."""
    client, number = MlflowClient(), segmenter.metadata.model_id
    try:
        run = client.get_logged_model(number).source_run_id if number else segmenter.metadata.run_id
        there = sorted(Path(each.path).name for each in client.list_artifacts(run, FOLDER)) if run else []
    except MlflowException:
        run, there = None, []
    if run is None or name not in there:
        known = f"it has {', '.join(there)}" if there else "it has none"
        kind, _, precision = name.rpartition("-")
        way = "none can be made: a name is a format and a precision of `export`, such as litert-int8"
        if kind in FORMATS and (precision == "float32" or (precision == "int8" and FORMATS[kind].int8)):
            asked = f"-P model=... -P format={kind} -P precision={precision}"
            way = f"mlflow run . -e export --env-manager local {asked} makes one"
        raise UserError(f"export={name}: there is no such export of this model, {known}; {way}")
    local = local_folder(client.get_run(run).info.artifact_uri)  # which MLflow would copy nevertheless, for good
    if local is not None:
        return local / FOLDER / name
    return Path(mlflow.artifacts.download_artifacts(run_id=run, artifact_path=f"{FOLDER}/{name}"))


def _in_turn(network: Network) -> Network:
    """The same for calls from several threads, of which runtimes take one at a time."""
    lock = threading.Lock()

    def call(images: np.ndarray) -> np.ndarray:
        with lock:
            return network(images)

    return call
