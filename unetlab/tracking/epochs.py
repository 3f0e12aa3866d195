"""Each epoch's metrics on their way to MLflow."""

import math
import time
from typing import Any

import keras
from mlflow.entities import Metric
from mlflow.tracking import MlflowClient

FLUSH_SECONDS = 2.0


class EpochLogger(keras.callbacks.Callback):
    """Writes each epoch's metrics to MLflow as `epoch/...`, step = epoch, in batches every few seconds.

    Args:
        run_id: the run they belong to.
    """

    def __init__(self, run_id: str) -> None:
        super().__init__()
        self.run_id = run_id
        self.client = MlflowClient()
        self.waiting: list[Metric] = []
        self.flushed = time.monotonic()
        self.seconds = 0.0

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        now = int(time.time() * 1000)
        self.waiting += [
            Metric(f"epoch/{name}", float(value), now, epoch + 1)
            for name, value in (logs or {}).items()
            if math.isfinite(value)
        ]
        if time.monotonic() - self.flushed > FLUSH_SECONDS:
            self.flush()

    def on_train_end(self, logs: Any = None) -> None:
        self.flush()

    def flush(self) -> None:
        """Sends what waits, at most 1,000 metrics a call; `seconds` adds up what that costs."""
        started = time.perf_counter()
        for start in range(0, len(self.waiting), 1000):
            self.client.log_batch(self.run_id, metrics=self.waiting[start : start + 1000])
        self.waiting.clear()
        self.flushed = time.monotonic()
        self.seconds += time.perf_counter() - started
