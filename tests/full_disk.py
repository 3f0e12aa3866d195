"""A search on a disk that fills up while it trains: unshare -rm python full_disk.py DISK IMAGES STORE OUT.

DISK, an empty folder, becomes a small disk in memory that only this process and those it starts see. The search is
begun there with a copy of the database STORE; after its first trial the disk is filled, when it has ended the room is
given back, and it is begun again. What it left goes to the folder OUT; what it said, to OUT.0 and OUT.1; how the two
ended is printed.
"""

import errno
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

TESTS = Path(__file__).parent


def fill(path: Path) -> None:
    """Writes until there is no room left."""
    with open(path, "wb", buffering=0) as out:
        for size in (2**16, 1):
            try:
                while True:
                    out.write(b"0" * size)
            except OSError as error:
                assert error.errno == errno.ENOSPC


def search(disk: Path, images: str, log: str) -> "subprocess.Popen[bytes]":
    own = {"UNETLAB_CACHE": str(disk / "cache"), "MLFLOW_TRACKING_URI": f"sqlite:///{disk / 'mlflow.db'}"}
    own |= {"UNETLAB_ONE_PROCESS": "0", "PYTHONPATH": f"{TESTS.parent}{os.pathsep}{TESTS}"}
    command = [sys.executable, str(TESTS / "tiny_search.py"), images, "random", "2", "8"]
    with open(log, "w") as out:
        return subprocess.Popen(command, cwd=disk, env={**os.environ, **own}, stdout=out, stderr=out)


def main(disk: str, images: str, store: str, out: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", disk], check=True)
    shutil.copy(store, disk)
    first = search(Path(disk), images, f"{out}.0")
    while first.poll() is None and "trial 00 reference" not in Path(f"{out}.0").read_text():
        time.sleep(0.05)
    fill(Path(disk) / "filler")
    statuses = [first.wait()]
    (Path(disk) / "filler").unlink()
    statuses.append(search(Path(disk), images, f"{out}.1").wait())
    shutil.copytree(disk, out)
    print(*statuses)


if __name__ == "__main__":
    main(*sys.argv[1:])
