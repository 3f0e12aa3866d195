"""How often `compare` calls equal models different, and what differences it can see.

    python -m benchmarks.false_alarms --experiment unetlab

Takes the per-image Dice of runs that share a split from an MLflow experiment, and makes equal models of them: at each
simulated test image, drawn with replacement, the scores of the members are dealt out anew, so that none is better.
A test at 5 % should then call a pair different in 5 % of all comparisons, and with Holm's correction no more than 5 %
of groups of five should hold a pair that is called different. For power one member of a pair is made better by 1, 2 or
5 points of Dice on every image. For coverage images are drawn from the pair as it is: its own mean difference is then
the truth the interval should hold in 95 %.

Where the experiment has no two runs of one split (for the groups: no five), scores are simulated: most images near
0.92, a tail of hard ones, one in fifty a failure of everybody, and members that differ by 0.03 an image, more where
an image is hard. That is the shape of two U-Nets on Data Science Bowl nuclei.

Takes half a minute. Prints tables, and logs them with a plot to MLflow.
"""

import itertools
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

import click
import mlflow
import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from rich.console import Console
from rich.table import Table
from scipy import stats

from unetlab.cli.base import OneLineErrors
from unetlab.metrics.significance import bootstrap_interval, holm, sign_flip_test
from unetlab.tracking.read import find, score_arrays

IMAGES = (20, 67, 150)
POINTS = (1, 2, 5)
MEMBERS = 5
METRIC = "native_dice"

Draw = Callable[[np.random.Generator, int, int, int], np.ndarray]
"""(generator, comparisons, members, images) -> float64 (comparisons, members, images), members not yet permuted."""


def simulated(rng: np.random.Generator, comparisons: int, members: int, images: int) -> np.ndarray:
    """Dice shaped like that of U-Nets on nuclei, as the module's docstring says."""
    difficulty = rng.gamma(1.1, 0.06, (comparisons, 1, images)) + 0.015
    noise = 0.2 * difficulty * rng.standard_t(4, (comparisons, members, images))
    dice = np.clip(1 - difficulty + noise, 0, 1)
    failed = rng.random((comparisons, 1, images)) < 0.02
    return np.where(failed, 0.02 * rng.random(dice.shape), dice)


def drawn_from(tables: list[np.ndarray]) -> Draw:
    """Draws members of one table, float64 (runs, images), and images of it with replacement."""

    def draw(rng: np.random.Generator, comparisons: int, members: int, images: int) -> np.ndarray:
        groups = [table[list(g)] for table in tables for g in itertools.combinations(range(len(table)), members)]
        chosen = rng.integers(len(groups), size=comparisons)
        found = [groups[k][:, rng.integers(groups[k].shape[1], size=images)] for k in chosen]
        return np.stack(found)

    return draw


def real_tables(experiment: str | None) -> list[np.ndarray]:
    """Per-image Dice, float64 (runs, images), of the runs that share a split; empty without such runs."""
    if experiment is None:
        return []
    by_split = defaultdict(list)
    for record in find(experiment=experiment):
        by_split[record.tags.get("dataset_digest"), record.tags.get("split_digest")].append(record)
    groups = [group for group in by_split.values() if len(group) > 1]
    return [score_arrays(group, [METRIC])[1][METRIC] for group in groups]


def false_alarms(draw: Draw, n: int, comparisons: int, seed: int) -> float:
    """Share of pairs of equal models called different at 5 %."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(draw(rng, comparisons, 2, n), axis=1)
    return float((sign_flip_test(scores[:, 0] - scores[:, 1]) < 0.05).mean())


def family_alarms(draw: Draw, n: int, comparisons: int, seed: int) -> float:
    """Share of groups of five equal models in which some pair is called different after Holm's correction."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(draw(rng, comparisons, MEMBERS, n), axis=1)
    a, b = np.triu_indices(MEMBERS, 1)
    differences = scores[:, a] - scores[:, b]
    p = sign_flip_test(differences.reshape(-1, n)).reshape(comparisons, -1)
    return float(np.mean([holm(row).min() < 0.05 for row in p]))


def power(draw: Draw, n: int, gain: float, comparisons: int, seed: int) -> float:
    """Share of pairs in which a gain on every image is seen, and seen the right way round."""
    rng = np.random.default_rng(seed)
    scores = rng.permuted(draw(rng, comparisons, 2, n), axis=1)
    differences = scores[:, 0] - scores[:, 1] + gain
    return float(((sign_flip_test(differences) < 0.05) & (differences.mean(axis=1) > 0)).mean())


def coverage(tables: list[np.ndarray], n: int, comparisons: int, seed: int) -> float:
    """Share of 95 % intervals that hold the mean difference of the pair the images were drawn from."""
    rng = np.random.default_rng(seed)
    pairs = [table[i] - table[j] for table in tables for i, j in itertools.combinations(range(len(table)), 2)]
    chosen = rng.integers(len(pairs), size=comparisons)
    samples = np.stack([pairs[k][rng.integers(len(pairs[k]), size=n)] for k in chosen])
    truth = np.array([pairs[k].mean() for k in chosen])
    low, high = bootstrap_interval(samples)
    return float(((low <= truth) & (truth <= high)).mean())


def measure(tables: list[np.ndarray], comparisons: int, seed: int) -> pd.DataFrame:
    """One row a number of test images: the shares of all four questions."""
    pairs = drawn_from(tables) if tables else simulated
    large = [table for table in tables if len(table) >= MEMBERS]
    groups = drawn_from(large) if large else simulated
    population = tables or [simulated(np.random.default_rng(seed), 1, 2, 2000)[0]]
    rows = []
    for n in IMAGES:
        row = {
            "images": n,
            "called_different": false_alarms(pairs, n, comparisons, seed),
            "family_called_different": family_alarms(groups, n, comparisons, seed),
            "coverage": coverage(population, n, comparisons, seed),
        }
        seen = {f"power_{points}": power(pairs, n, points / 100, comparisons, seed) for points in POINTS}
        rows.append({**row, **seen})
    return pd.DataFrame(rows)


def within_bounds(table: pd.DataFrame) -> bool:
    """3 to 7 % of single pairs at 67 and 150 images, at most 8 % at 20, and at most 7 % of groups of five."""
    single = table.set_index("images")["called_different"]
    many = single[single.index >= 67]
    few = single[single.index < 67]
    return bool(
        many.between(0.03, 0.07).all() and (few <= 0.08).all() and (table["family_called_different"] <= 0.07).all()
    )


def plot(table: pd.DataFrame, comparisons: int) -> Figure:
    """False alarms with their own 95 % intervals, and power, over the number of test images."""
    figure = Figure(figsize=(10, 4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    left, right = figure.subplots(1, 2)
    x = np.arange(len(table))
    left.axhspan(3, 7, color="#2b8a57", alpha=0.15, label="3 to 7 %")
    left.axhline(5, color="#2b8a57", linewidth=1)
    series = (("called_different", "one pair", -0.08), ("family_called_different", "any of 10 pairs of five", 0.08))
    for (name, label, shift), color in zip(series, ("#1f6fb4", "#d9730d"), strict=True):
        counts = (table[name] * comparisons).round().astype(int)
        found = [stats.binomtest(k, comparisons).proportion_ci(method="wilson") for k in counts]
        share = 100 * table[name].to_numpy()
        low, high = (100 * np.array([getattr(ci, end) for ci in found]) for end in ("low", "high"))
        left.errorbar(x + shift, share, [share - low, high - share], fmt="o", color=color, capsize=3, label=label)
    left.set(title="Equal models called different", ylabel="% of comparisons", xlabel="test images", ylim=(0, 12))
    left.legend(fontsize=9)
    for points, color in zip(POINTS, ("#d9730d", "#1f6fb4", "#2b8a57"), strict=True):
        label = f"{points} point{'s' * (points > 1)} of Dice"
        right.plot(x, 100 * table[f"power_{points}"], marker="o", color=color, label=label)
    right.set(title="A real difference seen", ylabel="% of comparisons", xlabel="test images", ylim=(0, 103))
    right.legend(fontsize=9, loc="lower right")
    for axes in (left, right):
        axes.set_xticks(x, [str(n) for n in table["images"]])
        axes.grid(axis="y", alpha=0.3)
    return figure


def show(table: pd.DataFrame, source: str, console: Console) -> None:
    """For the terminal."""
    shown = Table(title=f"Out of equal models and real gains; {source}", title_justify="left")
    for heading in ("test images", "pair called different", "some pair of five", "interval holds the truth"):
        shown.add_column(heading, justify="right")
    for points in POINTS:
        shown.add_column(f"sees {points} point{'s' * (points > 1)}", justify="right")
    for row in table.itertuples(index=False):
        shown.add_row(str(int(row[0])), *(f"{value:.1%}" for value in row[1:]))
    console.print(shown)


@click.command(cls=OneLineErrors)
@click.option("--experiment", default=None, help="MLflow experiment with runs that share a split; simulated without.")
@click.option("--comparisons", type=click.IntRange(100), default=1000, show_default=True)
@click.option("--seed", type=click.IntRange(0), default=0, show_default=True)
@click.option("--plot", "picture", type=click.Path(path_type=Path), default=None, help="Also save the plot as PNG.")
def main(experiment: str | None, comparisons: int, seed: int, picture: Path | None) -> None:
    """Prints the shares of wrong and of right calls, and logs them with a plot to MLflow."""
    tables = real_tables(experiment)
    pairs = sum(len(table) * (len(table) - 1) // 2 for table in tables)
    source = f"pairs: {pairs} of experiment {experiment}" if tables else "pairs: simulated"
    source += f", groups of five: {experiment if any(len(t) >= MEMBERS for t in tables) else 'simulated'}"
    table = measure(tables, comparisons, seed)
    show(table, f"{comparisons:,} comparisons each; {source}", Console())
    figure = plot(table, comparisons)
    if picture:
        figure.savefig(picture)
    mlflow.set_experiment("unetlab-benchmarks")
    with mlflow.start_run(run_name="false alarms", tags={"role": "benchmark", "source": source}):
        mlflow.log_params({"comparisons": comparisons, "seed": seed, "experiment": experiment})
        mlflow.log_text(table.to_csv(index=False), "false_alarms.csv")
        mlflow.log_figure(figure, "false_alarms.png")
        for row in table.to_dict("records"):
            mlflow.log_metrics({k: v for k, v in row.items() if k != "images"}, step=int(row["images"]))
    if not within_bounds(table):
        raise click.ClickException("a share lies outside its bounds (3 to 7 %; 8 % at 20 images; 7 % for five)")


if __name__ == "__main__":
    main()
