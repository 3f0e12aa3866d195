"""Networks as files of other runtimes: what they answer, and what a format cannot hold."""

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import keras
import numpy as np
import pytest

from unetlab.errors import UserError
from unetlab.models.scratch import scratch_unet
from unetlab.options import EXPORTS, JOBS
from unetlab.service.exports import FORMATS
from unetlab.service.exports.base import require, size_of, write

QUANTISED = [name for name, row in FORMATS.items() if row.int8]


@pytest.fixture(scope="module")
def network() -> keras.Model:
    """A U-Net with a head, for squares of 32 pixels."""
    keras.utils.set_random_seed(0)
    return scratch_unet((32, 32, 3), filters=4, depth=1, heads=1)


def images(count: int, height: int = 32, width: int = 32) -> list[np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.random((1, height, width, 3), np.float32) for _ in range(count)]


def test_the_option_names_every_format():
    assert tuple(FORMATS) == EXPORTS and all(name == row.name for name, row in FORMATS.items())
    assert next(each for each in JOBS["export"] if each.name == "format").choices == EXPORTS


@pytest.mark.parametrize("name", FORMATS)
def test_a_file_answers_as_keras_does_one_image_or_several(name, network, tmp_path):
    row, few = FORMATS[name], np.concatenate(images(2))
    path = write(row, network, tmp_path, (1, 32, 32, 3))
    assert path == tmp_path / row.file and size_of(path) > 1000
    found = row.open(path, 1)(few)
    assert found.shape == (2, 32, 32, 2) and found.dtype == np.float32
    np.testing.assert_allclose(found, network(few), atol=1e-5)


@pytest.mark.parametrize("name", QUANTISED)
def test_int8_takes_and_gives_float32_and_is_near_but_not_the_same(name, network, tmp_path):
    row, given = FORMATS[name], images(8)
    path = write(row, network, tmp_path, (1, 32, 32, 3), given)
    found = np.concatenate([row.open(path, 1)(each) for each in given])
    apart = np.abs(found - network(np.concatenate(given)))
    assert found.dtype == np.float32 and 1e-4 < apart.max() < 0.1 and apart.mean() < 0.02


@pytest.mark.parametrize("name", [name for name, row in FORMATS.items() if row.sizes])
def test_a_file_for_several_sizes_takes_them(name, tmp_path):
    keras.utils.set_random_seed(0)
    free = scratch_unet((None, None, 3), filters=4, depth=1, upsampling="resize")
    row = FORMATS[name]
    path = write(row, free, tmp_path, (1, None, None, 3))
    run = row.open(path, 1)
    for size in ((32, 64), (64, 32), (32, 64)):
        (given,) = images(1, *size)
        np.testing.assert_allclose(run(given), free(given), atol=1e-5)


@pytest.mark.parametrize("name", QUANTISED)
def test_int8_of_a_softmax_over_classes_still_sums_to_one(name, tmp_path):
    keras.utils.set_random_seed(0)
    inputs = keras.Input((32, 32, 3))
    hidden = keras.layers.Conv2D(4, 3, padding="same", activation="relu")(inputs)
    network = keras.Model(inputs, keras.layers.Conv2D(3, 1, activation="softmax")(hidden))
    row, given = FORMATS[name], images(4)
    found = row.open(write(row, network, tmp_path, (1, 32, 32, 3), given), 1)(given[0])
    assert found.shape == (1, 32, 32, 3)
    np.testing.assert_allclose(found.sum(axis=-1), 1, atol=0.02)
    np.testing.assert_allclose(found, network(given[0]), atol=0.05)


@pytest.mark.parametrize("name", FORMATS)
def test_an_operation_that_a_format_lacks_is_named_in_one_line(name, tmp_path, capfd):
    inputs = keras.Input((32, 32, 3))
    inner = keras.ops.erfinv(keras.ops.tanh(keras.layers.Conv2D(1, 1)(inputs)) * 0.9)
    odd = keras.Model(inputs, keras.ops.sigmoid(inner))
    if name == "saved_model":
        (given,) = images(1)
        found = FORMATS[name].open(write(FORMATS[name], odd, tmp_path, (1, 32, 32, 3)), 1)(given)
        np.testing.assert_allclose(found, odd(given), atol=1e-5)
        return
    with pytest.raises(
        UserError, match=rf"^format={name} cannot hold this model: it has no operation Erfinv; "
    ) as told:
        write(FORMATS[name], odd, tmp_path, (1, 32, 32, 3))
    assert "\n" not in str(told.value)
    assert capfd.readouterr() == ("", "")  # converters tell a page


def test_whatever_a_converter_raises_is_one_line_but_not_a_full_disk(tmp_path):
    def fail(error):
        def raising(*_):
            raise error

        return dataclasses.replace(FORMATS["onnx"], write=raising)

    with pytest.raises(UserError, match="cannot hold this model: KeyError: 'a'; another format may"):
        write(fail(KeyError("a")), None, tmp_path, (1, 32, 32, 3))
    with pytest.raises(OSError, match="No space"):
        write(fail(OSError(28, "No space left on device")), None, tmp_path, (1, 32, 32, 3))


@pytest.mark.parametrize("name", [name for name in FORMATS if FORMATS[name].modules])
def test_missing_packages_name_the_extra_that_has_them(name, monkeypatch):
    row = FORMATS[name]
    require(row, "int8")
    monkeypatch.setitem(sys.modules, row.modules[-1], None)
    wanted = f"format={name} wants {row.modules[-1]}, not installed here; .*pip install -e '.[{row.extra}]'"
    with pytest.raises(UserError, match=wanted.replace("[", r"\[").replace("]", r"\]")):
        require(row, "float32")
    extras = (Path(__file__).parents[3] / "pyproject.toml").read_text(encoding="utf-8")
    (listed,) = re.findall(rf"^{row.extra} = \[(.*?)^\]", extras, re.DOTALL | re.MULTILINE)
    assert all(f'"{module.replace("_", "-")}==' in listed for module in row.modules)


def test_int8_is_refused_where_there_is_none():
    with pytest.raises(UserError, match="saved_model has no precision=int8; litert, onnx and openvino do"):
        require(FORMATS["saved_model"], "int8")


def test_neither_openvino_nor_nncf_tells_anybody_of_its_use():
    code = (
        "from unetlab.service.exports.base import without_telemetry; without_telemetry()\n"
        "import nncf.telemetry.wrapper, openvino.tools.ovc.telemetry_utils as used\n"
        "print(type(nncf.telemetry.wrapper.telemetry).__name__, used.tm.__name__)"
    )
    ran = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["MagicMock", "openvino.tools.ovc.telemetry_stub"]


def test_nothing_of_a_format_is_imported_with_the_table():
    code = (
        "import sys, unetlab.service.exports\n"
        "print({'ai_edge_litert', 'onnxruntime', 'tf2onnx', 'openvino', 'nncf', 'tensorflow'} & set(sys.modules))"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "set()"
