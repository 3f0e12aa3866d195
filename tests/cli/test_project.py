"""MLproject, conda.yaml, pyproject.toml and the command line say the same."""

import tomllib
from pathlib import Path

import yaml

from experiments import SETUPS
from unetlab.cli import main

ROOT = Path(__file__).parent.parent.parent
RENAMED = {"run_id": "run", "where": "filter"}
"""Names of the command line's own that would hide a word of Python's."""
PROJECT = yaml.safe_load((ROOT / "MLproject").read_text())


def test_conda_yaml_and_pyproject_name_the_same_packages():
    conda = yaml.safe_load((ROOT / "conda.yaml").read_text())
    pinned = next(entry["pip"] for entry in conda["dependencies"] if isinstance(entry, dict))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert pinned == project["dependencies"]
    assert all("==" in requirement for requirement in pinned)


def test_every_entry_point_is_a_command_with_the_same_parameters_and_defaults():
    for name, entry in PROJECT["entry_points"].items():
        if name == "main":
            continue
        command = main.main.commands[name]
        options = {RENAMED.get(option.name, option.name): option for option in command.params}
        for parameter, spec in entry["parameters"].items():
            assert f"{{{parameter}}}" in entry["command"]
            if "default" in spec and options[parameter].default is not None:
                assert spec["default"] == str(options[parameter].default).lower()


def test_every_setup_has_an_entry_point():
    assert set(SETUPS) <= set(PROJECT["entry_points"])
