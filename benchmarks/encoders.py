"""Which encoder is worth its milliseconds? Each gets the same minutes, and so its own number of steps.

    python -m benchmarks.encoders --data dsb2018 --minutes 20

Runs the setup `auto` once for every encoder whose ImageNet weights are at hand (cached, installed by the extra
`lite`, or fetched), and once without any, on one split. Prints Dice and AP_dsb on the test images with the difference
in Dice to the first, its 95 % interval and p-value over scenes, Holm's over all; logs the table to MLflow. Encoders
without weights at hand are named and left out. Each training is a run of its own there, which `compare` reads.
"""

from dataclasses import replace
from typing import Any

import click
import mlflow
import numpy as np
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.classes import train
from benchmarks.log import logged
from experiments import load_setup
from unetlab.cli.base import OneLineErrors
from unetlab.jobs import configure
from unetlab.metrics.intervals import paired_interval
from unetlab.metrics.significance import holm, paired_test
from unetlab.models.encoders import ENCODERS
from unetlab.models.weights import encoders_at_hand
from unetlab.options import Options

NONE = "none, from scratch"


def trained(encoder: str, told: Options) -> tuple[dict[str, float], pd.DataFrame]:
    """A run of `auto` that has this encoder to choose from, or none; its figures and its scores by image."""
    setup = load_setup("auto")
    known, configure.ENCODERS = configure.ENCODERS, (encoder,)
    try:
        weights = "none" if encoder == NONE else told.encoder_weights
        return train(replace(setup, name=f"auto-{encoder.split(',')[0]}"), replace(told, encoder_weights=weights))
    finally:
        configure.ENCODERS = known


def compared(found: dict[str, tuple[dict[str, float], pd.DataFrame]]) -> pd.DataFrame:
    """A row an encoder: its scores, and what it is better by than the first, over scenes."""
    first = next(iter(found.values()))[1]
    rows: list[dict[str, Any]] = []
    for name, (figures, table) in found.items():
        row = {"encoder": name, "native_dice": figures["test/native_dice"], "ap_dsb": figures["test/ap_dsb"]}
        if table is not first:
            mine, theirs = table["native_dice"].reindex(first.index), first["native_dice"]
            scenes = np.asarray(first["scene"])
            gain = paired_interval(mine, theirs, scenes)
            difference = np.asarray(mine - theirs, np.float64)[None]
            row |= {
                "gain": gain.mean,
                "low": gain.low,
                "high": gain.high,
                "p": float(paired_test(difference, scenes)[0]),
            }
        rows.append({**row, "minutes": figures["minutes"]})
    frame = pd.DataFrame(rows)
    if "p" in frame:
        frame.loc[frame["p"].notna(), "p"] = holm(frame["p"].dropna().to_numpy())
    return frame


@click.command(cls=OneLineErrors)
@click.option("--data", default="synthetic", show_default=True, help="Images with masks.")
@click.option("--minutes", type=click.FloatRange(0, min_open=True), default=20.0, show_default=True, help="Of each.")
@click.option("--seed", type=int, default=0, show_default=True, help="Of split, weights and augmentation.")
@click.option("--encoder-weights", default="imagenet", show_default=True, help="Or a file of MobileNetV2's alone.")
def main(data: str, minutes: float, seed: int, encoder_weights: str) -> None:
    """Prints a table and logs it to MLflow."""
    console = Console(width=120)
    at_hand = encoders_at_hand(ENCODERS) if encoder_weights == "imagenet" else ("mobilenetv2",)
    missing = [name for name in ENCODERS if name not in at_hand]
    if missing:
        console.print(f"left out, since their ImageNet weights are not at hand: {', '.join(missing)}")
    told = Options(data=data, minutes=minutes, seed=seed, models="best", encoder_weights=encoder_weights)
    frame = compared({name: trained(name, told) for name in (*at_hand, NONE)})
    shown = Table(*frame.columns, title=f"auto on {data}, {minutes:g} minutes each")
    for row in frame.itertuples(index=False):
        texts = (f"{value:.4f}" if isinstance(value, float) else str(value) for value in row)
        shown.add_row(*("" if text == "nan" else text for text in texts))
    console.print(shown)
    with logged("encoders"):
        mlflow.log_params({"data": data, "minutes": minutes, "seed": seed})
        mlflow.log_text(frame.to_csv(index=False), "encoders.csv")


if __name__ == "__main__":
    main()
