"""The end of a run: the final model is scored on test, once, beside Otsu's threshold and the reference trial."""

import math
import time
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from unetlab.data.classes import UNKNOWN
from unetlab.images.otsu import otsu_mask
from unetlab.inference import predict
from unetlab.jobs import self_training, trial
from unetlab.metrics import baselines, intervals, pixelwise, table, thresholds
from unetlab.metrics.table import score_images, score_native
from unetlab.setup import Recipe
from unetlab.tracking import figures, thumbnails, write
from unetlab.tracking.figures import dice_strips


def fit_final(bench: trial.Bench, recipe: Recipe, rounds: int) -> trial.Outcome:
    """Fits the best recipe once more; on made labels so many rounds follow, each taught by the one before."""
    name = bench.setup.name
    if not rounds:
        return trial.train(bench, recipe, f"{name} final", "final")
    outcome = trial.train(bench, recipe, f"{name} round 0 {bench.dataset.name}", "round", {"round": "0"})
    for number in range(1, rounds + 1):
        masks = self_training.corrected_masks(trial.model_of(bench, outcome), recipe, bench.dataset, bench.split.train)
        if missing := self_training.missing_class(masks[bench.split.train]):
            bench.progress.done(
                f"{name} round {number}: left out, since round {number - 1} finds no {missing}; its model is final"
            )
            return trial.as_final(outcome)
        last = number == rounds
        title = f"{name} final" if last else f"{name} round {number}"
        outcome = trial.train(bench, recipe, title, "final" if last else "round", {"round": str(number)}, masks)
    return outcome


def finish(
    bench: trial.Bench, final: trial.Outcome, reference: trial.Outcome | None, test_input: Any
) -> dict[str, float]:
    """Scores the final model on test, beside Otsu's threshold, the reference trial and the labels it learnt."""
    with mlflow.start_run(run_id=final.run_id, nested=True):
        model = trial.model_of(bench, final)
        tested = trial.score(bench, model, final.recipe, bench.split.test, bench.truth)
        write.log_scores("test", tested.figures, final.model_id, test_input)
        table, rivals = _with_rivals(bench, tested, final.recipe, reference)
        speed = _milliseconds(bench, model, final.recipe)
        cuts = _other_cuts(bench, model, final.recipe, tested)
        _log_pictures(bench, final, tested, table)
    write.log_table(table, "scores/test.csv")
    write.log_bytes(_album(bench, tested, final.recipe), thumbnails.PATH)
    shown = {"final": "native_dice", "Otsu": "otsu_native_dice"}
    shown |= {name: f"{name}_native_dice" for name in ("reference", "labels")}
    strips = {name: table[column] for name, column in shown.items() if column in table}
    write.log_figure(dice_strips(strips), "test_dice.png")
    dice = intervals.interval(table["dice"])
    native = intervals.interval(table["native_dice"])
    figures = {
        **{f"val/{key}": value for key, value in final.val.items()},
        **{f"test/{key}": value for key, value in tested.figures.items()},
        "test/dice_low": dice.low,
        "test/dice_high": dice.high,
        "test/native_dice_low": native.low,
        "test/native_dice_high": native.high,
        "test/images": float(len(table)),
        "test/ms_per_image": speed,
        **cuts,
        **rivals,
        **_train_figures(final),
    }
    return {key: float(value) for key, value in figures.items() if math.isfinite(value)}


def _album(bench: trial.Bench, tested: trial.Scored, recipe: Recipe) -> bytes:
    images = bench.truth.fitted(recipe).images[bench.split.test]
    predicted = tested.probabilities > predict.thresholds(tested.probabilities, recipe.threshold)[:, None, None]
    return thumbnails.pack(list(tested.table["id"]), np.asarray(images), tested.masks, predicted)


def _milliseconds(bench: trial.Bench, model: Any, recipe: Recipe) -> float:
    """Wall time of the network an image, in batches of 8, on this machine; decoding and resizing are not in it."""
    images, predictor = bench.truth.fitted(recipe).images, predict.Predictor(model, recipe)
    rows = np.resize(bench.split.test, 16)
    predictor.probabilities(images, rows[:8])
    started = time.perf_counter()
    predictor.probabilities(images, rows)
    return 1000 * (time.perf_counter() - started) / len(rows)


def _other_cuts(bench: trial.Bench, model: Any, recipe: Recipe, tested: trial.Scored) -> dict[str, float]:
    """Dice on test at the threshold that is best on validation and, where the recipe has another, at one half."""
    validated = trial.score(bench, model, recipe, bench.split.validation, bench.dataset)
    best = thresholds.best_threshold(validated.probabilities, validated.masks)
    ids = list(tested.table["id"])

    def dice(cut: float) -> float:
        return float(table.score_images(tested.probabilities, tested.masks, ids, cut)["dice"].mean())

    found = {"val/best_threshold": best, "test/dice_at_best_threshold": dice(best)}
    return found if recipe.threshold == 0.5 else found | {"test/dice_at_half": dice(0.5)}


def _train_figures(final: trial.Outcome) -> dict[str, float]:
    best = final.history.loc[final.history["val_loss"].idxmin()]
    return {"train/accuracy": best["accuracy"], "train/loss": best["loss"], "val/loss": best["val_loss"]}


def _with_rivals(
    bench: trial.Bench, tested: trial.Scored, recipe: Recipe, reference: trial.Outcome | None
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Adds Otsu's and the reference trial's Dice of each test image, and the paired gains with their intervals."""
    rows = bench.split.test
    images, masks = bench.truth.fitted(recipe)
    # where made labels stand in for the truth, what they do not know counts for neither, as in trial.score
    found = baselines.otsu_masks(images[rows]) * (masks[rows][..., 0] != UNKNOWN)
    otsu = score_images(found, tested.masks, list(tested.table["id"]), 0.5)
    otsu_native = score_native(
        lambda i, height, width: otsu_mask(bench.truth.image(rows[i])) & bench.truth.known(rows[i]),
        lambda i: bench.truth.objects(rows[i]),
        len(rows),
    )
    table = tested.table.assign(otsu_dice=otsu["dice"], otsu_native_dice=otsu_native["native_dice"])
    rivals = {"baseline/otsu_dice": otsu["dice"].mean(), "baseline/otsu_native_dice": otsu_native["native_dice"].mean()}
    names = ["otsu"]
    if reference is not None:
        scored = trial.score(bench, trial.model_of(bench, reference), reference.recipe, rows, bench.truth).table
        table = table.assign(reference_dice=scored["dice"], reference_native_dice=scored["native_dice"])
        rivals["baseline/reference_native_dice"] = scored["native_dice"].mean()
        names.append("reference")
    if bench.truth is not bench.dataset:
        table = table.assign(labels_native_dice=self_training.label_dice(bench.dataset, bench.truth, rows))
        rivals["baseline/labels_native_dice"] = table["labels_native_dice"].mean()
        names.append("labels")
    for name in names:
        gain = intervals.paired_interval(table["native_dice"], table[f"{name}_native_dice"])
        rivals |= {
            f"gain/over_{name}": gain.mean,
            f"gain/over_{name}_low": gain.low,
            f"gain/over_{name}_high": gain.high,
        }
    return table, rivals


def _log_pictures(bench: trial.Bench, final: trial.Outcome, tested: trial.Scored, table: pd.DataFrame) -> None:
    """Pictures and reports of the final model on test, into the active run."""
    images = bench.dataset.fitted(final.recipe).images
    order = np.argsort(table["native_dice"].to_numpy())
    cut = predict.thresholds(tested.probabilities, final.recipe.threshold)
    picked = []
    for label, i in (("best", order[-1]), ("median", order[len(order) // 2]), ("worst", order[0])):
        picked.append(
            {
                "label": label,
                "id": table["id"][i],
                "image": np.asarray(images[bench.split.test[i]]),
                "truth": tested.masks[i],
                "probability": tested.probabilities[i],
                "mask": tested.probabilities[i] > cut[i],
                "dice": table["dice"][i],
            }
        )
    write.log_figure(figures.prediction_panel(picked), "predictions.png")
    write.log_figure(figures.confusion(pixelwise.confusion_matrix(table)), "confusion.png")
    write.log_figure(figures.reliability(tested.probabilities, tested.masks), "reliability.png")
    report = pixelwise.classification_report(table)
    if bench.setup.published_report:
        report += (
            f"\npublished by the source of {bench.setup.name}, on its own images:\n\n{bench.setup.published_report}"
        )
    mlflow.log_text(report, "classification_report.txt")
    write.log_table(table, "scores/test.csv")
