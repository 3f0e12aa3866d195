"""Files that cannot be what they are taken for: one line that names file and way out, status 2, and no run is made."""

import mlflow
import numpy as np
import pytest
import tifffile
from click.testing import CliRunner
from PIL import Image

from unetlab.cli.main import main

GREY = np.arange(48 * 48, dtype=np.uint8).reshape(48, 48)
STACK = np.stack([GREY, GREY.T, GREY[::-1]])
MANY = np.arange(70_000, dtype=np.uint32).reshape(280, 250) + 1


def image(path, k=0):
    Image.fromarray(np.roll(GREY, k)).save(path / f"{k}.png")


def label_of_floats(images, masks, k):
    image(images, k)
    tifffile.imwrite(masks / f"{k}.tif", np.float32(GREY // 5 * 0.3))


def many_objects(images, masks, k):
    Image.fromarray((MANY % 251).astype(np.uint8)).save(images / f"{k}.png")
    tifffile.imwrite(masks / f"{k}.tif", MANY)


def undeclared_colour(images, masks, k):
    image(images, k)
    mask = Image.fromarray(np.uint8(GREY > 99) + np.uint8(GREY > 200))
    mask.putpalette([0, 0, 0, 255, 0, 0, 0, 255, 0])
    mask.save(masks / f"{k}.png")
    (masks.parent / "classes.csv").write_text("value,name\n#ff0000,pan\n")


def colours(images, masks, k):
    Image.fromarray(np.dstack([GREY, GREY.T, GREY[::-1]])).save(images / f"{k}.png")
    Image.fromarray(np.uint8(GREY > 99) * 255).save(masks / f"{k}.png")


def hyperstack(images, masks, k):
    planes = np.stack([STACK, STACK[::-1]], axis=1)
    tifffile.imwrite(images / f"{k}.tif", planes, imagej=True, metadata={"axes": "ZCYX"})
    tifffile.imwrite(masks / f"{k}.tif", np.uint8(STACK > 99), photometric="minisblack")


def second_page(images, masks, k):
    tifffile.imwrite(images / f"{k}.tif", GREY)
    tifffile.imwrite(images / f"{k}.tif", GREY[:20], append=True)
    tifffile.imwrite(masks / f"{k}.tif", np.uint8(STACK[:2] > 99), photometric="minisblack")


def lying_xml(images, masks, k):
    path = images / f"{k}.ome.tif"
    tifffile.imwrite(path, STACK, photometric="minisblack", metadata={"axes": "ZYX"})
    path.write_bytes(path.read_bytes().replace(b'SizeZ="3"', b'SizeZ="4"'))
    tifffile.imwrite(masks / f"{k}.tif", np.uint8(STACK > 99), photometric="minisblack")


BAD = [
    (label_of_floats, (), "masks/0.tif: the mask holds many float32 values; labels are whole numbers"),
    (many_objects, (), "masks/0.tif: 70,000 objects, at most 65,533"),
    (undeclared_colour, (), "masks/0.png: 495 pixels of the undeclared value #00ff00; classes are #000000, #ff0000"),
    (colours, ("--channels", "7"), "images/0.png: channels=7: there is no channel 7; the image has 3 channels"),
    (hyperstack, (), "images/0.tif: it holds 3 pages of 2 channels each (Z 3, C 2); say which with channels=1"),
    (hyperstack, ("--channels", "7"), "images/0.tif: channels=7: there is no channel 7; the image has 2 channels"),
    (hyperstack, ("--channels", "1", "--pages", "5-900"), "images/0.tif: pages=5-900: the file has 3 pages"),
    (second_page, (), "images/0.tif: page 2 is 48 x 20 pixels, page 1 48 x 48"),
    (colours, ("--masks", "magic"), "'magic' is not one of 'auto', 'binary', 'objects', 'classes'"),
    (lying_xml, (), "images/0.ome.tif: its OME-XML lies: it speaks of 4 planes"),
]


@pytest.mark.parametrize("command", ["check", "nuclei-scratch"])
@pytest.mark.parametrize(("write", "options", "message"), BAD)
def test_bad_files_get_one_line(write, options, message, command, tmp_path, store):
    folders = [tmp_path / "data" / kind for kind in ("images", "masks")]
    for folder in folders:
        folder.mkdir(parents=True)
    for k in range(3):
        write(*folders, k)
    result = CliRunner().invoke(main, [command, "--data", str(tmp_path / "data"), *options])
    assert result.exit_code == 2 and message in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1 and "Traceback" not in result.output
    assert mlflow.search_runs(search_all_experiments=True).empty


@pytest.mark.parametrize(
    "words", [["compare", "--experiment", "x"], ["compare", "--runs", "abc,def"], ["rollback", "--model", "unetlab-x"]]
)
def test_a_tracking_server_that_is_away_is_one_line(store, monkeypatch, words):
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    mlflow.set_tracking_uri("http://127.0.0.1:9")
    mlflow.set_registry_uri("http://127.0.0.1:9")
    answer = CliRunner().invoke(main, words)
    assert answer.exit_code == 2 and "does not answer" in answer.stderr and "no run" not in answer.stderr
    assert len(answer.stderr.strip().splitlines()) == 1
