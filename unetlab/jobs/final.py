"""The end of a run: the final model is scored on test, once, beside what needs no training and the reference trial."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import mlflow
import numpy as np
import pandas as pd

from unetlab.data.classes import UNKNOWN
from unetlab.data.unmapped import Unmapped
from unetlab.images import codecs
from unetlab.images.otsu import otsu_mask
from unetlab.inference import predict
from unetlab.jobs import class_final, mask_scores, self_training, trial
from unetlab.jobs.bench import Bench
from unetlab.jobs.refit import refit as refitted
from unetlab.metrics import baselines, intervals, membranes, pixelwise
from unetlab.metrics.objects import on_known
from unetlab.metrics.significance import count_scenes
from unetlab.service.loading import load
from unetlab.setup import Recipe
from unetlab.tracking import figures, thumbnails, write
from unetlab.tracking.figures import dice_strips
from unetlab.tracking.objects import OBJECTS, object_panel

TIMED = 16
"""Test images, at most, whose answers are timed."""


def fit_final(
    bench: Bench, recipe: Recipe, rounds: int, best: trial.Outcome | None = None, refit: bool = False
) -> trial.Outcome:
    """The final model: that of the best trial, or the recipe's where there was no search or its weights are lost; on
    made labels so many rounds follow, each taught by the one before. `refit` has it learn the validation images too."""
    name = bench.setup.name
    if refit:
        return refitted(bench, best or trial.train(bench, recipe, f"{name} before the refit", "trial"))
    if not rounds:
        if best is None:
            return trial.train(bench, recipe, f"{name} final", "final")
        return trial.as_final(bench, best)
    outcome = best or trial.train(bench, recipe, f"{name} round 0 {bench.dataset.name}", "round", {"round": "0"})
    for number in range(1, rounds + 1):
        masks = self_training.corrected_masks(trial.model_of(bench, outcome), recipe, bench.dataset, bench.split.train)
        # of several classes what is given stays, so that none can go
        if not recipe.classes and (missing := self_training.missing_class(masks[row] for row in bench.split.train)):
            bench.progress.done(
                f"{name} round {number}: left out, since round {number - 1} finds no {missing}; its model is final"
            )
            return trial.as_final(bench, outcome)
        last = number == rounds
        title = f"{name} final" if last else f"{name} round {number}"
        outcome = trial.train(bench, recipe, title, "final" if last else "round", {"round": str(number)}, masks)
    return outcome


def finish(bench: Bench, final: trial.Outcome, reference: trial.Outcome | None, test_input: Any) -> dict[str, float]:
    """Scores the final model on test, beside the rivals, the reference trial and the labels it learnt."""
    with trial.reopened(final.run_id):
        model = trial.model_of(bench, final)
        tests = class_final.tested if final.recipe.classes else _tested
        table, scored, album = tests(bench, model, final, reference, test_input)
    write.log_table(table, "scores/test.csv")
    write.log_bytes(album, thumbnails.PATH)
    shown = {"final": "native_dice", "Otsu": "otsu_native_dice"}
    shown |= {name: f"{name}_native_dice" for name in ("reference", "labels")}
    strips = {name: table[column] for name, column in shown.items() if column in table}
    write.log_figure(dice_strips(strips), "test_dice.png")
    dice = intervals.interval(table["dice"], bench.test_scenes)
    native = intervals.interval(table["native_dice"], bench.test_scenes)
    figures = {
        **{f"val/{key}": value for key, value in final.val.items()},
        **scored,
        "test/dice_low": dice.low,
        "test/dice_high": dice.high,
        "test/native_dice_low": native.low,
        "test/native_dice_high": native.high,
        "test/images": float(len(table)),
        "test/scenes": float(count_scenes(bench.test_scenes, len(table))),
        "test/ms_per_image": _milliseconds(bench, final),
        **_train_figures(final),
    }
    return {key: float(value) for key, value in figures.items() if math.isfinite(value)}


def _tested(
    bench: Bench, model: Any, final: trial.Outcome, reference: trial.Outcome | None, test_input: Any
) -> tuple[pd.DataFrame, dict[str, float], bytes]:
    """The final model of one mask on test: its scores by image beside those of rivals, figures, and the album; logs the
    scores and pictures to the active run."""
    tested = mask_scores.score(bench, model, final.served, bench.split.test, bench.truth, final.val["best_threshold"])
    write.log_scores("test", tested.figures, final.model_id, test_input)
    table, rivals = _with_rivals(bench, tested, final, reference)
    rivals |= _without_symmetries(bench, model, final, table)
    cuts = _other_cuts(bench, final, tested)
    _log_pictures(bench, final, tested, table)
    own = {f"test/{key}": value for key, value in tested.figures.items()}
    return table, {**own, **cuts, **rivals}, mask_scores.album(bench, tested, final.served)


def _without_symmetries(bench: Bench, model: Any, final: trial.Outcome, table: pd.DataFrame) -> dict[str, float]:
    """What test-time augmentation gains over the image as it is, of the score that runs are ranked by; nothing where
    there is none."""
    if not final.served.tta:
        return {}
    plain = final.served.changed({"tta": 0})
    alone = mask_scores.score(bench, model, plain, bench.split.test, bench.truth, final.val["best_threshold"]).table
    gain = intervals.paired_interval(table[bench.objective], alone[bench.objective], bench.test_scenes)
    return {"gain/of_tta": gain.mean, "gain/of_tta_low": gain.low, "gain/of_tta_high": gain.high}


def _milliseconds(bench: Bench, final: trial.Outcome) -> float:
    """Wall time of an answer on this machine: the logged model, loaded as a server loads it, from the bytes of one
    test image to the bytes of its mask, one image a request; the network between is not what one waits for."""
    served = load(f"models:/{final.model_id}")
    rows = bench.split.test[:TIMED]
    requests = [pd.DataFrame({"image": [codecs.encode_image(bench.truth.image(int(row)))]}) for row in rows]
    served.predict(requests[0])
    started = time.perf_counter()
    for request in requests:
        served.predict(request)
    return 1000 * (time.perf_counter() - started) / len(requests)


def _other_cuts(bench: Bench, final: trial.Outcome, tested: mask_scores.Scored) -> dict[str, float]:
    """Native Dice on test at the threshold that is best on validation, at the recipe's own where another is served,
    and at one half where the recipe has another."""
    rows = bench.split.test

    def dice(cut: predict.Threshold) -> float:
        cuts = predict.thresholds(tested.maps.mask, cut)
        maps = mask_scores.native_maps(tested.maps.mask, rows, bench.truth)
        truths = mask_scores.native_truths(rows, bench.truth)
        each = [baselines.dice_of(p > c, t > 0) for p, c, t in zip(maps, cuts, truths, strict=True)]
        return float(np.mean(each))

    found = {"test/native_dice_at_best_threshold": dice(final.val["best_threshold"])}
    if final.served.threshold != final.recipe.threshold:
        found["test/native_dice_at_recipe_threshold"] = dice(final.recipe.threshold)
    return found if final.recipe.threshold == 0.5 else found | {"test/native_dice_at_half": dice(0.5)}


def _train_figures(final: trial.Outcome) -> dict[str, float]:
    best = final.history.loc[final.history["val_loss"].idxmin()]
    return {"train/accuracy": best["accuracy"], "train/loss": best["loss"], "val/loss": best["val_loss"]}


def _with_rivals(
    bench: Bench, tested: mask_scores.Scored, final: trial.Outcome, reference: trial.Outcome | None
) -> tuple[pd.DataFrame, dict[str, float]]:
    """Adds the scores of rivals and reference trial on each test image, and the paired gains with their intervals."""
    rows = bench.split.test
    table = tested.table.assign(otsu_dice=_otsu_dice(bench, tested, final.recipe))
    table = table.join(_untrained(bench, "otsu", lambda row: otsu_mask(bench.truth.image(row), bench.rivals.polarity)))
    shapes = bench.truth.sizes
    table = table.join(
        _untrained(bench, "constant", lambda row: baselines.constant_mask(bench.rivals.constant, tuple(shapes[row])))
    )
    names = ["otsu", "constant"]
    if reference is not None:
        scored = _reference_scores(bench, tested, final, reference)
        kept = ["dice", *(name for name in ("native_dice", *membranes.SCORES) if name in scored)]
        table = table.join(scored[kept].add_prefix("reference_"))
        names.append("reference")
    if bench.truth is not bench.dataset:
        table = table.assign(labels_native_dice=self_training.label_dice(bench.dataset, bench.truth, rows))
        names.append("labels")
    rivals: dict[str, float] = {}
    for name in names:
        own = [column for column in table if column.startswith(f"{name}_native")]
        rivals |= {f"baseline/{column}": table[column].mean() for column in own}
        for column, key in (("native_dice", f"gain/over_{name}"), ("native_v_rand", f"gain/over_{name}_v_rand")):
            if f"{name}_{column}" in table:
                gain = intervals.paired_interval(table[column], table[f"{name}_{column}"], bench.test_scenes)
                rivals |= {key: gain.mean, f"{key}_low": gain.low, f"{key}_high": gain.high}
    return table, rivals


def _otsu_dice(bench: Bench, tested: mask_scores.Scored, recipe: Recipe) -> list[float]:
    """Dice of Otsu's threshold on each test image at the recipe's size. Where made labels stand in for the truth, what
    they do not know counts for neither, as in mask_scores.score."""
    fitted, dice = bench.truth.fitted(recipe), []
    images, masks = Unmapped(fitted.images), mask_scores.masks_of(fitted, bench.split.test)
    for i, row in enumerate(bench.split.test):
        found = otsu_mask(images[row], bench.rivals.polarity) & (masks[i] != UNKNOWN)
        dice.append(baselines.dice_of(found, tested.masks[i] > 0))
    return dice


def _reference_scores(
    bench: Bench, tested: mask_scores.Scored, final: trial.Outcome, reference: trial.Outcome
) -> pd.DataFrame:
    """The reference trial's scores on test: the final model's own where it is that, served as its recipe says."""
    if reference.run_id == final.run_id and final.served == reference.recipe:
        return tested.table
    model, cut = trial.model_of(bench, reference), reference.val["best_threshold"]
    return mask_scores.score(bench, model, reference.recipe, bench.split.test, bench.truth, cut).table


def _untrained(bench: Bench, name: str, mask: Callable[[int], np.ndarray]) -> pd.DataFrame:
    """Scores of a rival on the test images at native size, `mask` giving each as bool (h, w) by its row: columns
    `<name>_native_dice` and, for membranes, V_rand and V_info."""
    rows = bench.split.test

    def found() -> Iterator[np.ndarray]:
        return (mask(int(row)) & bench.truth.known(int(row)) for row in rows)

    pairs = zip(found(), mask_scores.native_truths(rows, bench.truth), strict=True)
    table = pd.DataFrame({"native_dice": [baselines.dice_of(cells, truth > 0) for cells, truth in pairs]})
    if bench.setup.membranes:
        table = table.join(membranes.score_sections(found(), mask_scores.native_truths(rows, bench.truth)))
    return table.add_prefix(f"{name}_")


def _objects(
    bench: Bench, tested: mask_scores.Scored, served: Recipe, shown: Sequence[tuple[str, int]]
) -> list[dict[str, Any]]:
    """The objects of the best, median and worst test image beside the true ones, at their own size."""
    cuts = predict.thresholds(tested.maps.mask, served.threshold)
    lines = []
    for label, i in shown:
        row = int(bench.split.test[i])
        truth = bench.truth.objects(row)
        mask = predict.mask_at(tested.maps.mask[i], cuts[i], truth.shape)
        found = predict.objects_at(mask, tested.maps.head_of(i), tested.maps.mask[i], served)
        found = on_known(found, bench.truth.known(row), truth)
        lines.append({"label": label, "id": tested.table["id"][i], "image": bench.truth.image(row)})
        lines[-1] |= {"truth": truth, "found": found}
    return lines


def _log_pictures(bench: Bench, final: trial.Outcome, tested: mask_scores.Scored, table: pd.DataFrame) -> None:
    """Pictures and reports of the final model on test, into the active run."""
    images = bench.dataset.fitted(final.recipe).images
    shown = figures.best_median_worst(table)
    found = mask_scores.found_masks(tested, final.served)
    picked = []
    for label, i in shown:
        known = mask_scores.known_ground(bench, final.served, i)
        picked.append(
            ({} if known.all() else {"known": known})
            | {
                "label": label,
                "id": table["id"][i],
                "image": np.asarray(images[bench.split.test[i]]),
                "truth": tested.masks[i],
                "probability": tested.maps.mask[i],
                "mask": found[i],
                "dice": table["dice"][i],
            }
        )
    whose = "truth" if bench.against == "masks" else "made labels"
    write.log_figure(figures.prediction_panel(picked, whose), "predictions.png")
    write.log_figure(object_panel(_objects(bench, tested, final.served, shown)), OBJECTS)
    write.log_figure(figures.confusion(pixelwise.confusion_matrix(table)), "confusion.png")
    write.log_figure(figures.reliability(*tested.known), "reliability.png")
    report = pixelwise.classification_report(table)
    if bench.setup.published_report:
        report += (
            f"\npublished by the source of {bench.setup.name}, on its own images:\n\n{bench.setup.published_report}"
        )
    mlflow.log_text(report, "classification_report.txt")
    write.log_table(table, "scores/test.csv")
