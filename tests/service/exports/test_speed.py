"""How long an exported network takes beside Keras."""

import time

import keras
import pytest
from taught_models import tiny

from unetlab.errors import UserError
from unetlab.service.exports import FORMATS, speed
from unetlab.service.exports.base import write
from unetlab.service.exports.network import Trained, trained


def test_networks_take_turns_and_each_turn_is_timed():
    calls = []

    def network(name, seconds):
        def run(image):
            calls.append(name)
            time.sleep(seconds)

        return run

    took = speed.in_turns({"a": network("a", 0.002), "b": network("b", 0.02)}, None)
    assert len(took["a"]) == len(took["b"]) == len(calls) / 2 - 2 and speed.LEAST <= len(took["a"]) <= speed.MOST
    assert min(took["b"]) >= 20 > sorted(took["a"])[len(took["a"]) // 2] >= 2
    assert calls[:6] == ["a", "b", "b", "a", "a", "b"]


def test_a_slow_network_has_few_turns(monkeypatch):
    monkeypatch.setattr(speed, "SECONDS", 0.0)
    assert len(speed.in_turns({"a": lambda image: None}, None)["a"]) == speed.LEAST


@pytest.mark.parametrize("name", ["onnx", "saved_model"])
def test_a_file_of_one_size_is_timed_at_others_by_copies(store, tmp_path, monkeypatch, name):
    monkeypatch.setattr(speed, "SIDES", (32, 64))
    monkeypatch.setattr(speed, "SECONDS", 0.1)
    network, row = trained(tiny()), FORMATS[name]
    file = write(row, network.model, tmp_path, network.shape(row))
    table = speed.speed(row, network, file, None)
    assert table["side"].unique().tolist() == [32, 64] and table["threads"].unique().tolist() == [1, 2]
    assert set(table["network"]) == {"keras", name} and len(table) == 8
    assert (table["exported"] == (table["side"] == 32)).all() and (table["p95_ms"] >= table["p50_ms"]).all()


def test_a_file_of_several_sizes_is_the_one_that_is_timed(store, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "SIDES", (32, 64))
    monkeypatch.setattr(speed, "SECONDS", 0.1)
    network, row = trained(tiny(view="patches")), FORMATS["onnx"]
    table = speed.speed(row, network, write(row, network.model, tmp_path, network.shape(row)), None)
    assert table["exported"].all() and table["side"].unique().tolist() == [32, 64]


def test_a_network_that_wants_one_size_is_timed_at_that(store, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "SIDES", (32, 64))
    monkeypatch.setattr(speed, "SECONDS", 0.1)
    inputs = keras.Input((32, 32, 3))
    model = keras.Model(inputs, keras.layers.Dense(2)(keras.layers.Flatten()(inputs)))
    model.save(tmp_path / "model.keras")
    network, row = Trained(tmp_path / "model.keras", model, trained(tiny()).recipe), FORMATS["onnx"]
    table = speed.speed(row, network, write(row, model, tmp_path, (1, 32, 32, 3)), None)
    assert table["side"].unique().tolist() == [32]


@pytest.mark.slow  # processes that import TensorFlow
def test_each_number_of_threads_has_a_process_of_its_own_that_says_nothing(store, tmp_path, monkeypatch, capfd):
    monkeypatch.setattr(speed, "SIDES", (32,))
    monkeypatch.setattr(speed, "THREADS", (1,))
    monkeypatch.delenv("UNETLAB_ONE_PROCESS")
    network, row = trained(tiny()), FORMATS["onnx"]
    file = write(row, network.model, tmp_path, network.shape(row))
    capfd.readouterr()
    assert len(speed.speed(row, network, file, None)) == 2
    assert capfd.readouterr() == ("", "")
    file.write_bytes(b"nothing")
    with pytest.raises(Exception, match="onnx|ONNX|INVALID"):
        speed.speed(row, network, file, None)


def die(threads):
    import os

    os._exit(9)


def test_a_process_that_dies_is_one_line(store, tmp_path, monkeypatch):
    monkeypatch.setattr(speed, "_settle", die)
    monkeypatch.setattr(speed, "SIDES", (32,))
    monkeypatch.delenv("UNETLAB_ONE_PROCESS")
    network, row = trained(tiny()), FORMATS["onnx"]
    file = write(row, network.model, tmp_path, network.shape(row))
    with pytest.raises(UserError, match="the process that measures onnx at 1 threads died"):
        speed.speed(row, network, file, None)
