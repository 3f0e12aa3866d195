"""The package as `pip install` leaves it: a wheel built from the tree, installed elsewhere, used without the tree."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pandas as pd
import pytest
from fake_runs import difficulty, log_setup_run

from experiments import SETUPS

ROOT = Path(__file__).parents[2]
PACKAGES = ("unetlab", "experiments")
KEPT_OUT = shutil.ignore_patterns("__pycache__")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """A wheel built without the network from a copy of the tree, so that nothing is left lying in the tree."""
    folder = tmp_path_factory.mktemp("wheel")
    tree = folder / "tree"
    for name in (*PACKAGES, "tests", "benchmarks"):
        shutil.copytree(ROOT / name, tree / name, ignore=KEPT_OUT)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tree)
    _pip("wheel", "--no-build-isolation", "--wheel-dir", folder, tree)
    return next(folder.glob("unetlab-*.whl"))


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory) -> Path:
    """A folder that holds the wheel's packages and nothing else."""
    folder = tmp_path_factory.mktemp("installed")
    _pip("install", "--target", folder, wheel)
    return folder


def _pip(command: str, *words: object) -> None:
    always = [sys.executable, "-m", "pip", command, "--quiet", "--no-index", "--no-deps", "--disable-pip-version-check"]
    done = subprocess.run([*always, *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def _python(installed: Path, *words: str) -> str:
    """What Python prints with the installed packages before all others, run far from the tree."""
    environment = {**os.environ, "PYTHONPATH": str(installed)}
    done = subprocess.run(
        [sys.executable, *words], cwd=installed.parent, env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_it_holds_every_file_of_the_packages_and_nothing_else(wheel):
    names = set(zipfile.ZipFile(wheel).namelist())
    held = {name for name in names if ".dist-info/" not in name}
    tree = {
        path.relative_to(ROOT).as_posix()
        for package in PACKAGES
        for path in (ROOT / package).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == tree
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)


def test_an_installed_wheel_lists_the_setups(installed):
    where = _python(installed, "-c", "import experiments, unetlab; print(unetlab.__file__, experiments.__file__)")
    assert where.split() == [str(installed / package / "__init__.py") for package in PACKAGES]
    page = _python(installed, "-m", "unetlab", "--help")
    assert set(SETUPS) | {"compare", "predict"} <= set(page.split())


def test_an_installed_wheel_compares_the_runs_of_a_real_store(installed, store, tmp_path):
    for k, name in enumerate(("nuclei", "nuclei-scratch")):
        log_setup_run(name, difficulty() - 0.05 * k)
    printed = _python(installed, "-m", "unetlab", "compare", "--out", str(tmp_path / "out"))
    assert "nuclei-scratch" in printed
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert page.rstrip().endswith("</html>") and "nuclei is better." in page and "{{" not in page
    pairs = pd.read_csv(tmp_path / "out" / "pairs.csv")
    assert set(pairs["a"]) == {"nuclei"} and set(pairs["b"]) == {"nuclei-scratch"}
    assert len(pd.read_csv(tmp_path / "out" / "ranking.csv")) == 2
