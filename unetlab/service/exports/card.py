"""What an exported file takes and gives, for who runs it without unetlab: `export.json` beside it."""

from typing import Any

from unetlab.images.depth import LEAST_TAIL, RANGE, TAIL
from unetlab.images.view import ALIGN
from unetlab.inference.tiles import TILE
from unetlab.service.exports.base import Format, Shape
from unetlab.service.exports.network import Trained
from unetlab.service.loading import code_of

NAME = "export.json"

FOLDER = "exports"
"""Of the artifacts of the run that trained a model: a folder a format and precision."""

DEPTH = (
    f"8 bits as they are; of more the image's percentiles {100 * TAIL:g} and {100 - 100 * TAIL:g} over all channels, "
    f"at least {LEAST_TAIL} values from either end, become the grey levels {RANGE[0]} and {RANGE[1]}, and what lies "
    "beyond is squeezed into those left"
)

COLOURS = {1: ["grey"], 3: ["red", "green", "blue"]}


def card(
    row: Format, precision: str, address: str, trained: Trained, shape: Shape, channels: str = ""
) -> dict[str, Any]:
    """The page, without what was measured, of a network that learnt from these `channels` of files, "" for all.

    Only the network is in the file. What comes before it, bit depth, resizing and normalisation, is in `before`; what
    comes after, cutting at the threshold and back to the image's size, in `after`.
    """
    recipe, outputs = trained.recipe, trained.model.output_shape[-1]
    sides = {"multiple_of": ALIGN} if shape[1] is None else {}
    return {
        "model": address,
        "format": row.name,
        "precision": precision,
        "file": row.file,
        "input": {
            "name": "image",
            "shape": list(shape),
            **sides,
            "dtype": "float32",
            "range": [0.0, 1.0],
            "channels": _learnt(channels, shape[3]),
        },
        "output": {
            "shape": [*shape[:3], outputs],
            "dtype": "float32",
            "range": [0.0, 1.0],
            "channels": _channels(outputs, list(recipe.classes or ())),
        },
        "before": {
            "channels": _of_file(channels),
            "depth": DEPTH,
            "size": _size(recipe, shape),
            "normalisation": _normalisation(trained),
        },
        "after": {"threshold": None if recipe.classes else recipe.threshold}
        | {name: getattr(recipe, name) for name in ("tta", "objects", "seeds", "least_object", "confidence")},
    }


def _learnt(channels: str, count: int) -> list[str]:
    told = [each.strip() for each in channels.split(",") if each.strip().isdecimal()]
    names = [f"channel {each} of the file" for each in told]
    return names if len(names) == count else COLOURS.get(count, [f"channel {k + 1}" for k in range(count)])


def _of_file(channels: str) -> str:
    if channels.strip() == "pages":
        return "each channel of the file is an image of its own"
    return f"channels={channels} of the file, counted from 1, and no others" if channels else "those of the file"


def _normalisation(trained: Trained) -> str:
    if trained.recipe.normalise == "scale":
        return "each value divided by 255"
    low, high = code_of(trained.predictor)["geometry"].PERCENTILES
    return (
        f"the image's percentiles {low:g} and {high:g} over all channels, at least one grey level apart, become 0 and "
        "1; what lies beyond is clipped"
    )


def _channels(outputs: int, classes: list[str]) -> list[str]:
    """What each channel of the answer is the probability of."""
    if classes:
        return ["background", *classes]  # a softmax: the likeliest is the answer
    return ["foreground", *(["what parts objects (border or distance)"] * (outputs - 1))]


def _size(recipe: Any, shape: Shape) -> str:
    if recipe.view == "whole":
        return f"the whole image squeezed to {shape[2]} x {shape[1]} pixels, bilinear, antialiased"
    scaled = f"the image at {recipe.scale:g} times its size, bilinear, antialiased"
    if shape[1] is None:
        return (
            f"{scaled}; sides mirrored up to a multiple of {ALIGN} and {recipe.image_size} at least; what is larger "
            f"than {TILE} pixels in overlapping tiles of that side"
        )
    return f"{scaled}; mirrored up to {shape[1]} pixels at least, and in overlapping tiles of that side"
