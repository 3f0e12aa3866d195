"""Chatter of libraries that is not for users."""

import logging
import os

from unetlab.jobs.worker import import_tensorflow as import_tensorflow

SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Environment variables that hold unless the user has set them; they must be there before the libraries are."""


def settle() -> None:
    """Applies SETTINGS, and lets Python's log show warnings only."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new model of a search
