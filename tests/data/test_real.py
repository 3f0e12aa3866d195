"""What holds for the real images that UNETLAB_DATA names, together here so that each set is opened and checked once."""

from collections import Counter

import numpy as np
import pytest

from unetlab.data import dataset, open_dataset, public
from unetlab.data.check import check
from unetlab.data.files import open_files
from unetlab.data.scenes import scenes_of


@pytest.mark.slow  # looks for scenes among all of them
def test_506_real_nuclei_images(real_data, monkeypatch):
    data = open_dataset(str(real_data / "stage1_train.zip"))
    assert len(data) == 506 and data.has_masks
    assert sum(int(data.labels(i).max()) for i in range(506)) > 20_000
    monkeypatch.setattr(dataset.Reader, "read", lambda *_: pytest.fail("an image was opened"))
    assert open_dataset(str(real_data / "stage1_train.zip")).digest == data.digest


@pytest.mark.slow  # half a minute
def test_real_nuclei_have_three_modalities(real_data):
    card = check(open_dataset(str(real_data / "stage1_train.zip")))
    assert card.modalities == {"grey on dark": 413, "colour on light": 82, "grey on light": 11}
    assert not [finding for finding in card.findings if finding.severity == "error"]


@pytest.mark.slow
def test_ids_of_the_real_archive_follow_the_published_layout(real_data):
    files = open_files(real_data / "stage1_train.zip")
    assert all(name.startswith("stage1_train/") for name in files.names)


def test_the_kitchen_pin_counts_the_files_of_its_folders(real_data):
    """The photographs at hand are part of the published ones: their paths are those the pin is over."""
    files = open_files(real_data / "kitchen")
    names = [f"repo/dataset/dataset/train/{name}" for name in files.names]
    assert [public.SOURCES["kitchen"].relative(name) for name in names] == files.names


@pytest.mark.slow  # a minute
def test_real_sections_and_photographs(real_data):
    sections = open_dataset(str(real_data / "isbi2012"))
    assert len(sections) == 24 and sections.ids[-1] == "train-volume-023" and max(sections.levels) == 2
    photographs = open_dataset(str(real_data / "kitchen"))
    assert len(photographs) == 188 and photographs.has_masks
    found = {finding.code: finding for finding in check(photographs).findings}
    assert found["D010"].severity == "notice" and "up to 4" in found["D010"].message


@pytest.mark.slow  # a minute
def test_real_scenes(real_data):
    kitchen = open_dataset(str(real_data / "kitchen"))
    scenes = scenes_of(kitchen)
    sizes = np.bincount(scenes.scene)
    desk = [i for i, name in enumerate(kitchen.ids) if name.isdigit()]
    assert 20 <= len(sizes) <= 24 and sizes.max() == len(desk) == (scenes.scene[desk] == scenes.scene[desk[0]]).sum()
    row = {name: i for i, name in enumerate(kitchen.ids)}
    mats = [i for name, i in row.items() if name.startswith("image_") and name != "image_2_3"]
    assert len(mats) == 20 and len(np.unique(scenes.scene[mats])) == 1
    sinks = [row[f"frame_00000{number}"] for number in (19921, 20041, 20101, 20641)]
    assert len(np.unique(scenes.scene[sinks])) == 1
    drawers = [row[f"frame_000000{number}"] for number in (3721, 3781, 3961)]
    cartons = [row[f"_Color_{number}"] for number in (392, 596, 632, 796, 898)]
    assert all(len(np.unique(scenes.scene[rows])) == 1 for rows in (drawers, cartons))
    assert scenes.scene[drawers[0]] != scenes.scene[row["frame_0000000871"]]  # another refrigerator
    nuclei = scenes_of(open_dataset(str(real_data / "stage1_train.zip")))
    assert Counter(pair.kind for pair in nuclei.joined)["tile"] >= 230 and np.bincount(nuclei.scene).max() <= 12
