"""Encoders by name: pretrained networks without their top, whose features a U-Net's decoder joins."""

from unetlab.errors import UserError
from unetlab.models.encoders import efficientnet_lite0, efficientnetv2b0, mobilenetv2, resnet50v2
from unetlab.models.encoders.encoder import Encoder

ENCODERS: dict[str, Encoder] = {
    "mobilenetv2": mobilenetv2.ENCODER,
    "efficientnet-lite0": efficientnet_lite0.ENCODER,
    "efficientnetv2b0": efficientnetv2b0.ENCODER,
    "resnet50v2": resnet50v2.ENCODER,
}
"""Each is an `encoder` of the network "pretrained". A new one is one file and one row here."""


def get_encoder(name: str) -> Encoder:
    """A row of ENCODERS; raises UserError if there is none of that name."""
    if name not in ENCODERS:
        raise UserError(f"encoder must be one of {', '.join(ENCODERS)}. Received: {name!r}")
    return ENCODERS[name]
