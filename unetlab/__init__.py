"""Honest, tracked comparison of U-Net image segmentation."""

__version__ = "0.1.0"
