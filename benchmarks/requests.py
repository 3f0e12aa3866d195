"""A served model under many requests, a tenth of them garbage: status codes, memory of the server, seconds.

    python -m benchmarks.requests --requests 50000

A small network behind a real `mlflow models serve`. Good requests must be answered as they were the first time, to the
byte; garbage must get a status below 500 and one line without a trace. Ends with status 1 where they do not. Linux
only, where a process says its memory.
"""

import base64
import http.client
import json
import os
import re
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import click
import keras
import mlflow
import numpy as np
from rich.console import Console
from rich.table import Table

from benchmarks.garbage import GARBAGE, LARGE, Request, encoded, rows, tiff
from benchmarks.large_images import field as spotted
from benchmarks.large_images import own_store, served
from unetlab.cli.base import OneLineErrors
from unetlab.inference.package import log_segmenter, settings_of
from unetlab.models.scratch import scratch_unet
from unetlab.setup import Recipe

WARM = 0.1
"""Share of the requests after which the server counts as warm."""

EVERY_LARGE = 100
"""Requests of garbage for each that is too large."""


@dataclass
class Found:
    """What came of it.

    Args:
        answers: how often each kind got each status, "" for a client that went away; good ones are "good".
        wrong: the first answers that were not as they should be, with their kind.
        seconds: of each good request.
        slowest: seconds of the slowest of each kind.
        memory: MB of the server at its start, once warm, on its way, at the end, and at most.
        took: seconds of all.
    """

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)
    seconds: list[float] = field(default_factory=list)
    slowest: dict[str, float] = field(default_factory=dict)
    memory: dict[str, float] = field(default_factory=dict)
    took: float = 0.0

    @property
    def good(self) -> int:
        """Good requests sent."""
        return sum(count for (kind, _), count in self.answers.items() if kind == "good")

    @property
    def garbage(self) -> int:
        """Requests of garbage sent."""
        return self.answers.total() - self.good

    @property
    def failed(self) -> int:
        """Answers that were not as they should be."""
        return len(self.wrong)


def good_requests() -> list[tuple[bytes, tuple[int, int]]]:
    """Images of several forms and sizes, each with its height and width."""
    grey = spotted(90, 140)
    colour = np.dstack([grey, grey[::-1], grey])
    forms = [
        *((encoded(spotted(side, side + 30)), (side, side + 30)) for side in (30, 40, 64, 100, 200)),
        (encoded(colour), (90, 140)),
        (encoded(colour, "JPEG"), (90, 140)),
        (encoded(grey, "BMP"), (90, 140)),
        (tiff(grey.astype(np.uint16) * 200, metadata=None), (90, 140)),
        (tiff(colour, photometric="rgb", compression="zlib"), (90, 140)),
    ]
    return forms


class Client:
    """One that sends requests one after the other over a connection that stays.

    Args:
        address: of the server.
        found: where answers are counted.
        first: the first answer to each good request.
        lock: for both.
    """

    def __init__(self, address: str, found: Found, first: dict[int, str], lock: threading.Lock) -> None:
        self.netloc, self.found, self.first, self.lock = urlsplit(address).netloc, found, first, lock
        self.line = http.client.HTTPConnection(self.netloc, timeout=120)

    def send(self, request: Request) -> tuple[int, str]:
        """Status and text of the answer; 0 where the client went away itself, -1 where there is none."""
        try:
            if request.breaks_off:
                assert isinstance(request.body, bytes)
                told = {**request.headers, "Content-Length": str(2 * len(request.body))}
                self.line.request("POST", "/invocations", request.body, told)
                return 0, ""
            body = request.body if isinstance(request.body, bytes) else request.body()
            chunked = not isinstance(request.body, bytes)
            self.line.request("POST", "/invocations", body, request.headers, encode_chunked=chunked)
            answer = self.line.getresponse()
            return answer.status, answer.read().decode()
        except (OSError, http.client.HTTPException, UnicodeDecodeError) as error:
            self.line.close()
            return -1, repr(error)
        finally:
            if request.breaks_off:
                self.line.close()

    def good(self, number: int, request: Request, size: tuple[int, int]) -> None:
        """Sends a good request and compares its answer with the first."""
        started = time.perf_counter()
        status, text = self.send(request)
        took = time.perf_counter() - started
        with self.lock:
            self.found.answers["good", status] += 1
            self.found.seconds.append(took)
            self.found.slowest["good"] = max(took, self.found.slowest.get("good", 0.0))
            first = self.first.setdefault(number, text)
            if status != 200 or text != first or not _shows(text, size):
                self.found.wrong.append(f"good request {number}: {status} {text[:200]}")

    def garbage(self, kind: str, request: Request) -> None:
        """Sends garbage and looks at how it is refused."""
        started = time.perf_counter()
        status, text = self.send(request)
        took = time.perf_counter() - started
        with self.lock:
            self.found.answers[kind, status] += 1
            self.found.slowest[kind] = max(took, self.found.slowest.get(kind, 0.0))
            if not request.breaks_off and (why := unfit(status, text)):
                self.found.wrong.append(f"{kind}: {why}: {status} {text[:200]}")


def _shows(text: str, size: tuple[int, int]) -> bool:
    (row,) = json.loads(text)["predictions"]
    head = base64.b64decode(row["mask"])[16:24]
    return (int.from_bytes(head[4:]), int.from_bytes(head[:4])) == size


def unfit(status: int, text: str) -> str:
    """What is wrong with how garbage was refused, "" if nothing is."""
    if not 400 <= status < 500:
        return "no refusal"
    try:
        told = json.loads(text)
    except ValueError:
        return "no JSON"
    if set(told) != {"error_code", "message"} or not told["message"]:
        return "not a code and a message"
    if "\n" in told["message"] or len(text) > 1000 or re.search(r'Traceback|File \\*"|line \d+, in', text):
        return "more than a line"
    return ""


def memory(group: int, which: str = "VmRSS") -> float:
    """MB of the largest process of a group, now or (VmHWM) at most."""
    found = [0.0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            if os.getpgid(int(status.parent.name)) == group:
                found += [int(kb) / 1024 for kb in re.findall(rf"{which}:\s+(\d+) kB", status.read_text())]
        except OSError:  # it has ended
            continue
    return max(found)


def plan(count: int, seed: int, share: float = 0.1) -> Iterator[tuple[str, int]]:
    """Kind of each request, and which one; a share at random is garbage, of each kind equally often."""
    rng = np.random.default_rng(seed)
    kinds, large, sent, first = list(GARBAGE), list(LARGE), 0, len(good_requests())
    for number in range(count):
        if number < first or rng.random() >= share:
            yield "good", number
            continue
        sent += 1
        if sent % EVERY_LARGE == EVERY_LARGE // 2:
            yield large[sent // EVERY_LARGE % len(large)], number
        else:
            yield kinds[sent % len(kinds)], number


def log() -> str:
    """Logs a small untrained network that is looked at whole; returns its address."""
    keras.utils.set_random_seed(0)
    network = scratch_unet((32, 32, 3), filters=2, depth=2)
    settings = settings_of(Recipe(image_size=32, channels=3, epochs=1, batch_size=1))
    with mlflow.start_run():
        info = log_segmenter(network, name="small", settings=settings, example=encoded(spotted(40, 40)), tags={})
    return str(info.model_uri)


def measure(
    count: int, clients: int = 2, seed: int = 0, share: float = 0.1, say: Callable[[str], None] = lambda line: None
) -> Found:
    """Serves the small network and sends it so many requests, a share of them garbage, by so many clients at once."""
    with own_store() as folder:
        with served(log(), folder, timeout=60) as (address, group):
            found = Found(memory={"start": memory(group)})
            started = time.perf_counter()
            _ask(address, group, found, list(plan(count, seed, share)), clients, say)
            found.took = time.perf_counter() - started
            found.memory |= {"end": memory(group), "peak": memory(group, "VmHWM")}
        trace = re.search(r"Traceback", (folder / "server.log").read_text())
        say("the server's log holds traces" if trace else "the server's log holds no trace")
    return found


def _ask(
    address: str, group: int, found: Found, todo: list[tuple[str, int]], clients: int, say: Callable[[str], None]
) -> None:
    lock, first = threading.Lock(), dict[int, str]()
    images = [(rows(image), size) for image, size in good_requests()]
    made = {kind: make() for kind, make in {**GARBAGE, **LARGE}.items()}
    marks = {int(len(todo) * share): name for share, name in ((WARM, "warm"), (0.4, "at 40 %"), (0.7, "at 70 %"))}
    waiting = iter(enumerate(todo))

    def work() -> None:
        client = Client(address, found, first, lock)
        while True:
            with lock:
                place, (kind, number) = next(waiting, (-1, ("", 0)))
                if place in marks:
                    found.memory[marks[place]] = memory(group)
                    say(f"{place} requests, {found.memory[marks[place]]:.0f} MB, {found.failed} failed")
            if place < 0:
                client.line.close()
                return
            if kind == "good":
                which = number % len(images)
                client.good(which, *images[which])
            else:
                client.garbage(kind, made[kind])

    threads = [threading.Thread(target=work) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def tables(found: Found) -> Iterator[Table]:
    """What was found, to be printed."""
    kinds = Table("request", "sent", "status", "slowest, s", title="requests")
    for kind in dict.fromkeys(kind for kind, _ in sorted(found.answers, key=lambda each: (each[0] != "good", each))):
        of_kind = {status: count for (name, status), count in found.answers.items() if name == kind}
        said = ", ".join(f"{status or 'went away'}: {count:,}" for status, count in sorted(of_kind.items()))
        kinds.add_row(kind, f"{sum(of_kind.values()):,}", said, f"{found.slowest[kind]:.2f}")
    yield kinds
    sums = Table("figure", "value", title="sums")
    middle, late = np.percentile(found.seconds, [50, 95]) * 1000
    sums.add_row("good requests", f"{found.good:,}")
    sums.add_row("garbage", f"{found.garbage:,}")
    sums.add_row("not answered as they should be", f"{found.failed:,}")
    sums.add_row("good ones, ms, median and 95 %", f"{middle:.1f}, {late:.1f}")
    for name, mb in found.memory.items():
        sums.add_row(f"memory of the server, MB, {name}", f"{mb:.0f}")
    sums.add_row("seconds", f"{found.took:.0f}")
    yield sums


@click.command(cls=OneLineErrors)
@click.option("--requests", "count", type=click.IntRange(20), default=50_000, show_default=True)
@click.option("--clients", type=click.IntRange(1), default=2, show_default=True)
@click.option("--seed", type=int, default=0, show_default=True)
def main(count: int, clients: int, seed: int) -> int:
    """Requests to a served model, a tenth of them garbage."""
    console = Console()
    found = measure(count, clients, seed, say=lambda line: console.print(line, highlight=False))
    for table in tables(found):
        console.print(table)
    for line in found.wrong[:20]:
        console.print(line, highlight=False, markup=False)
    return 1 if found.wrong else 0


if __name__ == "__main__":
    main()
