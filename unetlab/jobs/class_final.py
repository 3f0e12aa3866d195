"""The final model of several classes on test: its scores, beside what needs no training and the reference trial."""

from typing import Any

import numpy as np
import pandas as pd

from unetlab.data.classes import UNKNOWN
from unetlab.data.unmapped import Unmapped
from unetlab.inference.predict import class_objects_at
from unetlab.jobs import class_scores, trial
from unetlab.jobs.bench import Bench
from unetlab.jobs.class_scores import ClassScored
from unetlab.metrics import classes, intervals
from unetlab.metrics.objects import on_known
from unetlab.service.class_scoring import rival_dice
from unetlab.tracking import class_pictures, figures, thumbnails, write


def tested(
    bench: Bench, model: Any, final: trial.Outcome, reference: trial.Outcome | None, test_input: Any
) -> tuple[pd.DataFrame, dict[str, float], bytes]:
    """Its scores by image beside those of rivals, figures, and the album; logs the scores and pictures to the active
    run."""
    rows, data = bench.split.test, bench.truth
    scored = class_scores.score(class_scores.look(model, final.served, rows, data), final.served, rows, data)
    write.log_scores("test", scored.figures, final.model_id, test_input)
    table, rivals = _with_rivals(bench, scored, final, reference)
    rivals |= _without_symmetries(bench, model, final, table)
    _log_pictures(bench, final, scored, table)
    own = {f"test/{key}": value for key, value in scored.figures.items()}
    within = classes.intervals_of(table, bench.test_scenes)
    return table, {**own, **within, **rivals}, _album(bench, final, scored)


def _with_rivals(
    bench: Bench, scored: ClassScored, final: trial.Outcome, reference: trial.Outcome | None
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Adds the scores of rivals and reference trial on each test image, and the paired gains with their intervals."""
    untrained = pd.DataFrame([rival_dice(bench.truth, int(row), bench.rivals) for row in bench.split.test])
    table = scored.table.join(untrained)
    if reference is not None:
        again = _reference_scores(bench, scored, final, reference)
        kept = ["dice", "native_dice", *classes.words_of(again)]
        table = table.join(again[kept].add_prefix("reference_"))
    names = ["otsu", "constant", *(["reference"] if reference is not None else [])]
    rivals: dict[str, float] = {}
    for name in names:
        gain = intervals.paired_interval(table["native_dice"], table[f"{name}_native_dice"], bench.test_scenes)
        rivals |= {f"baseline/{name}_native_dice": float(table[f"{name}_native_dice"].mean())}
        rivals |= {f"gain/over_{name}{end}": getattr(gain, at) for end, at in _ENDS.items()}
    return table, rivals


def _reference_scores(
    bench: Bench, scored: ClassScored, final: trial.Outcome, reference: trial.Outcome
) -> pd.DataFrame:
    """The reference trial's scores on test: the final model's own where it is that, served as its recipe says."""
    if reference.run_id == final.run_id and final.served == reference.recipe:
        return scored.table
    rows, data, recipe = bench.split.test, bench.truth, reference.recipe
    seen = class_scores.look(trial.model_of(bench, reference), recipe, rows, data)
    return class_scores.score(seen, recipe, rows, data).table


_ENDS = {"": "mean", "_low": "low", "_high": "high"}


def _without_symmetries(bench: Bench, model: Any, final: trial.Outcome, table: pd.DataFrame) -> dict[str, float]:
    """What test-time augmentation gains over the image as it is; nothing where there is none."""
    if not final.served.tta:
        return {}
    rows, data = bench.split.test, bench.truth
    plain = final.served.changed({"tta": 0})
    alone = class_scores.score(class_scores.look(model, plain, rows, data), plain, rows, data).table
    gain = intervals.paired_interval(table["native_dice"], alone["native_dice"], bench.test_scenes)
    return {f"gain/of_tta{end}": getattr(gain, at) for end, at in _ENDS.items()}


def _album(bench: Bench, final: trial.Outcome, scored: ClassScored) -> bytes:
    """Thumbnails of the test images, of thumbnails.MOST of them where there are more."""
    images, rows, seen = Unmapped(bench.truth.fitted(final.recipe).images), bench.split.test, scored.seen
    shown = range(0, len(rows), -(-len(rows) // thumbnails.MOST))
    masks = (np.where(seen.masks[i] == UNKNOWN, np.uint8(0), seen.masks[i]) for i in shown)
    pictures = ((images[rows[i]], mask, seen.found[i]) for i, mask in zip(shown, masks, strict=True))
    if final.recipe.view == "patches":  # an album holds pictures of one size
        pictures = (thumbnails.squared_classes(*picture) for picture in pictures)
    return thumbnails.pack_each([str(scored.table["id"][i]) for i in shown], pictures)


def _log_pictures(bench: Bench, final: trial.Outcome, scored: ClassScored, table: pd.DataFrame) -> None:
    """Pictures and reports of the final model on test, into the active run."""
    rows = []
    for label, i in figures.best_median_worst(table):
        row, native = int(bench.split.test[i]), scored.seen.native[i]
        known, (labels, _) = bench.truth.known(row), class_objects_at(native, final.served)
        about = {"label": label, "id": table["id"][i], "dice": float(table["native_dice"][i])}
        about |= {
            "image": bench.truth.image(row),
            "parted": (bench.truth.objects(row), on_known(labels, known, bench.truth.objects(row))),
        }
        rows.append({**about, "truth": bench.truth.class_truth(row), "found": native * known})
    class_pictures.log_pictures(rows, table, scored.confusion, bench.dataset.classes)
    write.log_table(table, "scores/test.csv")
