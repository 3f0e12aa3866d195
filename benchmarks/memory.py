"""How much memory reading takes, each in a fresh process.

    python -m benchmarks.memory stack --gb 2

`stack` writes an 8-bit TIFF stack of so many gigabytes into a temporary folder and reads its pages one by one.
"""

import json
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import numpy as np
import tifffile
from rich.console import Console
from rich.table import Table

from unetlab.cli.base import OneLineGroup

SIDE = 1024
"""Height and width of a page in pixels: a megabyte of 8 bits."""

PEAK = """
import json, re, resource, time
from pathlib import Path
started = time.perf_counter()
found = work()
seconds = time.perf_counter() - started
status = Path("/proc/self/status")  # on Linux ru_maxrss begins at the size of the process that started this one
peak = (
    int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) / 2**20
    if status.exists()
    else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**30
)
print(json.dumps({"seconds": seconds, "peak_gb": peak, "found": found}))
"""

READ = """
import sys
from pathlib import Path
from unetlab.images.codecs import open_pages
def work():
    with open_pages(Path(sys.argv[1])) as opened:
        return [opened.count, sum(int(opened.read(page)[0, 0, 0]) for page in range(opened.count))]
"""


def measure(work: str, *arguments: str) -> dict[str, object]:
    """Runs code that defines `work()` in a process of its own: its seconds, peak memory in GB, and what it found."""
    ran = subprocess.run([sys.executable, "-c", work + PEAK, *arguments], capture_output=True, text=True, check=False)
    if ran.returncode:
        raise click.ClickException((ran.stderr.strip().splitlines() or ["the process ended without a word"])[-1])
    found: dict[str, object] = json.loads(ran.stdout.strip().splitlines()[-1])
    return found


def write_stack(path: Path, pages: int) -> None:
    """Writes a TIFF of so many pages of SIDE x SIDE pixels, uint8, page by page."""
    page = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE), dtype=np.uint8)
    with tifffile.TiffWriter(path, bigtiff=True) as writer:
        for number in range(pages):
            page[0, 0] = number % 256
            writer.write(page, metadata=None, contiguous=False)


def show(title: str, found: dict[str, object], **more: object) -> None:
    """Prints a figure a row."""
    table = Table(title=title)
    table.add_column("what")
    table.add_column("figure", justify="right")
    for name, figure in {**more, "seconds": found["seconds"], "peak memory, GB": found["peak_gb"]}.items():
        table.add_row(name, f"{figure:.2f}" if isinstance(figure, float) else str(figure))
    Console().print(table)


@click.group(cls=OneLineGroup)
def main() -> None:
    """Peak memory of what has to deal with large data."""


@main.command()
@click.option("--gb", type=click.FloatRange(min=0.01), default=2.0, show_default=True, help="Size of the stack.")
def stack(gb: float) -> None:
    """A TIFF stack, its pages read one by one from the file."""
    pages = round(gb * 1000**3 / SIDE**2)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "stack.tif"
        write_stack(path, pages)
        found = measure(READ, str(path))
        if found["found"] != [pages, sum(number % 256 for number in range(pages))]:
            raise click.ClickException(f"the pages read are not those written: {found['found']}")
        show("a stack, page by page", found, pages=pages, **{"file, GB": path.stat().st_size / 1000**3})


if __name__ == "__main__":
    main()
