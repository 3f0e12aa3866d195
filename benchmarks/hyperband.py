"""What does Hyperband gain by going on with promoted trials, and by losing none to trials that fail?

    python -m benchmarks.hyperband --failing 0.2

Nothing is trained: a trial's score is drawn, and the epochs that would be trained are counted, over several seeds. For
schedules of several lengths it prints the epochs that a search takes if each promoted trial begins anew and if it goes
on, and how many trials reach the last rung with KerasTuner's promotions and with ours where a share of trials fails.
"""

import logging
import statistics
from collections.abc import Iterator

import click
import keras_tuner
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from unetlab.cli.base import OneLineErrors
from unetlab.search import keras_tuner as searches
from unetlab.search.hyperband import Hyperband
from unetlab.search.rung import Rung


class Theirs(Hyperband):
    """KerasTuner's own promotions."""

    def _promoted(self, trial_id: str) -> None:
        return None


def rungs(oracle: type[Hyperband], epochs: int, trials: int, seed: int, failing: float) -> Iterator[tuple[Rung, bool]]:
    """The rung of each trial but the reference, and whether it was completed."""
    space = keras_tuner.HyperParameters()
    space.Float("x", 0.0, 1.0)
    seen: list[tuple[Rung, bool]] = []

    def evaluate(number: int, values: object, rung: Rung | None) -> float:
        rng = np.random.default_rng([seed, number])
        failed = rung is not None and rng.random() < failing
        if rung is not None:
            seen.append((rung, not failed))
        if failed:
            raise RuntimeError("out of luck")
        return float(rng.random())

    ours, searches.Hyperband = searches.Hyperband, oracle  # type: ignore[misc]
    try:
        searches.search(space, evaluate, tuner="hyperband", trials=trials, epochs=epochs, seed=seed)
    finally:
        searches.Hyperband = ours  # type: ignore[misc]
    yield from seen


def counted(epochs: int, trials: int, seeds: int, failing: float) -> dict[str, float]:
    """Medians over seeds."""
    anew, going_on = [], []
    full: dict[str, list[int]] = {"theirs": [], "ours": []}
    for seed in range(seeds):
        whole = [rung for rung, _ in rungs(Hyperband, epochs, trials, seed, 0.0)]
        before = {None: 0} | {number: rung.epochs for number, rung in enumerate(whole, 1)}
        anew.append(sum(rung.epochs for rung in whole))
        going_on.append(sum(rung.epochs - before[rung.past] for rung in whole))
        for name, oracle in (("theirs", Theirs), ("ours", Hyperband)):
            done = rungs(oracle, epochs, trials, seed, failing)
            full[name].append(sum(completed and rung.epochs == epochs for rung, completed in done))
    return {
        "epochs": epochs,
        "trials": trials,
        "anew": statistics.median(anew),
        "going on": statistics.median(going_on),
        "less": 1 - statistics.median(b / a for a, b in zip(anew, going_on, strict=True)),
        "in full, KerasTuner": statistics.mean(full["theirs"]),
        "in full, ours": statistics.mean(full["ours"]),
    }


@click.command(cls=OneLineErrors)
@click.option("--failing", type=click.FloatRange(0, 1), default=0.2, show_default=True, help="Share of trials.")
@click.option("--seeds", type=click.IntRange(1), default=5, show_default=True)
def main(failing: float, seeds: int) -> None:
    """Prints a table and logs it to MLflow."""
    logging.getLogger("unetlab.search.keras_tuner").setLevel(logging.ERROR)  # trials are to fail
    rows = [counted(epochs, trials, seeds, failing) for epochs, trials in ((9, 30), (10, 30), (30, 60), (81, 150))]
    table = Table(*rows[0], title=f"epochs that a Hyperband search trains; trials in full where {failing:.0%} fail")
    for row in rows:
        table.add_row(*(f"{value:.0%}" if name == "less" else f"{value:.3g}" for name, value in row.items()))
    Console().print(table)
    with logged("hyperband"):
        mlflow.log_params({"failing": failing, "seeds": seeds})
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "hyperband.csv")


if __name__ == "__main__":
    main()
