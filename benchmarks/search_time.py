"""Where does the time of a search go?

    python -m benchmarks.search_time --setup nuclei --trials 12

Runs a search and prints the share of its wall time, from its first trial to its last, that was spent in training steps,
in validation after each epoch, in tracing its networks and saving their state, in tracking, and in the rest: building
networks, scoring validation, logging.
"""

from dataclasses import replace

import click
import mlflow
import pandas as pd
from mlflow.tracking import MlflowClient
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from experiments import SETUPS, load_setup
from unetlab.cli.base import OneLineErrors
from unetlab.jobs.run import run_setup
from unetlab.options import Options


def shares(experiment: str, parent: str) -> tuple[dict[str, float], pd.DataFrame]:
    """Shares of a finished search's wall time, and what was measured of each trial, in seconds."""
    found = MlflowClient().search_runs([experiment], f"tags.`mlflow.parentRunId` = '{parent}'")
    rows = []
    for run in sorted((each for each in found if "trial" in each.data.tags), key=lambda each: each.info.start_time):
        known = run.data.metrics
        fitted, steps = known.get("train/seconds", 0.0), known.get("train/step_seconds", 0.0)
        tracked = known.get("train/tracking_share", 0.0) * fitted
        # the final model's run is opened again to be scored; what that took is none of the search
        whole = known.get("train/whole_seconds", fitted)
        validated = known.get("train/validation_seconds", 0.0)
        rows.append({"began": run.info.start_time / 1000, "steps": steps, "tracking": tracked})
        rows[-1] |= {"validation": validated, "tracing, saving": fitted - steps - tracked - validated}
        rows[-1] |= {"the rest of the trial": whole - fitted}
    frame = pd.DataFrame(rows)
    each = frame.drop(columns="began").sum(axis=1)
    wall = float(frame["began"].iloc[-1] + each.iloc[-1] - frame["began"].iloc[0])
    parts = {name: float(frame[name].sum()) / wall for name in frame.columns if name != "began"}
    parts["between trials"] = 1 - sum(parts.values())
    return {**parts, "wall seconds": wall}, frame


@click.command(cls=OneLineErrors)
@click.option("--setup", "name", type=click.Choice(list(SETUPS)), default="nuclei-scratch", show_default=True)
@click.option("--data", default="synthetic", show_default=True, help="As the setup takes it.")
@click.option("--trials", type=click.IntRange(2), default=12, show_default=True)
@click.option("--epochs", type=click.IntRange(0), default=0, show_default=True, help="0: the setup's own.")
@click.option("--models", type=click.Choice(["all", "best"]), default="best", show_default=True)
@click.option("--encoder-weights", default="auto", show_default=True)
def main(name: str, data: str, trials: int, epochs: int, models: str, encoder_weights: str) -> None:
    """Prints a table and logs it to MLflow."""
    told = Options(data=data, trials=trials, epochs=epochs, models=models, fresh=True)
    summary = run_setup(load_setup(name), replace(told, encoder_weights=encoder_weights))
    parts, frame = shares(summary.experiment_id, summary.run_id)
    table = Table(
        "what", "share", title=f"{name}, {trials} trials, {parts['wall seconds']:.0f} s", title_justify="left"
    )
    for what, share in parts.items():
        if what != "wall seconds":
            table.add_row(what, f"{share:.1%}")
    Console().print(table)
    with logged("search time"):
        mlflow.log_params({"setup": name, "data": data, "trials": trials, "epochs": epochs, "models": models})
        mlflow.log_metrics({f"share/{what.replace(' ', '_').replace(',', '')}": each for what, each in parts.items()})
        mlflow.log_text(frame.to_csv(index=False), "trials.csv")


if __name__ == "__main__":
    main()
