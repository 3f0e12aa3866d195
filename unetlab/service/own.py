"""The images of a model's own run, each on the side of the split on which the run had it."""

from dataclasses import dataclass

import numpy as np

from experiments import SETUPS
from unetlab.data import Dataset, open_dataset
from unetlab.errors import UserError
from unetlab.options import Reading
from unetlab.service.seen import Origin
from unetlab.tracking import read
from unetlab.tracking.read import Record


@dataclass(frozen=True)
class Own:
    """What a model learnt from and was tested on.

    Args:
        dataset: the images.
        train: rows that it was trained on.
        test: rows that it was tested on.
        scenes: of the test rows, None where its run does not say.
        missing: how many test images of its run are not among the images any more.
    """

    dataset: Dataset
    train: np.ndarray
    test: np.ndarray
    scenes: np.ndarray | None
    missing: int


def open_again(of: Record, data: str = "") -> Dataset:
    """The data set of a run, read as the run read it; `data` says where it lies now, if not where it lay then.

    Raises UserError where nothing says which it was, and as `open_dataset` does.
    """
    params = of.params
    if not (data or "data" in params):
        raise UserError("its run does not say which data it was tested on")
    seed = params.get("seed", "0") if params.get("twin_seed", "None") == "None" else params["twin_seed"]
    twin = SETUPS[of.setup].twin if of.setup in SETUPS else "nuclei"
    reading = Reading(
        masks=params.get("masks", "auto"), channels=params.get("channels", ""), pages=params.get("pages", "all")
    )
    return open_dataset(data or params["data"], int(seed), twin, **reading)


def own_images(whence: Origin, data: str = "") -> Own:
    """The images of a model's run, told apart by their pixels, or by name where the run kept nothing else.

    Args:
        whence: of the model.
        data: where they lie now; "" for where the run found them.

    Raises UserError where the run is not in this store or has no split, the images cannot be had, have no masks, or
    hold none of its test images.
    """
    if whence.run_id is None or whence.sides is None:
        raise UserError(
            "the run that trained the model is not in this tracking store, so that nobody knows which images it was "
            "tested on; set MLFLOW_TRACKING_URI to the store that has it"
        )
    try:
        dataset = open_again(read.find_one(whence.run_id), data)
    except UserError as error:
        if data:
            raise
        raise UserError(f"the images of the model's run: {error}; data=... says where they lie now") from error
    column, given = ("sha", dataset.sha) if "sha" in whence.sides else ("id", dataset.ids)
    sides = whence.sides.assign(key=whence.sides[column].astype(str)).drop_duplicates("key").set_index("key")
    found = sides.reindex(list(given))
    train, test = (np.flatnonzero(found["side"].to_numpy() == side) for side in ("train", "test"))
    told = data or "the data of its run"
    if not len(test):
        raise UserError(
            f"{told}: none of the {len(dataset)} images is one the model was tested on; give those of its run"
        )
    if not dataset.has_masks:
        raise UserError(f"{told}: no masks, so what an export loses cannot be measured; put them beside the images")
    scenes = found["group"].to_numpy()[test] if "group" in found else None
    missing = int((sides["side"] == "test").sum()) - len(set(np.asarray(given)[test].tolist()))
    return Own(dataset, train, test, scenes, missing)
