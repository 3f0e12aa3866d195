"""Which format for a model? Every format and precision whose packages there are, in one table.

    python -m benchmarks.exports --model models:/unetlab-nuclei@champion

Exports the model as `export` does, each file a run of its own, whatever it loses, and prints a row a file: size, median
milliseconds for an image at each size and the most threads, how many times as fast that is as Keras beside it, and the
Dice that is lost against Keras on the test images of the model's run, with its interval over scenes. What `export`
would refuse has a cross.
"""

from typing import Any

import click
import mlflow
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from unetlab.cli.base import OneLineErrors
from unetlab.errors import UserError
from unetlab.jobs.export import Exported, export
from unetlab.options import EXPORTS, JOBS
from unetlab.service.exports import speed

ALLOWED = next(option.default for option in JOBS["export"] if option.name == "allow_loss")


def rows(model: str, data: str, console: Console) -> list[dict[str, float | str]]:
    """A row a file, after one of Keras itself, whose times are the medians over all of its meetings with the others."""
    found: list[Exported] = []
    for name in EXPORTS:
        for precision in ("float32", "int8"):
            try:
                found.append(export(model, name, precision, data, allow_loss=1.0, console=console))
                console.print(found[-1].headline(), highlight=False, soft_wrap=True, markup=False)
            except UserError as error:
                console.print(f"left out: {error}", highlight=False, soft_wrap=True, markup=False)
    if not found:
        raise UserError(f"{model} can be exported in no format here; what is said above says why")
    times = pd.concat(each.speed for each in found)
    keras = times[times["network"] == "keras"]
    first: dict[str, float | str] = {
        "file": "Keras",
        "megabytes": found[0].figures["keras_megabytes"],
        "dice_lost": 0.0,
    }
    lines = [first | _columns(keras)]
    for each in found:
        lost = {"dice_lost": each.loss.mean, "low": each.loss.low, "high": each.loss.high, "worst": each.loss.worst}
        own, beside = (_columns(each.speed[(each.speed["network"] == "keras") == keras]) for keras in (False, True))
        faster = {f"faster_{name.removeprefix('ms_')}": beside[name] / own[name] for name in own}
        lines.append({"file": each.title, "megabytes": each.figures["megabytes"], **lost, **own, **faster})
    return lines


def _columns(times: pd.DataFrame) -> dict[str, float]:
    most = times[times["threads"] == max(times["threads"])]
    return {f"ms_{side}": float(each["p50_ms"].median()) for side, each in most.groupby("side")}


def _time(row: dict[Any, Any], name: str) -> str:
    """Milliseconds, and how many times as fast that was as Keras turn by turn with it."""
    faster = row.get(f"faster_{name.removeprefix('ms_')}", float("nan"))
    return f"{row[name]:.1f}" + (f" ({faster:.1f} x)" if faster == faster else "")


@click.command(cls=OneLineErrors)
@click.option("--model", required=True, help="models:/unetlab-nuclei@champion, models:/m-..., or a folder.")
@click.option("--data", default="", help="Where the images of its run lie now; by default where the run found them.")
def main(model: str, data: str) -> None:
    """Prints a table and logs it to MLflow."""
    found = pd.DataFrame(rows(model, data, Console(stderr=True)))
    sides = [name for name in found if name.startswith("ms_")]
    threads = max(speed.THREADS)
    shown = Table(title=f"{model}, {threads} threads")
    for heading in ("file", "MB", *(f"{name.removeprefix('ms_')} px, ms" for name in sides), "Dice lost (95 %)", ""):
        shown.add_column(heading, justify="left" if heading == "file" else "right")
    for row in found.to_dict("records"):
        lost = "" if row["file"] == "Keras" else f"{row['dice_lost']:+.4f} ({row['low']:+.4f} to {row['high']:+.4f})"
        cross = "x" if row["file"] != "Keras" and row["worst"] > ALLOWED else ""
        shown.add_row(row["file"], f"{row['megabytes']:.2f}", *(_time(row, name) for name in sides), lost, cross)
    Console().print(shown)
    with logged("exports"):
        mlflow.log_params({"model": model, "data": data})
        mlflow.log_text(found.to_csv(index=False), "exports.csv")


if __name__ == "__main__":
    main()
