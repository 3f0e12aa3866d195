"""The command `live`: a source and a model, shown on a page or written to files."""

import contextlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException
from mlflow.pyfunc import PyFuncModel

from unetlab.errors import UserError
from unetlab.service.exports.opened import predictor_of_export
from unetlab.service.live import frame
from unetlab.service.live.app import Live
from unetlab.service.live.record import record
from unetlab.service.live.serve import listen, serve
from unetlab.service.live.source import Frames, open_source
from unetlab.service.loading import class_names, in_words, load, other_channels, predictor_of
from unetlab.service.standing import standing


def live(
    model: str,
    source: str,
    out: Path | None,
    port: int,
    threshold: float | None,
    channels: str,
    pages: str,
    export: str,
    say: Callable[[str], None],
) -> None:
    """Shows frames with their masks: on a page until it is interrupted, or with `out` in files.

    Args:
        model: address of it; "": the one that `standing` finds.
        source: as `open_source` takes it; "": the page waits for files, and shows the model's example.
        out: a folder or a film, as `record` takes it; None: a page.
        port: of the page, on 127.0.0.1.
        threshold: in [0, 1] that the page begins with, or of the files; None for the model's own.
        channels, pages: of image files, as `codecs.open_pages` takes them.
        export: of the model, such as "litert-int8", whose network answers; "": the model's own.
        say: called with each line for the user.

    Raises UserError for a source, a model, an export, a port or an `out` that cannot be had.
    """
    if out is not None and not source:
        raise UserError("out= wants a source=, a file or a folder")
    given = open_source(source, channels, pages) if source else None
    with contextlib.ExitStack() as opened:
        sock = opened.enter_context(listen(port)) if out is None else None
        address = model or standing()
        segmenter = load(address)
        predictor = predictor_of(segmenter)
        if predictor is None:
            raise UserError(f"model={address} was logged by an older version of unetlab; train or log it anew")
        if export:
            predictor = predictor_of_export(segmenter, predictor, export)
        for line in other_channels(segmenter.metadata, channels) if source else ():
            say(line)
        classes = class_names(segmenter.metadata)
        if classes and threshold is not None:
            likeliest = f"{address} {in_words(classes)} and answers the likeliest"
            raise UserError(f"threshold={threshold:g}: {likeliest}, to which no threshold applies; leave it out")
        if len(classes) > frame.MOST_CLASSES:
            raise UserError(
                f"{address} tells {len(classes)} classes apart, and live draws {frame.MOST_CLASSES} at most"
            )
        shown = given or _example(segmenter)
        if isinstance(shown, Frames):
            opened.callback(shown.close)
        if sock is None:
            assert given is not None and out is not None
            found = record(predictor, given, out, threshold, len(classes))
            for line in found.failed:
                say(line)
            say(f"{found}: {out}")
            return
        name = _name(address, segmenter) + (f" as {export}" if export else "")
        page = Live(predictor, name, shown, source or "Example", channels, threshold, classes)
        serve(page, sock, lambda where: say(f"{name}: look at {where}, end with Ctrl-C"))


def _name(address: str, segmenter: PyFuncModel) -> str:
    """What the page calls a model: its address and, where that is an alias, which model it stands for."""
    number: Any = getattr(segmenter.metadata, "model_id", None)
    return f"{address} ({number})" if number and number not in address else address


def _example(segmenter: PyFuncModel) -> Frames | None:
    """The image that was logged with the model, so that a page without a source begins with something."""
    try:
        row: Any = segmenter.input_example
        return Frames([("the model's example", bytes(row["image"][0]))])
    except (MlflowException, OSError, KeyError, TypeError, AttributeError):
        return None
