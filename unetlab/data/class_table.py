"""A small table that names classes: `classes.csv`, with the columns value and name."""

import csv
import io
from collections.abc import Iterable

from unetlab.errors import UserError

TABLE = "classes.csv"
BACKGROUND_NAME, UNKNOWN_NAME = "background", "unknown"

MOST_CLASSES = 64
"""More different values than this, background and unknown apart, are no classes."""


def read_table(text: str, files: str) -> tuple[dict[int, str], bool]:
    """The name of each value, in the table's order but for 0, which comes first, and whether values are colours.

    A value is a whole number, or #rrggbb for a colour, which becomes 0xRRGGBB. The case of background and unknown does
    not count. 0 is background unless the table says otherwise.

    Args:
        text: of the file, with any line ends.
        files: where it lies, for errors.

    Raises UserError naming the line.
    """
    where = f"{files}: {TABLE}"
    try:
        lines = io.StringIO(text.lstrip("\ufeff"), newline=None)
        rows = list(csv.DictReader(lines, skipinitialspace=True))
    except csv.Error as error:
        raise UserError(f"{where} is no table ({error})") from error
    if not rows or not {"value", "name"} <= set(rows[0]):
        way = semicolons(rows[0]) if rows else ""
        raise UserError(f"{where} must have the columns value and name, and a row a class{'; ' * bool(way)}{way}")
    found: dict[int, str] = {}
    for number, row in enumerate(rows, start=2):
        value, name = _value(row["value"]), str(row["name"] or "").strip()
        name = name.lower() if name.lower() in (BACKGROUND_NAME, UNKNOWN_NAME) else name
        if value < 0 or not name:
            came = f"{str(row['value'] or '').strip()!r}, {name!r}"
            raise UserError(f"{where} line {number}: {came}; a row has a whole number or #rrggbb, and a name")
        if value in found or name in found.values():
            raise UserError(f"{where} line {number}: {str(row['value']).strip()} or {name!r} stands there twice")
        found[value] = name
    count = sum(name not in (BACKGROUND_NAME, UNKNOWN_NAME) for name in found.values())
    if count > MOST_CLASSES:
        raise UserError(f"{where} has {count} classes; there can be {MOST_CLASSES}")
    colours = any(str(row["value"]).strip().startswith("#") for row in rows)
    return {0: found.pop(0, BACKGROUND_NAME), **found}, colours


def semicolons(names: Iterable[str | None]) -> str:
    """What is said of a table whose only column is all of its first line, as spreadsheets write it in much of Europe;
    "" of others."""
    name, *more = names or [""]
    return "separate its columns by commas, not semicolons" if not more and ";" in str(name) else ""


def _value(text: str | None) -> int:
    """A number or a colour; -1 for what is neither."""
    text = str(text or "").strip()
    try:
        return int(text[1:], 16) if text.startswith("#") and len(text) == 7 else int(text)
    except ValueError:
        return -1
