"""The chain of a TIFF's pages: where it leads, and that all are of one size and kind."""

import io
import struct

import numpy as np
import pytest
import tifffile
from small_tiffs import X, refused, written


def test_a_page_of_another_size_or_kind_is_named_wherever_it_lies():
    other = "page 2 is 30 x 21 pixels, page 1 30 x 20; pages of a stack must be of one size"
    assert refused(written(X[0], np.zeros((21, 30), np.uint8))) == other
    amid = written(*X[:4], np.zeros((9, 30), np.uint8), *X, *X)
    assert refused(amid).startswith("page 5 is 30 x 9 pixels, page 1 30 x 20")
    assert refused(written(*X[:4], X[0].astype(np.uint16), *X, *X)).startswith(
        "page 5 is uint16 grey, page 1 uint8 grey"
    )


@pytest.mark.parametrize(("pages", "back"), [(1, 0), (4, 2), (150, 30)])
def test_a_chain_of_pages_that_leads_in_a_circle_ends(pages, back):
    data = bytearray(written(*[X[0]] * pages))
    with tifffile.TiffFile(io.BytesIO(data)) as file:
        offsets = [page.offset for page in file.pages]
    tags = struct.unpack_from("<H", data, offsets[-1])[0]
    struct.pack_into("<I", data, offsets[-1] + 2 + 12 * tags, offsets[back])
    assert f"after page {pages} its chain of pages leads in a circle" in refused(bytes(data))
