"""The life of a check: data, findings, a run that holds them."""

from pathlib import Path

import mlflow
import numpy as np
from rich.console import Console

from unetlab.data import Dataset, open_dataset
from unetlab.data.check import DataCard, check
from unetlab.data.export import export
from unetlab.data.split import split
from unetlab.errors import UnusableFiles, UserError
from unetlab.options import Options
from unetlab.tracking import pictures, ui, write


def run_check(options: Options, folder: Path | None = None) -> DataCard:
    """Checks a data set, prints what was found, logs it as a run of its own, and exports it if a folder is named.

    Files that cannot be decoded are a finding here, and the others are looked at all the same.

    Raises UserError where training would be refused, once all that is logged, and for a folder that is not empty.
    """
    try:
        dataset = open_dataset(options.data, options.seed, **options.reading())
    except UnusableFiles:
        dataset = open_dataset(options.data, options.seed, lenient=True, **options.reading())
    card = check(dataset, options.groups)
    console = Console()
    console.print(card.table())
    if folder is not None:
        again = f"; read them with masks={dataset.meaning}" if dataset.has_masks else ""
        console.print(f"wrote {export(dataset, folder)} images to {folder}{again}", highlight=False, markup=False)
    ui.open_experiment()
    tags = {"role": "check", "dataset": dataset.name, "dataset_digest": dataset.digest}
    params = {"data": options.data, "seed": options.seed, "groups": options.groups, **options.reading()}
    with write.run(f"check {dataset.name}", tags=tags, params=params):
        mlflow.log_dict(card.to_json(), "data_card.json")
        _log_pairs(dataset, card, options.seed)
    _refuse_errors(card)
    return card


def _log_pairs(dataset: Dataset, card: DataCard, seed: int) -> None:
    """Contact sheets: pairs that were joined, and the nearest pairs that the split with this seed parts."""
    if len(np.unique(card.groups)) >= 3:
        sides = split(dataset.ids, card.groups, card.modality, seed)
        side = np.zeros(len(dataset), int)
        side[sides.validation], side[sides.test] = 1, 2
        if apart := [pair for pair in card.scenes.near if side[pair.first] != side[pair.second]]:
            mlflow.log_figure(pictures.sheet(dataset, apart), "scenes/nearest_pairs.png")
    if card.scenes.joined:
        weakest = sorted(card.scenes.joined, key=lambda pair: pair.score / pair.limit)
        mlflow.log_figure(pictures.sheet(dataset, weakest), "scenes/joined_pairs.png")


def refuse_unusable(card: DataCard, has_masks: bool, labels: str) -> None:
    if labels == "masks" and not has_masks:
        raise UserError(
            f"{card.name} has images and no masks; put one mask an image into a folder masks beside images, "
            "or train on made labels: auto or pseudo-label with labels=consensus"
        )
    _refuse_errors(card)


def _refuse_errors(card: DataCard) -> None:
    errors = [finding for finding in card.findings if finding.severity == "error"]
    if errors:
        more = f" ({len(errors) - 1} more errors above)" if len(errors) > 1 else ""
        raise UserError(f"{errors[0].code} {errors[0].message}; {errors[0].remedy}{more}")
