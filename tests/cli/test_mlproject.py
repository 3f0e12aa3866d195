"""MLproject is what the table of options makes it; conda.yaml and pyproject.toml name the same packages."""

import shlex
import tomllib
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner
from mlflow.projects._project_spec import load_project

from experiments import SETUPS
from unetlab.cli.main import main
from unetlab.cli.mlproject import NO_ENTRY_POINTS, project
from unetlab.options import JOBS

ROOT = Path(__file__).parent.parent.parent
ENTRY_POINTS = yaml.safe_load(project())["entry_points"]


def test_conda_yaml_and_pyproject_name_the_same_packages():
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    pinned = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pinned == project["dependencies"]
    assert all("==" in requirement for requirement in pinned)


def test_the_file_is_what_the_command_writes(tmp_path):
    done = CliRunner().invoke(main, ["mlproject", "--out", str(tmp_path / "MLproject")])
    assert done.exit_code == 0
    written = (tmp_path / "MLproject").read_text(encoding="utf-8")
    assert (ROOT / "MLproject").read_text(encoding="utf-8") == written, "run `python -m unetlab mlproject`"


def test_every_command_but_those_that_leave_no_run_is_an_entry_point():
    assert set(ENTRY_POINTS) == {"main", *SETUPS, *JOBS} - set(NO_ENTRY_POINTS)
    assert set(main.commands) == {*SETUPS, *JOBS}


@pytest.mark.parametrize("name", [name for name in ENTRY_POINTS if name != "main"])
def test_what_mlflow_passes_is_what_the_command_takes_by_default(name):
    """MLflow's own reader fills in the defaults as text; the command reads them as its own defaults."""
    entry_point = load_project(str(ROOT)).get_entry_point(name)
    needed = [parameter for parameter, spec in ENTRY_POINTS[name].get("parameters", {}).items() if len(spec) == 1]
    choices = {option.name: option.choices for option in JOBS.get(name, ())}
    required = {parameter: (choices[parameter] or ("given",))[0] for parameter in needed}
    words = shlex.split(entry_point.compute_command(required, None))
    assert words[:4] == ["python", "-m", "unetlab", name]
    command = main.commands[name]
    passed = command.make_context(name, words[4:]).params
    bare = [word for parameter, value in required.items() for word in (f"--{parameter}", value)]
    assert passed == command.make_context(name, bare).params
    assert list(passed) == [parameter.name for parameter in command.params]


def test_texts_of_mlflow_run_become_values():
    command = main.commands["nuclei"]
    words = ["--register", "true", "--trials", "12", "--encoder_weights", "none", "--channels", ""]
    params = command.make_context("nuclei", words).params
    assert (params["register"], params["trials"], params["encoder_weights"]) == (True, 12, "none")
    assert params["channels"] == ""
    assert command.make_context("nuclei", ["--encoder-weights", "none"]).params["encoder_weights"] == "none"
    showdown = main.commands["showdown"].make_context("showdown", ["--minutes", "5"]).params
    assert showdown["minutes"] == 5.0
    predict = ["--model", "m", "--images", "i", "--out", "o", "--threshold", ""]
    assert main.commands["predict"].make_context("predict", predict).params["threshold"] is None


def test_the_home_folder_may_be_written_as_in_a_shell(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    words = ["--model", "~/m", "--images", "~/x", "--out", "~nobody-here/masks"]
    params = main.commands["predict"].make_context("predict", words).params
    assert params["images"] == tmp_path / "x" and params["out"] == Path("~nobody-here/masks")
    assert params["model"] == str(tmp_path / "m")
    assert main.commands["live"].make_context("live", ["--source", "~/x"]).params["source"] == str(tmp_path / "x")
