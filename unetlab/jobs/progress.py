"""What the terminal shows while a search runs: trials and epochs with the time left; plain lines elsewhere."""

from typing import Any

import keras
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

PERIOD = 7 * 24 * 3600.0
"""Seconds of which the bars remember their steps: an epoch can take longer than the half minute rich looks back."""


class SearchProgress:
    """Two bars on a terminal; where the output is no terminal, one line a trial.

    Args:
        trials: number of trainings to come, the final one included.
        console: where to write; standard error by default.
    """

    def __init__(self, trials: int, console: Console | None = None) -> None:
        self.console = console or Console(stderr=True)
        self.bars = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}"),
            console=self.console,
            disable=not self.console.is_terminal,
            speed_estimate_period=PERIOD,
        )
        self.whole = self.bars.add_task("trainings", total=trials, note="")
        self.epochs = self.bars.add_task("epochs", total=1, note="", visible=False)

    def __enter__(self) -> "SearchProgress":
        self.bars.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bars.stop()

    def start(self, name: str, epochs: int) -> "EpochProgress":
        """Begins a training of so many epochs; returns the Keras callback that moves the bar."""
        self.bars.reset(self.epochs, total=epochs, description=name[:48], visible=True, note="")
        return EpochProgress(self)

    def done(self, line: str) -> None:
        """Ends a training with a line that stays."""
        self.bars.advance(self.whole)
        self.console.print(line, highlight=False)


class EpochProgress(keras.callbacks.Callback):
    """Moves the epoch bar and shows the validation loss and Dice."""

    def __init__(self, progress: SearchProgress) -> None:
        super().__init__()
        self.progress = progress

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        logs = logs or {}
        note = f"val loss {logs.get('val_loss', float('nan')):.4f}  val dice {logs.get('val_dice', float('nan')):.3f}"
        self.progress.bars.update(self.progress.epochs, completed=epoch + 1, note=note)
