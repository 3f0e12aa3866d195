"""Batches that are there when an epoch begins, and how long training waited for those that were not."""

import time
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import keras

FIRST = 2
"""Batches that Keras looks at for their shapes before it trains, and asks for again."""


class Ahead(keras.utils.PyDataset):
    """The batches of another, the first of each epoch made while the epoch before is validated.

    Keras makes batches ahead within an epoch, in a thread of its own, but begins each epoch with none. The first ones
    of all are made while the network is traced, and once.

    Args:
        batches: indexed from any thread; what an index gives depends on it and the epoch alone.

    Attributes:
        ready: when each batch of this epoch was handed over, by its index.
    """

    def __init__(self, batches: keras.utils.PyDataset) -> None:
        super().__init__(workers=1)
        self.batches = batches
        self.ready: dict[int, float] = {}
        self.pool = ThreadPoolExecutor(1, thread_name_prefix="batches")
        self._begin(min(FIRST, len(batches)))

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        found = self.first[index].result() if index < len(self.first) else self.batches[index]
        self.ready[index] = time.perf_counter()
        return found

    def on_epoch_end(self) -> None:
        self.batches.on_epoch_end()
        self.ready = {}
        self._begin(1)

    def close(self) -> None:
        """Ends the thread."""
        self.pool.shutdown(cancel_futures=True)

    def _begin(self, several: int) -> None:
        self.first: list[Future[Any]] = [self.pool.submit(self.batches.__getitem__, i) for i in range(several)]


class Waiting(keras.callbacks.Callback):
    """Adds up how long steps waited for their batches: from the end of one step until the next one's batch was there.

    The first step of all is left out, whose batch waits for the network to be traced.

    Args:
        batches: those that are trained on.

    Attributes:
        seconds: that steps waited.
        steps: seconds of all steps but that one, waiting included, without what comes between epochs.
    """

    def __init__(self, batches: Ahead) -> None:
        super().__init__()
        self.batches = batches
        self.seconds = self.steps = 0.0
        self.free: float | None = None
        self.traced = False

    @property
    def share(self) -> float:
        """Of the steps' time."""
        return self.seconds / self.steps if self.steps else 0.0

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        self.free = time.perf_counter()

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        now = time.perf_counter()
        if self.traced and self.free is not None:
            self.seconds += max(0.0, self.batches.ready[batch] - self.free)
            self.steps += now - self.free
        self.free, self.traced = now, True
