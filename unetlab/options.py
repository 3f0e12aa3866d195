"""What every setup can be told; the names are those of the MLproject parameters, the command line checks the values."""

from dataclasses import dataclass

TUNERS = ("random", "bayesian", "hyperband", "grid")
PRECISIONS = ("auto", "float32", "bfloat16")
SPLITS = ("random", "blocks")
THRESHOLDS = ("recipe", "validation")
LABELS = ("masks", "otsu", "kmeans", "felzenszwalb", "slic", "walker", "consensus")

BUDGET = (
    *("trials", "tuner", "epochs", "minutes", "labels", "rounds"),
    *("encoder_weights", "precision", "split", "view", "threshold"),
)
"""Params that say how long a setup was given, what it learnt from and how: what repeats of it must have in common."""


@dataclass(frozen=True)
class Options:
    """Parameters shared by all setups.

    Args:
        data: a folder or zip, a named data set, or "synthetic".
        trials: how many trials the search runs, at least 1; with 1 the published recipe is the only training.
        tuner: one of TUNERS.
        epochs: of every training; 0 leaves the recipe's own.
        seed: of twin, split, search, weights and augmentation, at least 0.
        precision: one of PRECISIONS.
        encoder_weights: "auto", "imagenet", "none" or the path of a weights file.
        models: "all" logs every trial's model, "best" only the final one and those of self-training rounds.
        register: whether the final model becomes `unetlab-<setup>`, alias champion.
        split: "random", stratified by modality, or "blocks" of neighbouring sections with a gap between them.
        labels: "masks" learns the given masks; else the label maker, one of LABELS, whose labels are learnt instead.
        rounds: self-training rounds after training on made labels.
        minutes: no trial begins after so many minutes of a search, and no training lasts longer; 0 for no limit.
        twin_seed: of a built-in twin; None for `seed`.
        threshold: of the final model: "recipe" serves the recipe's own, "validation" the one that is best on the
            validation images, by Dice or, for membranes, by V_rand.
    """

    data: str
    trials: int
    tuner: str = "random"
    epochs: int = 0
    seed: int = 0
    precision: str = "auto"
    encoder_weights: str = "auto"
    models: str = "all"
    register: bool = False
    split: str = "random"
    labels: str = "masks"
    rounds: int = 0
    minutes: float = 0.0
    twin_seed: int | None = None
    threshold: str = "recipe"
