"""Does `precision=auto` take the faster format, and what does it cost to find out?

    python -m benchmarks.precision

For the networks of the setups: what auto measures in its three seconds and chooses, then, on models that were built and
traced anew, many more steps of whole batches in both formats, in turn so that what else the machine does slows both.
The last column is the better format's time over the chosen one's by that second look: 1 where auto chose well, and it
is to stay above 0.95. With ONEDNN_MAX_CPU_ISA=AVX2 the processor does as one without bfloat16 would.
"""

import os
from typing import Any

import click
import mlflow
import pandas as pd
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from benchmarks.stand_in import weights_for
from experiments import load_setup
from unetlab.cli.base import OneLineErrors
from unetlab.models import NETWORKS
from unetlab.setup import Recipe
from unetlab.training import pace

SCRATCH = Recipe(image_size=128, channels=1, epochs=1, batch_size=32, model={"filters": 64, "depth": 4})
CASES = {
    "nuclei, frozen encoder": ("mobilenet", load_setup("nuclei").recipe),
    "auto, encoder learns": ("pretrained", load_setup("auto").recipe),
    "auto, EfficientNet-Lite0": ("pretrained", load_setup("auto").recipe.changed({"encoder": "efficientnet-lite0"})),
    "nuclei-scratch": (load_setup("nuclei-scratch").network, load_setup("nuclei-scratch").recipe),
    "64 filters": ("scratch", SCRATCH),
    "16 filters, 512x512": ("scratch", SCRATCH.changed({"image_size": 512, "batch_size": 2, "filters": 16})),
    "2 filters, 32x32": ("scratch", SCRATCH.changed({"image_size": 32, "batch_size": 4, "filters": 2, "depth": 2})),
}


def looked_at_twice(network: str, recipe: Recipe, steps: int) -> dict[str, Any]:
    """What auto measures and chooses, and the same by `steps` more steps of each format."""
    build = NETWORKS[network].build
    weights = weights_for(network, recipe.model.get("encoder", "mobilenetv2"))
    chosen = pace.measure(build, recipe, weights)
    budget, rounds, pace.BUDGET, pace.ROUNDS = pace.BUDGET, pace.ROUNDS, float("inf"), steps
    try:
        again = pace.measure(build, recipe, weights)
    finally:
        pace.BUDGET, pace.ROUNDS = budget, rounds
    times = {"float32": again.float32, "bfloat16": again.bfloat16}
    return {
        "chosen": chosen.precision,
        "float32": chosen.float32 / chosen.batch,
        "bfloat16": chosen.bfloat16 / chosen.batch,
        "batch": chosen.batch,
        "traced": chosen.traced,
        "measured": chosen.measured,
        "float32 again": again.float32 / again.batch,
        "bfloat16 again": again.bfloat16 / again.batch,
        "share": min(times.values()) / times[chosen.precision],
    }


@click.command(cls=OneLineErrors)
@click.option("--steps", type=click.IntRange(2), default=10, show_default=True, help="Of the second look.")
@click.option("--only", default="", help="Cases whose name holds this.")
def main(steps: int, only: str) -> None:
    """Prints a table and logs it to MLflow."""
    rows: list[dict[str, Any]] = [
        {"network": name, **looked_at_twice(network, recipe, steps)}
        for name, (network, recipe) in CASES.items()
        if only in name
    ]
    table = Table("network", "auto", "ms an image f32, bf16", "batch", "traced s", "measured s", "again", "share")
    for row in rows:
        first, second = (f"{1000 * row['float32' + k]:.2f}, {1000 * row['bfloat16' + k]:.2f}" for k in ("", " again"))
        seconds = (f"{row[k]:.1f}" for k in ("traced", "measured"))
        table.add_row(row["network"], row["chosen"], first, str(row["batch"]), *seconds, second, f"{row['share']:.2f}")
    Console().print(table)
    with logged("precision"):
        mlflow.log_params({"steps": steps, "isa": os.environ.get("ONEDNN_MAX_CPU_ISA", "")})
        mlflow.log_text(pd.DataFrame(rows).to_csv(index=False), "precision.csv")


if __name__ == "__main__":
    main()
