"""Broken and hostile inputs: each case of the corpus, a slice of the fuzz, and the commands on the worst names."""

import os
import warnings

import pytest
from click.testing import CliRunner
from conftest import encoded, log_tiny

from benchmarks import corpus, fuzz
from unetlab.cli.main import main


@pytest.mark.parametrize("name", corpus.CASES)
def test_a_hostile_input_gets_one_line_or_a_harmless_reading(name, tmp_path, monkeypatch):
    monkeypatch.chdir(_made(tmp_path / "here"))
    monkeypatch.setenv("UNETLAB_CACHE", "")  # so that it is as before after what the case sets
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Duplicate name", module="zipfile")
        assert corpus.fault(corpus.CASES[name], _made(tmp_path / "there") / "data") == ""
    assert not list((tmp_path / "here").iterdir())  # such as what a pickle would have made


def _made(folder):
    folder.mkdir()
    return folder


def test_there_are_many_and_of_every_kind():
    assert len(corpus.CASES) >= 80
    assert sum(bool(case.said) for case in corpus.CASES.values()) >= 80


def test_a_fault_of_the_corpus_is_seen(tmp_path):
    case = corpus.Case(corpus.pairs, "something else")
    assert corpus.fault(case, tmp_path / "data") == "said '3 images read'"

    def escape(folder):
        corpus.pairs(folder)
        (folder.parent / "written").touch()

    assert corpus.fault(corpus.Case(escape), _made(tmp_path / "next") / "data") == "wrote written"


@pytest.mark.parametrize("name", fuzz.TARGETS)
def test_a_slice_of_the_fuzz_finds_nothing(name, tmp_path):
    tried, found = fuzz.slice_of(name, 7, 60, tmp_path)
    assert tried >= 50 and found == []


def test_the_fuzz_finds_what_breaks_a_reader(tmp_path, monkeypatch):
    def read(data, folder):
        if b"\xff" in data:
            raise KeyError("lost")

    monkeypatch.setitem(fuzz.TARGETS, "image", fuzz.Target(lambda: [bytes(99)], read, (ValueError,)))
    _, found = fuzz.slice_of("image", 0, 200, tmp_path)
    assert len(found) == 1 and "KeyError: 'lost'" in found[0]
    assert b"\xff" in (tmp_path / found[0].rpartition("/")[2].rstrip(")")).read_bytes()


WORST = ("a\nb", "a\x1b[2Jb", "[red]x[nothing]", "\"><script>alert(1)<'x", "=1+1,2", "-rf", "..\\up")


def test_commands_take_the_worst_names_and_write_nowhere_else(store, tmp_path):
    data, out, exported = tmp_path / "data", tmp_path / "out", tmp_path / "exported"
    corpus.pairs(data)
    for name in WORST:
        for kind, pixels in (("images", corpus.NOISE), ("masks", corpus.MASK)):
            (data / kind / f"{name}.png").write_bytes(encoded(pixels))
    before = {path for path in tmp_path.rglob("*") if path.parent != tmp_path / "store"}
    ran = CliRunner().invoke(main, ["check", "--data", str(data), "--export", str(exported)])
    assert ran.exit_code == 0, ran.output
    model = log_tiny().model_uri
    (data / "images" / "broken\n\x1b.png").write_bytes(b"nothing")
    ran = CliRunner().invoke(main, ["predict", "--model", model, "--images", str(data / "images"), "--out", str(out)])
    assert ran.exit_code == 0, ran.output
    assert "not segmented: broken\\n\\x1b.png: not a PNG" in ran.output
    for written, ending in ((exported / "images", ".png"), (out / "masks", ".png"), (out / "labels", ".tif")):
        assert {f"{name}{ending}" for name in WORST} <= set(os.listdir(written))
    places = (data, out, exported, tmp_path / "store")
    assert not [path for path in set(tmp_path.rglob("*")) - before if not any(path.is_relative_to(p) for p in places)]
