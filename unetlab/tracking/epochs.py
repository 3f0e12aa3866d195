"""Each epoch's metrics on their way to MLflow."""

import math
import time
from typing import Any

import keras
import pandas as pd
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

from unetlab.tracking.outbox import Outbox


class EpochLogger(keras.callbacks.Callback):
    """Writes each epoch's metrics to MLflow as `epoch/...`, step = epoch, by way of an outbox on disk.

    Epochs that the run has already are not written again: a training that goes on repeats those after its last saved
    state.

    Args:
        run_id: the run they belong to.
        again: whether the run was begun before.
        validated: False leaves out what begins with val_, where images were learnt that it would be of.
    """

    def __init__(self, run_id: str, again: bool = False, validated: bool = True) -> None:
        super().__init__()
        self.validated = validated
        there = MlflowClient().get_metric_history(run_id, "epoch/loss") if again else []
        self.outbox = Outbox(run_id)  # last, since what fails here would leave it locked
        self.known = {metric.step for metric in (*there, *self.outbox.waiting)}
        self.seconds = 0.0
        self.unsent = 0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        if epoch + 1 in self.known:
            return
        self.known.add(epoch + 1)
        started, now = time.perf_counter(), int(time.time() * 1000)
        self.outbox.put(
            [
                Metric(f"epoch/{name}", float(value), now, epoch + 1)
                for name, value in (logs or {}).items()
                if math.isfinite(value) and (self.validated or not name.startswith("val_"))
            ]
        )
        self.seconds += time.perf_counter() - started

    def complete(self, history: pd.DataFrame) -> None:
        """Writes the epochs that were trained before this run began, of which it saw nothing; one row an epoch."""
        for row in history.to_dict("records"):
            self.on_epoch_end(int(row.pop("epoch")) - 1, row)

    def close(self) -> None:
        """Sends what waits; `seconds` adds up what training waited for, `unsent` says how many metrics stay on disk."""
        started = time.perf_counter()
        self.unsent = self.outbox.close()
        self.seconds += time.perf_counter() - started
