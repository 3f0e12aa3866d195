"""What the table of a search says; KerasTuner, which takes seconds to import, is not needed for it."""

import pandas as pd


def trained_in_full(trials: pd.DataFrame) -> pd.DataFrame:
    """The completed trials of a search's table among which its winner is: those trained as long as the final model.

    Hyperband judges most trials after a few epochs, and what leads then need not lead at the end. Where none was
    trained in full, as only happens if the reference trial fails, all completed trials.
    """
    completed = trials[trials["status"] == "COMPLETED"]
    full = completed[completed["tuner_epochs"].isna()] if "tuner_epochs" in completed else completed
    return full if len(full) else completed
