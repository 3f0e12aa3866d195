"""Broken and hostile inputs: each case of the corpus, a slice of the fuzz, and the commands on the worst names."""

import json
import os
import runpy
import warnings
from pathlib import Path

import mlflow
import pytest
from click.testing import CliRunner
from conftest import encoded, log_tiny

from benchmarks import corpus, corpus_files, fuzz
from unetlab import errors
from unetlab.cli import quiet
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
    case = corpus_files.Case(corpus_files.pairs, "something else")
    assert corpus.fault(case, tmp_path / "data") == "said '3 images read'"

    def escape(folder):
        corpus_files.pairs(folder)
        (folder.parent / "written").touch()

    assert corpus.fault(corpus_files.Case(escape), _made(tmp_path / "next") / "data") == "wrote written"


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


WORST = ("a\nb", "a\x1b[2Jb", "[red]x[nothing]", "\"><script>alert(1)<'x", "=1+1,2", "-rf", "x\\..\\up")


def test_commands_take_the_worst_names_and_write_nowhere_else(store, tmp_path):
    data, out, exported = tmp_path / "data", tmp_path / "out", tmp_path / "exported"
    corpus_files.pairs(data)
    for name in WORST:
        for kind, pixels in (("images", corpus_files.NOISE), ("masks", corpus_files.MASK)):
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


def test_an_audit_fails_for_holes_alone():
    verdict = runpy.run_path(str(Path(__file__).parent.parent / ".ci" / "audit.py"))["verdict"]
    fine = {"name": "a", "version": "1", "vulns": []}
    holed = {"name": "b", "version": "2", "vulns": [{"id": "CVE-1"}]}
    unknown = {"name": "c", "skip_reason": "not found"}
    assert verdict("")[0] == 0 and "cannot be reached" in verdict("")[1]
    assert verdict(json.dumps({"dependencies": [unknown]}))[0] == 0
    assert verdict(json.dumps({"dependencies": [fine, unknown]})) == (0, "1 packages, no known holes")
    assert verdict(json.dumps({"dependencies": [fine, holed]})) == (1, "b 2: CVE-1")


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("postgresql://me:geheim@db:5432/x is away", "postgresql://***@db:5432/x is away"),
        ("http://me:ge@heim@host/", "http://***@host/"),
        ("https://host/a?user=x&password=geheim&b=1", "https://host/a?user=x&password=***&b=1"),
        ("https://host/a@b and me@mail.example", "https://host/a@b and me@mail.example"),
    ],
)
def test_passwords_of_addresses_are_not_told(text, redacted):
    from unetlab.tracking.write import short

    assert errors.redacted(text) == redacted == str(errors.UserError(text)) == short(text)


def test_the_password_of_the_tracking_server_is_taken_out_of_its_address(monkeypatch):
    for name in ("MLFLOW_TRACKING_USERNAME", "MLFLOW_TRACKING_PASSWORD"):
        monkeypatch.setenv(name, "")  # so that what is set here is taken back
        monkeypatch.delenv(name)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "https://me:ge%40heim@host:5000/x")
    quiet.settle()
    assert os.environ["MLFLOW_TRACKING_URI"] == "https://host:5000/x"
    assert (os.environ["MLFLOW_TRACKING_USERNAME"], os.environ["MLFLOW_TRACKING_PASSWORD"]) == ("me", "ge@heim")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "sqlite:///a@b.db")
    quiet.settle()
    assert os.environ["MLFLOW_TRACKING_URI"] == "sqlite:///a@b.db"


def test_a_run_that_fails_keeps_no_password(store):
    from unetlab.tracking import write

    address = "postgresql://me:geheim@db/x"
    with write.run(f"check {address}", tags={"command": f"--data {address}"}, params={"data": address}) as active:
        pass
    run = mlflow.get_run(active.info.run_id)
    assert "geheim" not in f"{run.data.params} {run.data.tags} {run.info.run_name}"
    assert run.data.params["data"] == "postgresql://***@db/x"
