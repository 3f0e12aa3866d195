"""The data card: duplicates are found, dim images are not taken for copies, answers are cached."""

import shutil

import numpy as np
import pytest
from conftest import write_pairs
from PIL import Image

from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.data.split import split


def _with_copies(folder):
    """Image 0 twice, image 1 once more with a little noise."""
    for kind in ("images", "masks"):
        shutil.copy(folder / kind / "cell00.png", folder / kind / "copy.png")
        shutil.copy(folder / kind / "cell01.png", folder / kind / "near.png")
    image = np.asarray(Image.open(folder / "images" / "near.png")).astype(int)
    noisy = np.clip(image + np.random.default_rng(0).integers(-3, 4, image.shape), 0, 255).astype(np.uint8)
    Image.fromarray(noisy).save(folder / "images" / "near.png")
    return folder


def test_exact_and_near_copies_are_found_and_stay_together(tmp_path):
    data = open_dataset(str(_with_copies(write_pairs(tmp_path / "p", n=24))))
    card = check(data)
    index = {name: i for i, name in enumerate(data.ids)}
    assert card.groups[index["copy"]] == card.groups[index["cell00"]]
    assert card.groups[index["near"]] == card.groups[index["cell01"]]
    assert len(np.unique(card.groups)) == 24
    messages = {finding.code: finding.message for finding in card.findings}
    assert (
        messages["D003"] == "1 exact copies (cell00, copy)" and "2 scenes of several images hold 4" in messages["D004"]
    )
    for seed in range(5):
        sides = split(data.ids, card.groups, card.modality, seed)
        for pair in (("copy", "cell00"), ("near", "cell01")):
            homes = [[index[name] in side for side in (sides.train, sides.validation, sides.test)] for name in pair]
            assert homes[0] == homes[1]


def test_a_second_check_reads_no_pixel(pairs, monkeypatch):
    data = open_dataset(str(pairs))
    first = check(data)
    monkeypatch.setattr("unetlab.data.check._measure", lambda _: 1 / 0)
    assert check(data).to_json() == first.to_json()


def test_a_check_killed_while_it_writes_leaves_nothing_that_counts(pairs, monkeypatch):
    def killed(*_):
        raise KeyboardInterrupt

    data = open_dataset(str(pairs))
    with monkeypatch.context() as patch:
        patch.setattr("os.replace", killed)
        with pytest.raises(KeyboardInterrupt):
            check(data)
    assert {path.name for path in data.folder.iterdir()} == {"images.bin", "labels.bin", "index.json"}
    assert check(data).images == 12


def test_the_card_counts(pairs):
    card = check(open_dataset(str(pairs)))
    assert card.images == 12 and card.sizes == {"40 x 40": 12} and card.modes == {"uint8 grey": 12}
    assert card.objects == (1.0, 1.0, 1.0) and 0.1 < card.foreground[0] < 0.15
    assert "D002" in [finding.code for finding in card.findings]  # only 12 images
    assert card.table().row_count >= 6


def test_masks_that_say_nothing_at_all_are_refused_since_any_answer_would_be_right(tmp_path):
    folder = write_pairs(tmp_path / "p", n=8)
    (folder / "classes.csv").write_text("value,name\n255,cell\n7,unknown\n")
    for name in ("cell03.png", "cell05.png"):
        mask = np.asarray(Image.open(folder / "masks" / name))
        Image.fromarray(np.full_like(mask, 7)).save(folder / "masks" / name)
    mask = np.asarray(Image.open(folder / "masks" / "cell01.png")).copy()
    mask[:2] = 7
    Image.fromarray(np.where(mask == 255, np.uint8(0), mask)).save(folder / "masks" / "cell01.png")
    found = {finding.code: finding for finding in check(open_dataset(str(folder))).findings}
    assert found["D015"].severity == "error"
    assert found["D015"].message == "2 masks are unknown everywhere (cell03, cell05)"
    assert found["D008"].message == "1 empty masks (cell01)"
