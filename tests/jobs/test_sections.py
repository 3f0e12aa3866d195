"""auto on sections of one stack: parted by blocks, and by nothing else where there is no stack."""

import dataclasses

import mlflow
import numpy as np
import pandas as pd
import pytest
from conftest import write_pairs
from PIL import Image
from scipy.ndimage import gaussian_filter
from tiny_setup import QUIET

from experiments import load_setup
from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.errors import UserError
from unetlab.jobs import epochs, run, sections, trial
from unetlab.options import Options

AUTO = load_setup("auto")


def stack(folder, kept, n=20, name="section{:02d}"):
    """A slow walk through noise: each section goes on from the one before by the share `kept` of its brightness, and is
    parted by lines where it is about in the middle."""
    rng = np.random.default_rng(0)
    for kind in ("images", "masks"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    walk = gaussian_filter(rng.normal(size=(64, 64)), 3)
    for k in range(n):
        walk = kept * walk + np.sqrt(1 - kept**2) * gaussian_filter(rng.normal(size=(64, 64)), 3)
        grey = np.clip(128 + 600 * walk, 0, 255).astype(np.uint8)
        Image.fromarray(grey).save(folder / "images" / f"{name.format(k)}.png")
        Image.fromarray((abs(walk) > 0.02).astype(np.uint8) * 255).save(folder / "masks" / f"{name.format(k)}.png")
    return folder


def of(folder, groups="auto"):
    data = open_dataset(str(folder))
    return data, check(data, groups)


@pytest.mark.parametrize(("kept", "n"), [(0.6, 20), (0.75, 6), (0.97, 40)])
def test_a_stack_is_known_by_neighbours_that_are_alike_and_others_that_are_not(tmp_path, kept, n):
    data, card = of(stack(tmp_path / "stack", kept, n))
    assert len(set(card.groups)) < len(data) and sections.is_stack(data, card)


def test_what_is_no_stack_is_split_as_ever(tmp_path):
    pairs = of(write_pairs(tmp_path / "pairs"))  # numbered, and each a scene of its own
    few = of(stack(tmp_path / "few", 0.9, n=4))  # two gaps leave no three blocks of it
    told = of(stack(tmp_path / "told", 0.9), groups="off")
    still = of(stack(tmp_path / "still", 0.995))  # all are copies, of whatever block
    assert not any(sections.is_stack(*each) for each in (pairs, few, told, still))
    for k in range(3):
        stack(tmp_path / "stacks", 0.9, n=6, name=f"{'abc'[k]}{{:02d}}")
    assert not sections.is_stack(*of(tmp_path / "stacks"))  # a side has a stack of its own


def test_auto_parts_a_stack_by_blocks_and_says_so(store, tmp_path, light, monkeypatch):
    found = []

    def told(bench, *_):
        found.append(bench)
        raise UserError("enough")

    monkeypatch.setattr(trial, "train", told)
    monkeypatch.setattr(epochs, "seconds_a_step", lambda *_: (0.1, ""))
    data = stack(tmp_path / "stack", 0.9)
    options = Options(data=str(data), minutes=1, encoder_weights="none", precision="float32")
    with pytest.raises(UserError, match="enough"):
        run.run_setup(AUTO, options, QUIET)
    sides = found[0].split
    held = sorted((rows.min(), rows.max(), len(rows)) for rows in (sides.train, sides.validation, sides.test))
    assert sorted(each[2] for each in held) == [3, 3, 12]
    assert all(last - first + 1 == n for first, last, n in held)  # each one block
    assert [b[0] - a[1] for a, b in zip(held, held[1:], strict=False)] == [2, 2]  # a section between them is on none
    left = mlflow.search_runs(experiment_names=["unetlab"]).iloc[-1]
    assert left["params.split"] == "blocks"
    table = pd.read_csv(mlflow.artifacts.download_artifacts(f"{left['artifact_uri']}/configuration.csv"))
    rows = table.set_index("what")
    assert rows.loc["split", "chosen"] == "blocks of sections" and "one stack" in rows.loc["split", "why"]
    assert rows.loc["sections to learn from", "chosen"] == "12" and "scenes to learn from" not in rows.index


def test_only_auto_by_itself_takes_a_split_that_nobody_told(store, tmp_path, light):
    data = stack(tmp_path / "stack", 0.9)
    other = dataclasses.replace(AUTO, adapts=False)
    for setup, tags in ((other, {}), (AUTO, {"showdown": "a", "part": "auto 0"})):  # whose setups share one split
        with pytest.raises(UserError, match="cannot be split into train, validation and test"):
            run.run_setup(setup, Options(data=str(data), minutes=1, encoder_weights="none"), QUIET, tags)
