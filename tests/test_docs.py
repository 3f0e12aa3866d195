"""What the documents name is there, and their snippets run."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from unetlab import models
from unetlab.data import layouts, open_dataset
from unetlab.health.checks import CHECKS
from unetlab.health.finding import RunData
from unetlab.images import codecs

ROOT = Path(__file__).parent.parent
PAGES = [*sorted((ROOT / "docs").glob("*.md")), *(ROOT / name for name in ("README.md", "CONTRIBUTING.md"))]

PATH = re.compile(
    r"(?<![\w/.])(?:(?:unetlab|experiments|tests|benchmarks|docs)/(?:[\w./-]*[\w/])?|[\w.-]+\.(?:md|toml))"
)
"""Of files and folders of the tree."""

PROPOSED = {
    "experiments/blobs.py",
    "unetlab/models/encoders/tiny.py",
    "unetlab/labels/bright.py",
    "unetlab/data/layouts/suffix.py",
    "unetlab/images/graymap.py",
}
"""Files that a reader of docs/extending.md would write."""


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_path_in_a_document_exists(page):
    named = set(PATH.findall(page.read_text(encoding="utf-8"))) - PROPOSED
    missing = [path for path in sorted(named) if not ((ROOT / path).exists() or (page.parent / path).exists())]
    assert not missing, f"{page.name} names {', '.join(missing)}"


def test_what_is_looked_for_is_found_there():
    text = "`unetlab/jobs/run.py`, [road](docs/road.md), `experiments/` and unetlab/nowhere.py."
    assert PATH.findall(text) == ["unetlab/jobs/run.py", "docs/road.md", "experiments/", "unetlab/nowhere.py"]
    assert not any((ROOT / path).exists() for path in PROPOSED)


def test_the_road_of_the_documents_is_the_one_that_is_held():
    from test_road import ROAD

    text = (ROOT / "docs" / "road.md").read_text(encoding="utf-8")
    line = text[text.index("    errors ->") : text.index("`tests/test_road.py`")]
    assert tuple(line.replace("->", " ").split()) == ROAD
    assert all(f"`unetlab/{name}" in text for name in ROAD if name != "experiments")


@pytest.fixture(scope="module")
def snippets():
    """Everything that the snippets of docs/extending.md define."""
    found = {}
    text = (ROOT / "docs" / "extending.md").read_text(encoding="utf-8")
    for snippet in re.findall(r"```python\n(.*?)```", text, re.DOTALL):
        own = {}  # each has to stand by itself
        exec(snippet, own)
        found |= own
    return found


def test_the_setup_s_space_begins_with_its_recipe(snippets):
    import keras_tuner

    setup, hp = snippets["SETUP"], keras_tuner.HyperParameters()
    setup.space(hp, setup.recipe)
    assert setup.recipe.changed(hp.values) == setup.recipe
    assert setup.network in models.NETWORKS


def test_the_encoder_has_the_layers_that_its_row_names(snippets):
    row = snippets["ENCODER"]
    built = row.build((32, 32, 3), None, **row.options)
    sides = [built.get_layer(name).output.shape[1] for name in (*row.skips, row.bottom)]
    assert sides == [16, 8, 4] and row.stride == 8


def test_the_loss_has_one_value_an_image(snippets):
    row = snippets["LOSS"]
    values = row.of(np.ones((3, 4, 4, 1), np.float32), np.full((3, 4, 4, 1), 0.5, np.float32), **row.options)
    np.testing.assert_allclose(values, [(1 / 3) ** 2] * 3, rtol=1e-4)


def test_the_metric_scores(snippets):
    from unetlab.metrics.table import Native

    truth = np.zeros((4, 4), bool)
    truth[:2] = True
    assert snippets["METRIC"].of(Native(np.zeros((4, 4), bool), truth)) == 0.5


def test_the_augmentation_leaves_what_it_was_given(snippets):
    image, mask = np.full((8, 8, 1), 100, np.uint8), np.ones((8, 8, 1), np.uint8)
    changed, same = snippets["CHANGE"].of(image, mask, None, np.random.default_rng(0))
    assert changed.dtype == np.uint8 and changed.std() > 1 and (image == 100).all() and same is mask


def test_the_label_maker_finds_what_is_bright(snippets):
    image = np.zeros((4, 4, 3), np.uint8)
    image[0] = 200
    assert snippets["bright"](image).tolist() == [[1] * 4, *[[0] * 4] * 3]


def test_the_layout_answers_or_passes(snippets):
    (sample,) = snippets["find"](None, ["a.png", "a.truth.png"], None)
    assert isinstance(sample, layouts.Sample) and (sample.id, sample.masks) == ("a", ("a.truth.png",))
    assert snippets["find"](None, ["a.png"], None) is None


def test_the_layout_reads_a_folder_once_it_is_in_the_table(snippets, monkeypatch, tmp_path):
    monkeypatch.setattr(layouts, "LAYOUTS", (*layouts.LAYOUTS[:-1], snippets["find"], layouts.LAYOUTS[-1]))
    for k in range(3):
        (tmp_path / f"{k}.png").write_bytes(codecs.encode_image(np.full((8, 8, 1), 9 * k, np.uint8)))
        (tmp_path / f"{k}.truth.png").write_bytes(codecs.encode_mask(np.eye(8, dtype=bool)))
    dataset = open_dataset(str(tmp_path))
    assert dataset.ids == ("0", "1", "2") and dataset.has_masks and (dataset.objects(1) > 0).sum() == 8


def test_the_format_is_read_once_it_is_in_the_table(snippets, monkeypatch):
    monkeypatch.setattr(codecs, "FORMATS", (*codecs.FORMATS, snippets["FORMAT"]))
    image, mode = codecs.decode(b"P5\n3 2\n255\n" + bytes(range(6)))
    assert image[..., 0].tolist() == [[0, 1, 2], [3, 4, 5]] and mode == "uint8 grey"
    for broken, said in ((b"P5\n3", "damaged"), (b"P5\n3 2\n255\n12", "damaged")):
        with pytest.raises(codecs.PixelError, match=said):
            codecs.decode(broken)


def test_the_health_check_finds_what_is_slow(snippets):
    def run(milliseconds):
        return RunData({"test/ms_per_image": milliseconds}, {}, pd.DataFrame())

    assert snippets["slow"](run(900)) is None and "1.2 s" in snippets["slow"](run(1200)).explanation
    assert all(f"H00{k}" in check.__doc__ for k, check in enumerate(CHECKS, start=1))
