"""Honest, tracked comparison of U-Net image segmentation."""

import os

__version__ = "0.1.0"

# else the first process takes all of a GPU, and trials, a server beside them and peers have processes of their own
os.environ.setdefault("TF_FORCE_GPU_ALLOW_GROWTH", "true")
