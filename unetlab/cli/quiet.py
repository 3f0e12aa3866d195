"""What libraries are to do before they are there: no chatter that is not for users, no more than their share."""

import logging
import os
from urllib.parse import unquote, urlsplit, urlunsplit

from unetlab.jobs.worker import import_tensorflow as import_tensorflow

SETTINGS = {
    "TF_CPP_MIN_LOG_LEVEL": "3",
    "MLFLOW_DISABLE_TELEMETRY": "true",
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
    "MLFLOW_LOGGING_LEVEL": "WARNING",
}
"""Environment variables that hold unless the user has set them; they must be there before the libraries are."""


def settle() -> None:
    """Applies SETTINGS, lets Python's log show warnings only, and takes the password out of the server's address."""
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    _hide_password()
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s: %(message)s")
    logging.getLogger("tensorflow").setLevel(logging.ERROR)  # it warns of every new model of a search


def _hide_password() -> None:
    """MLflow prints its server's address with each run; user and password go where MLflow looks for them besides."""
    address = urlsplit(os.environ.get("MLFLOW_TRACKING_URI", ""))
    user, at, host = address.netloc.rpartition("@")
    if not at or address.scheme not in ("http", "https"):
        return
    name, _, password = user.partition(":")
    os.environ["MLFLOW_TRACKING_URI"] = urlunsplit(address._replace(netloc=host))
    os.environ.setdefault("MLFLOW_TRACKING_USERNAME", unquote(name))
    os.environ.setdefault("MLFLOW_TRACKING_PASSWORD", unquote(password))
