"""Small TIFFs in memory, as several writers make them, and how they are read."""

import io

import numpy as np
import pytest
import tifffile

from unetlab.images import codecs

X = np.random.default_rng(0).integers(0, 200, (5, 20, 30)).astype(np.uint8)


def written(*pages, **settings):
    """Pages without any metadata, each a directory of its own."""
    settings.setdefault("photometric", "minisblack")
    buffer = io.BytesIO()
    with tifffile.TiffWriter(buffer) as writer:
        for page in pages:
            writer.write(page, metadata=None, contiguous=False, **settings)
    return buffer.getvalue()


def stack(values, axes, kind="imagej", **settings):
    how = {"imagej": {"imagej": True}, "ome": {"ome": True}, "shaped": {}}[kind]
    buffer = io.BytesIO()
    photometric = "rgb" if axes.endswith("S") else "minisblack"
    tifffile.imwrite(buffer, values, photometric=photometric, metadata={"axes": axes}, **how, **settings)
    return buffer.getvalue()


def read(source, **choice):
    with codecs.open_pages(source, **choice) as opened:
        return np.stack([opened.read(page) for page in range(opened.count)])


def refused(source, **choice):
    with pytest.raises(codecs.PixelError) as caught:
        read(source, **choice)
    assert "\n" not in str(caught.value)
    return str(caught.value)
