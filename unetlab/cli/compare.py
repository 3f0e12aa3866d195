"""The commands that compare: compare, showdown, reproduce."""

from pathlib import Path

import click

from unetlab.cli import quiet
from unetlab.comparison import report
from unetlab.options import PRECISIONS, SPLITS, TUNERS

DATA_HELP = "A folder, zip or name as every setup takes it."


@click.command()
@click.option("--runs", default="", help="Ids of finished setup runs, with commas between; else a whole experiment.")
@click.option("--experiment", default="", help="Name or id; by default MLFLOW_EXPERIMENT_NAME or unetlab.")
@click.option("--filter", "where", default="", help="MLflow filter on its runs, such as \"tags.dataset = 'dsb2018'\".")
@click.option("--out", default="", help="Folder for report.html, ranking.csv and pairs.csv, besides MLflow.")
def compare(runs: str, experiment: str, where: str, out: str) -> None:
    """Compare finished runs image by image: which is better, by how much, and how sure that is.

    Runs of different data or splits are refused. The report is logged to MLflow as a run of role comparison.
    """
    from rich.console import Console

    from unetlab.comparison.compare import compare as compared

    ids = [each.strip() for each in runs.split(",") if each.strip()]
    found = compared(ids, experiment or None, where or None)
    Console().print(report.table(found))
    run_id = report.log(found)
    click.echo(f"report: runs:/{run_id}/report.html; in the UI, the artifacts of run {run_id}")
    if out:
        click.echo(f"written to {report.write(found, Path(out))}")


@click.command()
@click.option("--setups", default="nuclei,nuclei-scratch", show_default=True, help="Names with commas, or all.")
@click.option("--data", default="synthetic", show_default=True, help=f"{DATA_HELP} synthetic: the nuclei twin.")
@click.option("--trials", type=click.IntRange(min=1), default=1, show_default=True, help="Of each search.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0),
    default=0.0,
    show_default=True,
    help="After which no trial of a search begins; also the most for one training. The first trial always runs, and "
    "the final training comes on top. 0: no limit.",
)
@click.option("--epochs", type=click.IntRange(min=0), default=0, show_default=True, help="0: as published.")
@click.option("--repeats", type=click.IntRange(1, 50), default=3, show_default=True, help="Different splits.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, help="Of the first split.")
@click.option("--tuner", type=click.Choice(TUNERS), default="random", show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--encoder-weights", "--encoder_weights", "encoder_weights", default="auto", show_default=True)
@click.option("--models", type=click.Choice(("all", "best")), default="best", show_default=True, help="Models kept.")
@click.option("--split", type=click.Choice(SPLITS), default="random", show_default=True)
def showdown(setups: str, **values: object) -> None:
    """Run setups on one data set with the same splits and budget, then compare them. The same command resumes."""
    quiet.import_tensorflow()
    from rich.console import Console

    from unetlab.jobs.showdown import Plan, setups_named
    from unetlab.jobs.showdown import showdown as run

    comparison, run_id = run(Plan(setups_named(setups), **values))  # type: ignore[arg-type]
    Console().print(report.table(comparison))
    click.echo(f"report: runs:/{run_id}/report.html; in the UI, the artifacts of run {run_id}")


@click.command()
@click.option("--nuclei", default="auto", show_default=True, help="Data of both nuclei setups. auto: dsb2018.")
@click.option("--kitchen", default="auto", show_default=True, help="Data of pseudo-label. auto: kitchen.")
@click.option("--sections", default="auto", show_default=True, help="Data of drosophila. auto: isbi2012.")
@click.option("--latex", default="auto", show_default=True, help="Data of latex. auto: its twin.")
@click.option("--epochs", type=click.IntRange(min=0), default=0, show_default=True, help="0: as published.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--precision", type=click.Choice(PRECISIONS), default="auto", show_default=True)
@click.option("--encoder-weights", "--encoder_weights", "encoder_weights", default="auto", show_default=True)
def reproduce(nuclei: str, kitchen: str, sections: str, latex: str, **values: object) -> None:
    """Run all five setups as published and print one table: the published figure, ours, its interval, minutes.

    Public data that cannot be had are replaced by the built-in twin, and the table says so. Hours on two cores.
    """
    quiet.import_tensorflow()
    from rich.console import Console

    from unetlab.jobs.reproduce import reproduce as run
    from unetlab.jobs.reproduce import terminal_table

    data = {"nuclei": nuclei, "nuclei-scratch": nuclei, "latex": latex, "pseudo-label": kitchen, "drosophila": sections}
    Console().print(terminal_table(run(data, **values)))  # type: ignore[arg-type]
