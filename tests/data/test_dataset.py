"""The cache: decoded once, whole or not at all, and squeezed to a model's size."""

import hashlib
import os

import numpy as np
import pytest
from PIL import Image

from unetlab.data import cache, dataset, open_dataset
from unetlab.errors import UserError
from unetlab.setup import Recipe


def test_a_second_start_opens_no_image(pairs, monkeypatch):
    first = open_dataset(str(pairs))
    monkeypatch.setattr(dataset, "read_sample", lambda *_: pytest.fail("an image was opened"))
    second = open_dataset(str(pairs))
    assert second.digest == first.digest and np.array_equal(second.image(3), first.image(3))


def test_a_changed_file_is_read_again(pairs):
    first = open_dataset(str(pairs))
    path = pairs / "images" / "cell00.png"
    Image.fromarray(255 - np.asarray(Image.open(path))).save(path)
    os.utime(path, ns=(1, 1))
    second = open_dataset(str(pairs))
    assert second.digest != first.digest
    assert np.array_equal(second.image(0), 255 - first.image(0))


def test_a_killed_decode_leaves_nothing_that_counts(pairs, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(dataset, "read_sample", killed)
        with pytest.raises(KeyboardInterrupt):
            open_dataset(str(pairs))
    assert not list(cache.root().glob(".building-*"))
    assert len(open_dataset(str(pairs))) == 12


def test_what_a_process_killed_long_ago_left_is_swept_away(pairs, tmp_path, monkeypatch):
    monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "cache"))
    old, young = tmp_path / "cache" / ".building-old", tmp_path / "cache" / ".building-young"
    for folder in (old, young):
        folder.mkdir(parents=True)
        (folder / "images.bin").write_text("half")
    for path in (old / "images.bin", old):
        os.utime(path, (1, 1))
    open_dataset(str(pairs))
    assert not old.exists() and young.exists()


def test_a_cache_that_cannot_be_written_is_said_clearly(pairs, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("UNETLAB_CACHE", str(tmp_path / "file" / "cache"))
    with pytest.raises(UserError, match="set UNETLAB_CACHE"):
        open_dataset(str(pairs))


def test_the_faster_of_two_processes_wins(pairs):
    first = open_dataset(str(pairs))
    slower = {"name": "slower", "label": "slower", "has_masks": True, "content": hashlib.sha256()}
    cache.build(first.folder, slower, [lambda: ("x", first.image(0), first.labels(0), "uint8 grey")])
    assert open_dataset(str(pairs)).ids == first.ids and not list(cache.root().glob(".building-*"))


def test_fitted_squeezes_images_and_keeps_masks_binary(pairs):
    data = open_dataset(str(pairs))
    images, masks = data.fitted(Recipe(image_size=32, channels=3, epochs=1, batch_size=1))
    assert images.shape == (12, 32, 32, 3) and images.dtype == np.uint8
    assert masks.shape == (12, 32, 32, 1) and set(np.unique(masks)) == {0, 1}
    native = np.mean([(data.labels(i) > 0).mean() for i in range(12)])
    assert masks.mean() == pytest.approx(native, abs=0.01)
    assert isinstance(images, np.memmap)


def test_images_relabelled_keep_their_pixels_and_know_what_nobody_knows(pairs):
    data = open_dataset(str(pairs))

    def label(image):
        found = (image[:, :, 0] > 110).astype(np.uint8)
        found[:4] = dataset.UNKNOWN
        found[2:4] = dataset.UNKNOWN + 1
        return found

    made = dataset.relabelled(data, "made", "bright 1", label)
    assert made.ids == data.ids and made.sha == data.sha and made.digest != data.digest and made.name == "made"
    assert (made.labels(0)[:2] == dataset.IGNORED).all() and (made.labels(0)[2:4] == dataset.LEANING).all()
    assert (made.labels(0)[4:] < dataset.IGNORED).all()
    assert np.array_equal(made.labels(0)[4:] > 0, data.image(0)[4:, :, 0] > 110)
    masks = made.fitted(Recipe(image_size=40, channels=1, epochs=1, batch_size=1)).masks
    assert set(np.unique(masks)) == {0, 1, 2} and (masks[:, :4] == dataset.UNKNOWN).all()
    again = dataset.relabelled(data, "made", "bright 1", lambda image: pytest.fail("labelled twice"))
    assert again.digest == made.digest


def test_506_real_nuclei_images(real_data, monkeypatch):
    data = open_dataset(str(real_data / "stage1_train.zip"))
    assert len(data) == 506 and data.has_masks
    assert sum(int(data.labels(i).max()) for i in range(506)) > 20_000
    monkeypatch.setattr(dataset, "read_sample", lambda *_: pytest.fail("an image was opened"))
    assert open_dataset(str(real_data / "stage1_train.zip")).digest == data.digest
