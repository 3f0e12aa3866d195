"""The MLflow run that a benchmark leaves."""

import contextlib
from collections.abc import Iterator

import mlflow

EXPERIMENT = "unetlab-benchmarks"


@contextlib.contextmanager
def logged(name: str) -> Iterator[mlflow.ActiveRun]:
    """A run of that name in the experiment of benchmarks, active within the block."""
    mlflow.set_experiment(EXPERIMENT)
    with mlflow.start_run(run_name=name, tags={"role": "benchmark"}) as run:
        yield run
