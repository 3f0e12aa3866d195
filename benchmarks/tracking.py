"""What does tracking cost at the end of an epoch, and of a training's time?

    python -m benchmarks.tracking --epochs 40

Logs epochs of nine metrics to MLflow, as training does, while this process computes on one core in between, as steps of
training would. Prints how long an epoch's end waits (the median, the slowest, and how often more than 50 ms), and how
much slower the same work is with tracking than without, in turn.
"""

import statistics
import time

import click
import mlflow
import numpy as np
from rich.console import Console

from benchmarks.log import EXPERIMENT, logged
from unetlab.cli.base import OneLineErrors
from unetlab.tracking.epochs import EpochLogger

NAMES = ("loss", "accuracy", "dice", "val_loss", "val_accuracy", "val_dice", "learning_rate", "seconds", "other")


def worked(rounds: int) -> float:
    """Seconds of so many rounds of the work that stands for an epoch."""
    started, matrix = time.perf_counter(), np.full((400, 400), 0.5, np.float32)
    for _ in range(rounds):
        matrix @ matrix
    return time.perf_counter() - started


def measured(epochs: int, rounds: int) -> tuple[list[float], float, float]:
    """Seconds that each epoch's end waited, and those of all epochs with and without tracking."""
    waits, tracked, plain = [], 0.0, 0.0
    with mlflow.start_run(run_name="tracked", tags={"role": "benchmark"}) as run:
        logger = EpochLogger(run.info.run_id)
        for epoch in range(epochs):
            began = time.perf_counter()
            worked(rounds)
            before = time.perf_counter()
            logger.on_epoch_end(epoch, {name: 0.5 for name in NAMES})
            waits.append(time.perf_counter() - before)
            tracked += time.perf_counter() - began
            time.sleep(0.05)  # what is sent meanwhile must not slow the other
        before = time.perf_counter()
        logger.close()
        tracked += time.perf_counter() - before
        for _ in range(epochs):
            plain += worked(rounds)
    return waits, tracked, plain


@click.command(cls=OneLineErrors)
@click.option("--epochs", type=click.IntRange(2), default=40, show_default=True)
@click.option("--seconds", type=click.FloatRange(0.1), default=1.0, show_default=True, help="Of an epoch.")
@click.option("--repeats", type=click.IntRange(1), default=5, show_default=True)
def main(epochs: int, seconds: float, repeats: int) -> None:
    """Prints what it found and logs it to MLflow."""
    mlflow.set_experiment(EXPERIMENT)
    rounds = max(1, int(seconds / (worked(50) / 50)))
    found = [measured(max(2, epochs // repeats), rounds) for _ in range(repeats)]
    waits = [wait for each, _, _ in found for wait in each]
    shares = sorted(tracked / plain - 1 for _, tracked, plain in found)
    figures = {
        "ms/median": 1000 * statistics.median(waits),
        "ms/slowest": 1000 * max(waits),
        "above_50_ms": sum(wait > 0.05 for wait in waits),
        "share/waits": sum(waits) / sum(tracked for _, tracked, _ in found),
        "share/slower": statistics.median(shares),
    }
    Console().print(
        f"an epoch's end waits {figures['ms/median']:.2f} ms, {figures['ms/slowest']:.2f} at most, "
        f"{figures['above_50_ms']} of {len(waits)} more than 50: {figures['share/waits']:.2%} of the time; training is "
        f"{figures['share/slower']:.2%} slower, {shares[0]:.2%} to {shares[-1]:.2%} in {repeats} repeats",
        highlight=False,
    )
    with logged("tracking"):
        mlflow.log_params({"epochs": epochs, "seconds": seconds, "repeats": repeats})
        mlflow.log_metrics(figures)


if __name__ == "__main__":
    main()
