"""What all trainings of a search share."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from unetlab.data import Dataset
from unetlab.data.split import Split
from unetlab.jobs.progress import SearchProgress
from unetlab.jobs.resume import Kept
from unetlab.metrics import membranes
from unetlab.metrics.baselines import Rivals
from unetlab.setup import Setup
from unetlab.tracking import write


@dataclass(frozen=True)
class Bench:
    """What all trainings of a search share.

    Args:
        setup: the setup.
        dataset: the images, and the masks that are learnt.
        truth: the same images with the masks the final model is scored against; `dataset` itself, unless labels were
            made for training.
        split: the sides.
        seed: of weights, shuffling and augmentation.
        precision: "float32" or "bfloat16".
        weights: of the encoder, as the model builder takes them.
        models: "all" logs every trial's model, "best" the final one only.
        progress: bars and lines on the terminal.
        minutes: of each training at most; 0 for no limit.
        rivals: that the final model meets.
        threshold: "recipe" or "validation", as `Options` has it.
        scenes: int (n,), the scene of each image, None for each its own.
        made: whether labels were made for training: those do not part objects that touch.
        against: what the final model is scored against: "masks", or "labels by" who made them.
        channels: of the files that make an image, as it was asked for.
        kept: what earlier attempts left, and where this one saves what a next would want.
    """

    setup: Setup
    dataset: Dataset
    truth: Dataset
    split: Split
    seed: int
    precision: str
    weights: str | None
    models: str
    progress: SearchProgress
    minutes: float = 0.0
    rivals: Rivals = Rivals()
    threshold: str = "recipe"
    scenes: np.ndarray | None = None
    made: bool = False
    against: str = "masks"
    channels: str = ""
    kept: Kept = Kept()

    @property
    def test_scenes(self) -> np.ndarray | None:
        """The scene of each test image, in the order of the split."""
        return None if self.scenes is None else self.scenes[self.split.test]

    @property
    def classes(self) -> tuple[str, ...]:
        """Names of the foreground classes that are told apart; none where one mask is learnt."""
        return self.dataset.classes[1:] if self.dataset.learnt_classes else ()

    @property
    def objective(self) -> str:
        """The validation score that a search maximises: V_rand for membranes, where all inside has a high Dice."""
        return membranes.SCORES[0] if self.setup.membranes else "native_dice"

    def tags(self, role: str) -> dict[str, str]:
        """The tags every run carries."""
        return {
            "setup": self.setup.name,
            "role": role,
            "dataset": self.truth.name,
            "dataset_digest": self.truth.digest,
            "split_digest": self.split.digest,
            "ranked_by": self.objective,
            **({"classes": ", ".join(self.classes)} if self.classes else {}),
            **self.rivals.tags(),
        }

    def inputs(self) -> dict[str, Any]:
        """MLflow's description of each side of the split."""
        sides = {"train": self.split.train, "validation": self.split.validation, "test": self.split.test}
        return {
            side: write.split_input(self.truth.name, self.truth.digest, side, len(rows), self.split.digest)
            for side, rows in sides.items()
        }
