"""The commands that compare: compare, showdown, reproduce."""

from pathlib import Path
from typing import Any

import click

from unetlab.cli import quiet
from unetlab.cli.base import command
from unetlab.cli.train import stalls
from unetlab.options import JOBS, Options
from unetlab.options import command as repeating


@command("compare", "--experiment unetlab --out report")
def compare(runs: str, experiment: str, filter: str, out: Path | None) -> None:
    """Compare finished runs image by image: which is better, by how much, and how sure that is.

    Runs of different data or splits are refused. The report is logged to MLflow as a run of role comparison.
    """
    from rich.console import Console

    from unetlab.comparison import report
    from unetlab.comparison.compare import compare as compared

    ids = [each.strip() for each in runs.split(",") if each.strip()]
    if out is not None:
        report.make_folder(out)
    found = compared(ids, experiment or None, filter or None)
    Console().print(report.table(found))
    run_id = report.log(found)
    click.echo(f"report: runs:/{run_id}/report.html; in the UI, the artifacts of run {run_id}")
    if out is not None:
        click.echo(f"written to {report.write(found, out)}")


@command("showdown", "--setups nuclei,nuclei-scratch --data dsb2018 --trials 6 --repeats 5")
def showdown(setups: str, repeats: int, **values: Any) -> None:
    """Run setups on one data set with the same splits and budget, then compare them. The same command resumes.

    With data=synthetic all have the twin of nuclei. Give minutes and many trials for searches of the same length; auto
    divides its minutes by itself.
    """
    from experiments import load_setup, setups_named
    from unetlab.jobs.early import refuse_missing, refuse_numbers

    named, told = setups_named(setups), Options(**values)
    refuse_missing(told.data)  # before TensorFlow, which takes seconds
    for name in named:
        refuse_numbers(load_setup(name), told)
    quiet.import_tensorflow()
    from rich.console import Console

    from unetlab.comparison import report
    from unetlab.jobs.interrupt import interruptible
    from unetlab.jobs.showdown import Plan
    from unetlab.jobs.showdown import showdown as run

    plan = Plan(named, told, repeats)
    with interruptible(plan.command() + stalls(plan.told.stall)):
        comparison, run_id = run(plan)
    Console().print(report.table(comparison))
    click.echo(f"report: runs:/{run_id}/report.html; in the UI, the artifacts of run {run_id}")


@command("reproduce", "--nuclei dsb2018 --sections isbi2012")
def reproduce(nuclei: str, kitchen: str, sections: str, latex: str, **values: Any) -> None:
    """Run all five setups as published and print one table: the published figure, ours, its interval, minutes.

    Public data that cannot be had are replaced by the built-in twin, and the table says so. Hours on two cores.
    """
    from unetlab.data.dataset import refuse_missing

    for choice in (nuclei, kitchen, sections, latex):
        if choice != "auto":
            refuse_missing(choice)  # before TensorFlow, which takes seconds
    quiet.import_tensorflow()
    from rich.console import Console

    from unetlab.jobs.interrupt import interruptible
    from unetlab.jobs.reproduce import reproduce as run
    from unetlab.jobs.reproduce import terminal_table

    data = {"nuclei": nuclei, "nuclei-scratch": nuclei, "latex": latex, "pseudo-label": kitchen, "drosophila": sections}
    told = {"nuclei": nuclei, "kitchen": kitchen, "sections": sections, "latex": latex, **values}
    with interruptible(repeating("reproduce", JOBS["reproduce"], told)):
        table = run(data, **values)
    Console().print(terminal_table(table))
