"""Images and masks: read from folders, zips and public archives or simulated, decoded once, memory-mapped."""

from unetlab.data.dataset import Dataset, open_dataset

__all__ = ["Dataset", "open_dataset"]
