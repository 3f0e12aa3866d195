"""Jobs of seconds, for whoever wants to kill them: searches, self-training, showdown, reproduce, auto.

    python -m benchmarks.small_jobs bayesian FOLDER --seed 0

Each does what its command does, in MLflow's store of the environment, on networks of two filters. Every training that
begins, or goes on, adds a line to the file `begun` in the working directory.
"""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np
from PIL import Image

from unetlab.cli import quiet
from unetlab.cli.base import OneLineErrors
from unetlab.options import Options
from unetlab.setup import Recipe, Setup

RECIPE = Recipe(
    image_size=32,
    channels=3,
    epochs=6,
    batch_size=4,
    learning_rate=1e-2,
    patience=5,
    flips="both",
    brightness=0.1,
    model={"filters": 2, "depth": 1, "dropout": 0.2},
)

TRIALS = {"bayesian": 4, "hyperband": 4}
"""Of a search, 3 for the other tuners; the fourth of bayesian is the first that its model proposes."""


def space(hp: Any, recipe: Recipe) -> None:
    """What a search varies."""
    hp.Choice("image_size", [32, 64], default=recipe.image_size)
    hp.Float("learning_rate", 1e-3, 3e-2, sampling="log", default=recipe.learning_rate)


def small(name: str) -> Setup:
    """A setup that is trained in seconds, under the name of another."""
    return Setup(name=name, network="scratch", recipe=RECIPE, space=space, published={"val_accuracy": 0.9})


def write_images(folder: Path, count: int, masks: bool = True) -> Path:
    """Simulated nuclei at half their size, images/ and, if asked for, masks/ of their objects."""
    from unetlab.data.twins import TWINS

    make = TWINS["nuclei"].jobs
    for kind in ("images", "masks") if masks else ("images",):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for job in make(0)[:count]:
        made = job()
        Image.fromarray(np.squeeze(made.image[::2, ::2])).save(folder / "images" / f"{made.id}.png")
        if masks:
            Image.fromarray(made.labels[::2, ::2].astype(np.uint16)).save(folder / "masks" / f"{made.id}.png")
    return folder


def _search(tuner: str) -> Callable[[Options], None]:
    def run(told: Options) -> None:
        from unetlab.jobs.run import run_setup

        run_setup(small("small"), replace(told, trials=TRIALS.get(tuner, 3), tuner=tuner))

    return run


def _on_workers(told: Options) -> None:
    """Two workers of Dask, always without graphs, since a worker that was killed would trace them again."""
    import tensorflow as tf

    tf.config.run_functions_eagerly(True)
    os.environ["UNETLAB_BENCHMARK_BEGUN"] = os.path.abspath("begun")  # workers and their processes inherit it
    _search("random")(replace(told, workers=2))


def _rounds(told: Options) -> None:
    from unetlab.jobs.run import run_setup

    run_setup(small("small"), replace(told, labels="otsu", rounds=2))


def _showdown(told: Options) -> None:
    from unetlab.jobs.showdown import Plan, showdown

    showdown(Plan(("nuclei", "latex"), told, 2), load=small)


def _reproduce(told: Options) -> None:
    from unetlab.jobs.reproduce import reproduce

    setups = [small(name) for name in ("nuclei", "latex", "drosophila")]
    reproduce({setup.name: told.data for setup in setups}, setups, seed=told.seed, precision=told.precision)


def _auto(told: Options) -> None:
    from experiments import load_setup
    from unetlab.jobs.run import run_setup

    # epochs are told, since those that fit the minutes depend on how fast the machine was when it was asked
    run_setup(load_setup("auto"), replace(told, minutes=30.0, epochs=3, encoder_weights="none"))


JOBS: dict[str, Callable[[Options], None]] = {
    **{tuner: _search(tuner) for tuner in ("random", "bayesian", "hyperband", "grid")},
    "workers": _on_workers,
    "rounds": _rounds,
    "showdown": _showdown,
    "reproduce": _reproduce,
    "auto": _auto,
}


def note_trainings(teller: type, path: str) -> None:
    """Has each training that a class with `start` is told of add a line to a file."""
    start = teller.start  # type: ignore[attr-defined]

    def noted(self: Any, name: str, epochs: int) -> Any:
        with open(path, "a") as out:
            out.write(f"{name}\n")
        return start(self, name, epochs)

    teller.start = noted  # type: ignore[attr-defined]


if "UNETLAB_BENCHMARK_BEGUN" in os.environ:  # beside a worker of Dask, which tells the driver of no beginning
    import tensorflow

    from unetlab.jobs import worker

    tensorflow.config.run_functions_eagerly(True)
    note_trainings(worker._Told, os.environ["UNETLAB_BENCHMARK_BEGUN"])


def run(job: str, data: str, seed: int, light: bool = False) -> None:
    """Runs a job to its end; `light` without graphs, which take longer to be made than such trainings without them."""
    import tensorflow as tf

    from unetlab.jobs.interrupt import interruptible
    from unetlab.jobs.progress import SearchProgress

    note_trainings(SearchProgress, "begun")
    tf.config.run_functions_eagerly(light)
    told = Options(data=data, seed=seed, models="best", precision="float32", groups="off")
    with interruptible(f"python -m benchmarks.small_jobs {job} {data} --seed {seed}"):
        JOBS[job](told)


@click.command(cls=OneLineErrors)
@click.argument("job", type=click.Choice(list(JOBS)))
@click.argument("data")
@click.option("--seed", type=int, default=0, show_default=True)
def main(job: str, data: str, seed: int) -> None:
    """Runs a job."""
    quiet.settle()
    quiet.import_tensorflow()
    run(job, data, seed)


if __name__ == "__main__":
    from benchmarks import small_jobs  # so that what travels to another process is found there by this name

    small_jobs.main()
