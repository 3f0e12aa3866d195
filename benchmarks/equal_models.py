"""Equal models on real images: one classifier of pixels, trained again and again on other images.

    python -m benchmarks.equal_models --data dsb2018
    python -m benchmarks.false_alarms --experiment equal-models

A member is a small forest on the colours around a pixel (extremely randomised trees: Geurts, Ernst and Wehenkel 2006),
so quick that it is trained for every image: the scenes are dealt into two halves, and each half is scored by a forest
trained on six tenths of the scenes of the other. So every image has a Dice of every member, at its own size, from a
forest that never saw its scene. Members differ by seed and by what they were trained on, and by nothing else; what
differs between two of them hangs together within scenes as it does between networks.

Each is logged as a finished run that `compare` and `false_alarms` read: on its test side are all images but those of
scenes larger than a test side may be (15 % of the images), which a split keeps for training. Takes a minute for 500
images.
"""

import click
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from scipy.ndimage import gaussian_filter
from sklearn.ensemble import ExtraTreesClassifier

from unetlab.cli.base import OneLineErrors
from unetlab.data import Dataset, open_dataset
from unetlab.data.check import check
from unetlab.data.split import FRACTIONS
from unetlab.errors import UserError
from unetlab.inference.predict import mask_at
from unetlab.jobs.evaluate import refuse_unlabelled
from unetlab.setup import Recipe
from unetlab.tracking import write

EXPERIMENT = "equal-models"

SIZE = 128

BLURS = (0, 2, 6)
"""Pixels of SIZE: a pixel is described by its colour and by those of its surroundings, near and far."""

PIXELS = 200
"""Of each training image."""

SHARE = 0.6
"""Of the scenes of one half that a member is trained on."""


def described(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Each pixel of each image: features, float32 (n, SIZE^2, 9), and whether it is foreground, bool (n, SIZE^2)."""
    images, masks = dataset.fitted(Recipe(image_size=SIZE, channels=3, epochs=1, batch_size=1))
    features = np.empty((len(images), SIZE**2, 3 * len(BLURS)), dtype=np.float32)
    for row, image in zip(features, images, strict=True):
        grey = image.astype(np.float32)
        blurred = [gaussian_filter(grey, (sigma, sigma, 0)) for sigma in BLURS]
        row[:] = np.concatenate(blurred, axis=2).reshape(SIZE**2, -1)
    return features, np.stack([mask[..., 0] == 1 for mask in masks]).reshape(len(images), -1)


def score_member(
    dataset: Dataset, features: np.ndarray, foreground: np.ndarray, scenes: np.ndarray, seed: int
) -> np.ndarray:
    """Dice of each image at its own size, float64 (n,), by a forest that did not see its scene."""
    rng = np.random.default_rng(seed)
    names = rng.permutation(np.unique(scenes))
    dice = np.empty(len(dataset))
    halves = names[: len(names) // 2], names[len(names) // 2 :]
    for tested, others in (halves, halves[::-1]):
        taught = rng.choice(others, max(1, round(SHARE * len(others))), replace=False)
        learnt = np.flatnonzero(np.isin(scenes, taught))
        pixels = [(row, rng.choice(SIZE**2, PIXELS, replace=False)) for row in learnt]
        forest = ExtraTreesClassifier(10, max_depth=12, min_samples_leaf=5, random_state=seed, class_weight="balanced")
        forest.fit(
            np.concatenate([features[row, some] for row, some in pixels]),
            np.concatenate([foreground[row, some] for row, some in pixels]),
        )
        for row in np.flatnonzero(np.isin(scenes, tested)):
            found = forest.predict_proba(features[row])[:, -1].astype(np.float32).reshape(SIZE, SIZE)
            truth = dataset.objects(int(row)) > 0
            mask = mask_at(found, 0.5, truth.shape)
            both = np.count_nonzero(mask) + np.count_nonzero(truth)
            dice[row] = 2 * np.count_nonzero(mask & truth) / both if both else 1.0
    return dice


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic", show_default=True, help="A folder, zip or name, with masks.")
@click.option("--members", type=click.IntRange(2), default=5, show_default=True)
def main(data: str, members: int) -> None:
    """Trains the members and logs a run for each."""
    dataset = open_dataset(data)
    refuse_unlabelled(dataset, data)
    scenes = check(dataset).groups
    small = np.unique(scenes, return_counts=True)[1] <= FRACTIONS[2] * len(dataset)
    tested = small[np.unique(scenes, return_inverse=True)[1]]
    if not tested.any():
        raise UserError(
            f"{dataset.name}: each scene has more than {FRACTIONS[2]:.0%} of the images; name data with more"
        )
    sides = pd.DataFrame({"id": dataset.ids, "side": np.where(tested, "test", "train"), "group": scenes})
    ids = sides["id"][tested]
    features, foreground = described(dataset)
    mlflow.set_experiment(EXPERIMENT)
    tags = {"role": "search", "dataset": dataset.name, "dataset_digest": dataset.digest, "split_digest": "all"}
    for seed in range(members):
        dice = score_member(dataset, features, foreground, scenes, seed)[tested]
        name, setup = f"member {seed} {dataset.name}", f"member-{seed}"
        with write.run(name, tags={**tags, "setup": setup}, params={"seed": seed}):
            write.log_table(pd.DataFrame({"id": ids, "native_dice": dice}), "scores/test.csv")
            write.log_table(sides, "split.csv")
            mlflow.log_metrics({"test/native_dice": float(dice.mean()), "test/images": len(dice)})
        Console(stderr=True).print(
            f"{name}: Dice {dice.mean():.4f} on {len(dice)} images of {len(np.unique(scenes[tested]))} scenes"
        )


if __name__ == "__main__":
    main()
