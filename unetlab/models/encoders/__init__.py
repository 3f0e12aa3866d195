"""Encoders by name: pretrained networks without their top, whose features a U-Net's decoder joins."""

from unetlab.models.encoders import mobilenetv2
from unetlab.models.encoders.encoder import Encoder

ENCODERS: dict[str, Encoder] = {"mobilenet": mobilenetv2.ENCODER}
"""Each is a network of `unetlab.models.NETWORKS` of the same name. A new one is one file and one row here."""
