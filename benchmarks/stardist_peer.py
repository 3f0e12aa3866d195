"""StarDist (Schmidt et al. 2018, https://arxiv.org/abs/1806.03535) trained as its own 2D example configures it.

For `benchmarks.stardist`, which runs it by an interpreter that has the package; nothing of unetlab is imported here.

The example: 32 rays on a grid of 2x2, channels normalised to their percentiles 1 and 99.8, each by itself; patches of
256x256 in batches of 4, epochs of 100 steps, at most 400 of them, Adam at 3e-4, halved where validation stands still
for 40 epochs; flips, quarter turns, intensities times 0.6 to 2 and moved by up to 0.2, noise; thresholds chosen on
validation. Training ends with the epoch in which the minutes do.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("TF_USE_LEGACY_KERAS", "1")  # StarDist is written for Keras 2

import numpy as np  # noqa: E402
import tifffile  # noqa: E402

PATCH = 256


def read(folder: Path, side: str) -> tuple[list[str], list[np.ndarray], list[np.ndarray]]:
    """Names, normalised images float32 (h, w, c), and label images of a side."""
    from csbdeep.utils import normalize
    from stardist import fill_label_holes

    paths = sorted((folder / side / "images").glob("*.tif"))
    images = [normalize(tifffile.imread(path), 1, 99.8, axis=(0, 1)) for path in paths]
    truths = [fill_label_holes(tifffile.imread(folder / side / "labels" / path.name)) for path in paths]
    return [path.name for path in paths], images, truths


def at_least_a_patch(image: np.ndarray) -> np.ndarray:
    """An image or label image, mirrored to PATCH a side where it is smaller."""
    grown = [(0, max(0, PATCH - side)) for side in image.shape[:2]]
    return np.pad(image, [*grown, *[(0, 0)] * (image.ndim - 2)], mode="symmetric")


def augmented(image: np.ndarray, labels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Turned, mirrored, brighter or darker, with noise."""
    turns, mirrored = np.random.randint(4), np.random.randint(2)
    image, labels = (np.rot90(each, turns, (0, 1)) for each in (image, labels))
    if mirrored:
        image, labels = image[:, ::-1], labels[:, ::-1]
    image = image * np.random.uniform(0.6, 2) + np.random.uniform(-0.2, 0.2)
    return image + 0.02 * np.random.uniform(0, 1) * np.random.normal(0, 1, image.shape), labels


def main(folder: Path, minutes: float, seed: int) -> None:
    """Trains on folder/train, chooses on folder/validation, and writes label images of folder/test to folder/found."""
    from csbdeep.utils.tf import keras_import
    from stardist.models import Config2D, StarDist2D

    callbacks = keras_import("callbacks")
    np.random.seed(seed)
    _, images, truths = read(folder, "train")
    _, held, held_truths = read(folder, "validation")
    config = Config2D(n_rays=32, grid=(2, 2), n_channel_in=images[0].shape[-1], train_tensorboard=False)
    model = StarDist2D(config, name="stardist", basedir=str(folder))
    model.prepare_for_training()
    end = time.perf_counter() + 60 * minutes

    class Stop(callbacks.Callback):  # type: ignore[misc, name-defined]
        def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
            self.model.stop_training = time.perf_counter() > end

    model.callbacks.append(Stop())
    padded = ([at_least_a_patch(each) for each in every] for every in (images, truths, held, held_truths))
    x, y, x_held, y_held = padded
    history = model.train(x, y, validation_data=(x_held, y_held), augmenter=augmented, seed=seed)
    model.optimize_thresholds(held, held_truths)
    (folder / "found").mkdir()
    names, tested, _ = read(folder, "test")
    for name, image in zip(names, tested, strict=True):
        labels, _ = model.predict_instances(image)
        tifffile.imwrite(folder / "found" / name, labels.astype(np.int32), photometric="minisblack")
    print(f"{len(history.epoch)} epochs of {config.train_steps_per_epoch} steps")


if __name__ == "__main__":
    main(Path(sys.argv[1]), float(sys.argv[2]), int(sys.argv[3]))
