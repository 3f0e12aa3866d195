"""Packages import those left of them on the road, never right of it."""

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent

ROAD = (
    *("errors", "options", "images", "setup", "experiments", "data", "labels", "models", "training", "inference"),
    *("metrics", "tracking", "search", "health", "comparison", "service", "jobs", "cli"),
)
"""`experiments` are described in the words of `setup` and read by what comes after them."""


def imported(path: Path) -> set[str]:
    """What a file imports of unetlab, as words of ROAD."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        names = []
        if isinstance(node, ast.ImportFrom):
            package = path.relative_to(ROOT).parts[: -node.level] if node.level else ()
            base = ".".join([*package, *([node.module] if node.module else [])])
            names = [f"{base}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        for name in names:
            first, *rest = name.split(".")
            if first == "experiments":
                found.add(first)
            elif first == "unetlab" and rest:
                found.add(rest[0])
    return found


FILES = [*sorted((ROOT / "unetlab").rglob("*.py")), *sorted((ROOT / "experiments").rglob("*.py"))]


def place(path: Path) -> str:
    """The word of ROAD that a file belongs to."""
    first, second = path.relative_to(ROOT).parts[:2]
    return first if first == "experiments" else second.removesuffix(".py")


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_a_file_imports_only_what_lies_left_of_it(path):
    if path.name in ("__init__.py", "__main__.py") and path.parent.name == "unetlab":
        return  # the doors of the house
    left = ROAD[: ROAD.index(place(path)) + 1]
    assert imported(path) <= set(left), f"{path} imports from right of {place(path)}"


def test_every_package_has_a_place_on_the_road():
    there = {path.stem for path in (ROOT / "unetlab").iterdir() if not path.name.startswith("__")}
    assert there == set(ROAD) - {"experiments"}


@pytest.mark.parametrize("package", ["images", "inference"])
def test_what_travels_inside_a_model_imports_only_what_travels_with_it(package):
    for path in (ROOT / "unetlab" / package).glob("*.py"):
        if path.name not in ("package.py", "segmenter.py"):
            assert imported(path) <= {"images", "inference"}
            assert "from unetlab" not in path.read_text(encoding="utf-8")
