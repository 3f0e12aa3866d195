"""Exported PNGs are read back as the same data."""

import numpy as np
import pytest
from PIL import Image

from unetlab.data import open_dataset
from unetlab.data.check import check
from unetlab.data.export import export
from unetlab.data.scenes import scenes_of
from unetlab.errors import UserError


def test_an_export_reads_back_the_same(pairs, tmp_path):
    data = open_dataset(str(pairs))
    assert export(data, tmp_path / "out") == 12
    again = open_dataset(str(tmp_path / "out"))
    assert again.ids == data.ids and again.sha == data.sha
    assert all(np.array_equal(again.labels(i) > 0, data.labels(i) > 0) for i in range(12))
    with pytest.raises(UserError, match="is not an empty folder"):
        export(data, tmp_path / "out")


@pytest.mark.parametrize("masks", ["auto", "binary"])
def test_what_is_unknown_stays_so(pairs, tmp_path, masks):
    for path in (pairs / "masks").iterdir():
        mask = (np.asarray(Image.open(path)) > 0).astype(np.uint8) * 7
        mask[:3] = 9
        Image.fromarray(mask).save(path)
    (pairs / "classes.csv").write_text("value,name\n0,background\n7,cell\n9,unknown\n")
    data = open_dataset(str(pairs), masks=masks)
    assert "D010" not in {finding.code for finding in check(data).findings}  # its values are named
    export(data, tmp_path / "out")
    again = open_dataset(str(tmp_path / "out"), masks=masks)
    assert again.meaning == data.meaning and not data.known(0)[:3].any()
    for i in range(12):
        assert np.array_equal(again.known(i), data.known(i)) and np.array_equal(again.objects(i), data.objects(i))


def test_groups_come_along(pairs, tmp_path):
    (pairs / "groups.csv").write_text("id,group\n" + "".join(f"cell{k:02d},g{k // 2}\n" for k in range(12)))
    data = open_dataset(str(pairs))
    export(data, tmp_path / "out")
    assert scenes_of(open_dataset(str(tmp_path / "out"))).scene.tolist() == [k // 2 for k in range(12)]


def test_groups_of_files_that_cannot_be_read_stay_behind(pairs, tmp_path):
    (pairs / "groups.csv").write_text("group,id\n" + "".join(f"g{k // 2},cell{k:02d}\n" for k in range(12)))
    (pairs / "images" / "cell04.png").write_bytes(b"nothing")
    data = open_dataset(str(pairs), lenient=True)
    assert export(data, tmp_path / "out") == 11
    assert scenes_of(open_dataset(str(tmp_path / "out"))).scene.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 4, 5, 5]
