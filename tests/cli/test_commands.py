"""What a user's mistake gets: one line on standard error, status 2, no traceback, nothing trained."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from unetlab.cli.main import main

ROOT = Path(__file__).parent.parent.parent

MISTAKES = [
    (["nuclei", "--data", "/no/such/folder"], "no folder or zip at /no/such/folder"),
    (["nuclei", "--data", "dbs2018"], "no folder or zip at dbs2018"),
    (["nuclei", "--trials", "0"], "0 is not in the range x>=1"),
    (["nuclei", "--trials", "many"], "'many' is not a valid integer range"),
    (["nuclei", "--precision", "float8"], "'float8' is not one of 'auto', 'float32', 'bfloat16'"),
    (["nuclei", "--tuner", "magic"], "'magic' is not one of 'random', 'bayesian', 'hyperband', 'grid'"),
    (["nuclei", "--models", "none"], "'none' is not one of 'all', 'best'"),
    (["nuclei", "--register", "perhaps"], "'perhaps' is not a valid boolean"),
    (["nuclei", "--encoder-weights", "/no/such.h5"], "encoder_weights: no file /no/such.h5"),
    (["nuclei-scratch", "--epochs", "-1"], "-1 is not in the range x>=0"),
    (["nuclei-scratch", "--encoder-weights", "/no/such.h5"], "encoder_weights: no file /no/such.h5"),
    (["nuclei", "--seed", "4294967296"], "4294967296 is not in the range"),
    (["nuclei", "--colour", "blue"], "No such option '--colour'"),
    (["check", "--data", "/no/such/folder"], "no folder or zip at /no/such/folder"),
    (["register", "--run", "0123"], "no run 0123 in this tracking store"),
    (["predict", "--model", "m", "--images", "/no/such", "--out", "o"], "no folder or image at /no/such"),
    (["predict", "--model", "m", "--images", ".", "--out", "o", "--threshold", "2"], "2.0 is not in the range 0<=x<=1"),
    (["predict", "--model", "m", "--images", "", "--out", "o"], "'--images': it must not be empty"),
    (["rollback"], "Missing option '--model'"),
    (["rollback", "--model", ""], "'--model': it must not be empty"),
    (["nuclei", "--data", ""], "'--data': it must not be empty"),
    (["nuclei", "--trials", ""], "'--trials': it must not be empty"),
    (["nuclei", "--masks", "magic"], "'magic' is not one of 'auto', 'binary', 'objects', 'classes'"),
    (["nuclei", "--labels", "otsu"], "No such option '--labels'"),
    (["check", "--seed", "2147483648"], "2147483648 is not in the range"),
    (["showdown", "--seed", "2147483648"], "2147483648 is not in the range"),
    (["reproduce", "--seed", "2147483648"], "2147483648 is not in the range"),
    (["nuclei", "--view", "patches", "--scale", "0"], "scale must be auto or a number from 0.0625 to 8. Received: '0'"),
    (["auto", "--scale", "x"], "scale must be auto or a number from 0.0625 to 8. Received: 'x'"),
    (["auto", "--minutes", "0"], "auto fits its training into minutes, which must be above 0"),
    (["nuclei", "--tta", "3"], "'3' is not one of 'recipe', '0', '4', '8'"),
    (["showdown", "--minutes", "nan"], "nan is not a finite number"),
    (["showdown", "--repeats", "51"], "51 is not in the range 1<=x<=50"),
    (["register", "--run", "r", "--margin", "nan"], "nan is not a finite number"),
    (["mlproject", "--out", "no/such/MLproject"], "cannot write no/such/MLproject: No such file or directory"),
    (["lungs"], "No such command 'lungs'"),
]


@pytest.mark.parametrize(
    ("arguments", "message"), MISTAKES, ids=lambda v: " ".join(v)[:40] if isinstance(v, list) else ""
)
def test_mistakes_get_one_line(arguments, message, store):
    result = CliRunner().invoke(main, arguments)
    assert result.exit_code == 2
    assert message in result.stderr and "Traceback" not in result.stderr
    assert result.stderr.startswith("error: ") and result.stderr.count("\n") == 1


def test_help_lists_every_setup_and_teaches_its_parameters():
    overview = CliRunner().invoke(main, []).output
    assert "nuclei-scratch" in overview and "mlflow run . -e nuclei" in overview
    page = CliRunner().invoke(main, ["nuclei", "--help"]).output
    for name in ("--data", "--trials", "--tuner", "--epochs", "--seed", "--precision", "--encoder-weights", "--models"):
        assert name in page
    assert "[default: 3; x>=1]" in page


@pytest.mark.parametrize("name", main.commands)
def test_help_says_what_each_option_is_for_and_gives_an_example(name):
    command = main.commands[name]
    page = " ".join(CliRunner().invoke(main, [name, "--help"]).output.split())
    assert command.params or name == "sync"
    for parameter in command.params:
        assert parameter.opts[0] in page and parameter.option.help in page
    assert f"Example: python -m unetlab {name}{' --' if command.params else ''}" in page
    # the example's options are the command's own
    words = command.epilog.split()
    assert {word for word in words if word.startswith("--")} <= {opt for p in command.params for opt in p.opts}


def test_help_waits_for_no_library():
    code = (
        "import sys; from click.testing import CliRunner; from unetlab.cli.main import main\n"
        "for name in ('', *main.commands):\n"
        "    result = CliRunner().invoke(main, [*([name] if name else []), '--help']); assert result.exit_code == 0\n"
        "print({'tensorflow', 'keras', 'mlflow', 'pandas', 'scipy', 'numpy'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


HEAVY = {"tensorflow", "keras", "keras_tuner", "mlflow", "pandas", "sklearn", "skimage", "matplotlib"}

IMPORTED = """
import json, sys
from unetlab.tracking import server
server.attended = lambda told: print(told, file=sys.stderr)
from unetlab.cli.main import main
status = 0
try:
    main(sys.argv[1:])
except SystemExit as ended:
    status = ended.code
print(json.dumps([status, sorted({name.partition(".")[0] for name in sys.modules})]))
"""


def imported(folder: Path, *arguments: str) -> tuple[int, set[str], str, str]:
    """Status and imported packages of a command in a process of its own, and what it says on both outputs; the
    server of the UI it only names."""
    told = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", IMPORTED, *arguments]
    done = subprocess.run(command, cwd=folder, env=told, capture_output=True, text=True, check=True)
    *said, last = done.stdout.splitlines()
    status, modules = json.loads(last)
    return status, set(modules), "\n".join(said), done.stderr


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["nuclei", "--data", "/no/such/folder"], "no folder or zip at /no/such/folder"),
        (["auto", "--minutes", "0"], "minutes, which must be above 0"),
        (["nuclei", "--scale", "0"], "scale must be auto or a number"),
        (["nuclei", "--data", "synthetic-moon"], "no twin synthetic-moon"),
        (["nuclei", "--trials", "many"], "'many' is not a valid integer range"),
        (["check", "--data", "/no/such/folder"], "no folder or zip at /no/such/folder"),
        (["evaluate", "--model", "m", "--data", "/no/such/folder"], "no folder or zip at /no/such/folder"),
        (["predict", "--model", "m", "--images", "/no/such", "--out", "o"], "no folder or image at /no/such"),
        (["live", "--source", "/no/such"], "there is no such file or folder"),
        (["showdown", "--setups", "nuclei,typo"], "Received: 'typo'"),
        (["showdown", "--setups", "nuclei,auto", "--minutes", "0"], "minutes, which must be above 0"),
        (["reproduce", "--nuclei", "/no/such/folder"], "no folder or zip at /no/such/folder"),
    ],
)
def test_a_mistake_is_told_before_the_libraries_that_take_seconds(arguments, message, tmp_path):
    status, modules, _, said = imported(tmp_path, *arguments)
    assert status == 2 and message in said and said.count("\n") == 1
    assert not HEAVY & modules


def test_the_ui_starts_without_tensorflow_and_where_it_was_before_without_mlflow(store, tmp_path):
    status, modules, first, _ = imported(tmp_path, "ui", "--port=5077")
    assert status == 0 and "mlflow" in modules and not {"tensorflow", "keras"} & modules
    status, modules, second, said = imported(tmp_path, "ui", "--port=5077")
    assert status == 0 and not HEAVY & modules and "'-m', 'mlflow', 'ui'" in said
    assert f"'--backend-store-uri', '{store}'" in said
    assert second == first and "experiments/1/runs" in first


@pytest.mark.parametrize("missing", ["images", "masks"])
def test_bad_data_is_refused_before_any_run_is_made(missing, pairs, store):
    import mlflow

    next((pairs / missing).iterdir()).unlink()
    result = CliRunner().invoke(main, ["nuclei-scratch", "--data", str(pairs)])
    assert result.exit_code == 2 and "error: " in result.stderr
    assert mlflow.search_runs(search_all_experiments=True).empty


def test_check_looks_at_what_can_be_read_and_names_the_rest(pairs, store):
    import mlflow

    bad = pairs / "images" / "cell03.png"
    bad.write_bytes(bad.read_bytes()[:100])
    result = CliRunner().invoke(main, ["check", "--data", str(pairs)])
    assert result.exit_code == 2 and "11 images" in result.output
    assert "error: D011 1 file cannot be used: images/cell03.png: truncated" in result.stderr
    run = mlflow.search_runs(search_all_experiments=True).iloc[0]
    card = mlflow.artifacts.load_dict(f"runs:/{run['run_id']}/data_card.json")
    assert card["images"] == 11 and [finding["code"] for finding in card["findings"]] == ["D011", "D002"]
    result = CliRunner().invoke(main, ["nuclei-scratch", "--data", str(pairs)])
    assert result.exit_code == 2 and "cell03.png: truncated" in result.stderr


def test_images_without_masks_cannot_be_trained_on(pairs, store):
    for path in (pairs / "masks").iterdir():
        path.unlink()
    result = CliRunner().invoke(main, ["nuclei-scratch", "--data", str(pairs)])
    assert result.exit_code == 2 and "has images and no masks" in result.stderr


def test_register_hands_on_what_was_told(monkeypatch):
    from unetlab.service import registry

    told = []
    monkeypatch.setattr(registry, "register_run", lambda *words: told.append(words) or "registered")
    words = ["register", "--run", "r", "--margin", "0.02", "--accept", "true", "--reason", "x"]
    assert CliRunner().invoke(main, words).exit_code == 0 and told == [("r", 0.02, True, "x")]
