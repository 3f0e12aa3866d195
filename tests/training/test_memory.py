"""Whether a training fits into memory."""

import keras
import pytest

from unetlab.errors import UserError
from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe
from unetlab.training import memory
from unetlab.training.memory import needed, refuse_too_large

SMALL = Recipe(image_size=64, channels=1, epochs=1, batch_size=4, model={"filters": 4, "depth": 2})


def test_memory_grows_with_pixels_images_and_digits():
    one = needed(scratch_unet((64, 64, 1), filters=4, depth=2), 1, "float32")
    assert needed(scratch_unet((128, 128, 1), filters=4, depth=2), 1, "float32") == 4 * one
    assert needed(scratch_unet((64, 64, 1), filters=4, depth=2), 3, "float32") == 3 * one
    assert needed(scratch_unet((64, 64, 1), filters=4, depth=2), 1, "bfloat16") == one // 2
    assert one > 4 * 64 * 64 * 4 * 5  # five layers of four channels at full size


def test_a_network_within_a_network_is_counted_once():
    outer = keras.Sequential([keras.Input((64, 64, 1)), scratch_unet((64, 64, 1), filters=4, depth=2)])
    alone = needed(scratch_unet((64, 64, 1), filters=4, depth=2), 1, "float32")
    assert needed(outer, 1, "float32") == alone + 4 * 64 * 64  # its own input


def test_a_patch_that_no_memory_holds_is_refused_in_one_line():
    refuse_too_large(scratch_unet, SMALL, "float32")
    with pytest.raises(
        UserError, match=r"batches of 4 at 65536x65536 want [\d,]+\.\d GiB of memory at least, and there"
    ) as said:
        refuse_too_large(scratch_unet, SMALL.changed({"image_size": 65536}), "float32")
    assert "\n" not in str(said.value)


def test_gradients_are_reckoned_with_where_layers_learn(monkeypatch):
    def frozen(**told):
        model = scratch_unet(**told)
        model.trainable = False
        return model

    four = needed(scratch_unet((64, 64, 1), filters=4, depth=2), 4, "float32")
    monkeypatch.setattr(memory, "there", lambda: int(1.3 * four))
    refuse_too_large(frozen, SMALL, "float32")
    with pytest.raises(UserError, match="batches of 4 at 64x64 want"):
        refuse_too_large(scratch_unet, SMALL, "float32")
    refuse_too_large(scratch_unet, SMALL, "bfloat16")


def test_a_batch_is_halved_until_it_fits(monkeypatch):
    one = needed(scratch_unet((64, 64, 1), filters=4, depth=2), 1, "float32")
    for held, batch in ((8 * one, 4), (6 * one, 2), (one, 1)):
        monkeypatch.setattr(memory, "there", lambda held=held: held)
        for precision in ("float32", "auto"):  # which may be found to be float32
            assert memory.largest_batch(scratch_unet, SMALL, precision) == batch
    monkeypatch.setattr(memory, "there", lambda: 8 * one)
    assert [memory.largest_batch(scratch_unet, SMALL, "float32", k) for k in (1, 2, 3, 4)] == [4, 2, 1, 1]
    assert memory.largest_batch(scratch_unet, SMALL, "bfloat16", 2) == 4


def test_a_container_s_limit_counts_where_there_is_one(tmp_path, monkeypatch):
    machine = memory.there()
    limits = tmp_path / "memory.max", tmp_path / "none", tmp_path / "limit_in_bytes"
    monkeypatch.setattr(memory, "LIMITS", limits)
    limits[0].write_text("max\n")
    assert memory.there() == max(memory.there(), machine)
    limits[2].write_text("1048576\n")
    assert memory.there() == 1048576
