"""Whether a training fits into memory."""

import pytest

from unetlab.errors import UserError
from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe
from unetlab.training.memory import needed, refuse_too_large

SMALL = Recipe(image_size=64, channels=1, epochs=1, batch_size=4, model={"filters": 4, "depth": 2})


def test_memory_grows_with_pixels_images_and_digits():
    one = needed(scratch_unet((64, 64, 1), filters=4, depth=2), 1, "float32")
    assert needed(scratch_unet((128, 128, 1), filters=4, depth=2), 1, "float32") == 4 * one
    assert needed(scratch_unet((64, 64, 1), filters=4, depth=2), 3, "float32") == 3 * one
    assert needed(scratch_unet((64, 64, 1), filters=4, depth=2), 1, "bfloat16") == one // 2
    assert one > 2 * 4 * 64 * 64 * 4 * 5  # five layers of four channels at full size


def test_a_patch_that_no_memory_holds_is_refused_in_one_line():
    refuse_too_large(scratch_unet, SMALL, "float32")
    with pytest.raises(
        UserError, match=r"batches of 4 at 65536x65536 want \d+ GiB of memory at least, and this"
    ) as said:
        refuse_too_large(scratch_unet, SMALL.changed({"image_size": 65536}), "float32")
    assert "\n" not in str(said.value)
