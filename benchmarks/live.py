"""Frames a second of `live`, end to end over the page's own connection, and what bounds them.

    python -m benchmarks.live --model models:/unetlab-nuclei@champion --side 256 --seconds 20

The page is open in headless Chromium, whose camera shows images of the built-in twin (or of a folder) at 60 frames a
second. A frame is taken from the camera, sent, answered by the command `live` in a process of its own, and drawn with
its mask: decoding and overlay are in the figures. Browser and server share the processors, as they do on a desk.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import click
import mlflow
import numpy as np
import psutil
from PIL import Image
from rich.console import Console
from rich.table import Table

from benchmarks.log import logged
from benchmarks.processes import free_ports
from unetlab.cli.base import OneLineErrors
from unetlab.data.twins import nuclei
from unetlab.errors import UserError
from unetlab.images import codecs, geometry
from unetlab.service.pages import images_of

SHOWN = 60
"""Images that the camera shows in turn."""

RATE = 60

STARTS_WITHIN = 600
"""Seconds."""

WARM = 3
"""Seconds before anything is measured."""

CHROMIUM = ("chromium", "google-chrome", "chromium-browser")

SAMPLES = """
const done = arguments[0];
import('/live.js').then(page => done(page.samples.map(({taken, sent, came, drawn, ms}) => ({
    took: drawn - taken, at: drawn, take: sent - taken, draw: drawn - came, ...ms,
    wire: came - sent - Object.values(ms).reduce((a, b) => a + b)}))))
"""

STEPS = {
    "take": "take the frame from the camera (page)",
    "wire": "wire, both ways",
    "wait": "wait for a thread",
    "decode": "decode",
    "model": "model: prepare, network, mask, objects",
    "encode": "encode the plane",
    "draw": "overlay (page)",
}


def camera_file(path: Path, side: int, folder: Path | None) -> None:
    """Writes what the camera shows: Y4M of images squeezed to squares, in the colours of video."""
    if folder is None:
        images = [job().image for job in nuclei.jobs(0)[:SHOWN]]
    else:
        images = [codecs.decode(each)[0] for each in images_of(folder)[:SHOWN]]
    with open(path, "wb") as file:
        file.write(b"YUV4MPEG2 W%d H%d F%d:1 Ip A1:1 C420jpeg\n" % (side, side, RATE))
        for image in images:
            squeezed = geometry.resize_image(geometry.fit_channels(image, 3), side, side)
            luma, blue, red = Image.fromarray(squeezed).convert("YCbCr").split()
            file.write(b"FRAME\n" + luma.tobytes())
            for plane in (blue, red):
                file.write(plane.resize((side // 2, side // 2), Image.Resampling.BOX).tobytes())


@contextmanager
def page(model: str, export: str, folder: Path) -> Iterator[tuple[str, "subprocess.Popen[bytes]"]]:
    """The address at which `live` serves a model, or an export of it, and its process."""
    (port,) = free_ports(1)
    log = folder / "live.log"
    words = ["-m", "unetlab", "live", "--source", "camera", "--port", str(port), "--model", model, "--export", export]
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, *words], stdout=output, stderr=output)
    try:
        end = time.monotonic() + STARTS_WITHIN
        while "look at http" not in log.read_text():
            if process.poll() is not None or time.monotonic() > end:
                raise UserError(f"live does not start: {(log.read_text().splitlines() or ['no word'])[-1]}")
            time.sleep(0.2)
        yield f"http://127.0.0.1:{port}", process
    finally:
        process.terminate()
        process.wait(120)


@contextmanager
def browser(camera: Path) -> Iterator[Any]:
    """Headless Chromium whose camera shows a file. Raises UserError where it is not installed."""
    binary, driver = next(filter(None, map(shutil.which, CHROMIUM)), None), shutil.which("chromedriver")
    if not (binary and driver):
        raise UserError("Chromium and chromedriver are not installed; apt-get install chromium chromium-driver")
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for word in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        "--window-size=1300,850",
    ):
        options.add_argument(word)
    options.add_argument("--use-fake-device-for-media-stream")
    options.add_argument("--use-fake-ui-for-media-stream")
    options.add_argument(f"--use-file-for-fake-video-capture={camera}")
    opened = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    try:
        yield opened
    finally:
        opened.quit()


def seconds_of(processes: list[psutil.Process]) -> float:
    """Processor time that processes have taken so far, in seconds."""
    total = 0.0
    for process in processes:
        try:
            total += sum(process.cpu_times()[:2])
        except psutil.NoSuchProcess:
            continue
    return total


def measure(
    model: str, side: int, seconds: float, folder: Path | None, export: str = ""
) -> tuple[np.ndarray, dict[str, np.ndarray], dict[str, float]]:
    """Shows a camera's frames for some seconds.

    Returns:
        Milliseconds at which frames were drawn, (n,); of each frame its latency ("took") and steps, (n,); and the
        processors that server and browser kept busy.

    Raises UserError where no frame is drawn, or of another size.
    """
    with tempfile.TemporaryDirectory() as name:
        camera = Path(name) / "camera.y4m"
        camera_file(camera, side, folder)
        with page(model, export, Path(name)) as (address, process), browser(camera) as opened:
            opened.get(address)
            opened.execute_script("const it = document.getElementById('side'); it.value = '0'")
            time.sleep(WARM)
            theirs = psutil.Process(opened.service.process.pid).children(recursive=True)
            groups = {"server": [psutil.Process(process.pid)], "browser": theirs}
            opened.execute_async_script(
                "const done = arguments[0]; import('/live.js').then(p => {p.samples.length = 0; done()})"
            )
            before = {group: seconds_of(each) for group, each in groups.items()}
            started = time.perf_counter()
            time.sleep(seconds)
            found = opened.execute_async_script(SAMPLES)
            took = time.perf_counter() - started
            busy = {group: (seconds_of(each) - before[group]) / took for group, each in groups.items()}
            size = opened.execute_script("return [shown.width, shown.height]")
            said = opened.execute_script("return notice.textContent")
    if len(found) < 3 or size != [side, side]:
        raise UserError(f"{len(found)} frames of {size[0]} x {size[1]} pixels were drawn ({said or 'no notice'})")
    steps = {step: np.array([each[step] for each in found]) for step in ("took", *STEPS)}
    return np.array([each["at"] for each in found]), steps, busy


@click.command(cls=OneLineErrors)
@click.option("--model", required=True, help="As for predict.")
@click.option("--side", default=256, show_default=True, help="Of the frames, in pixels; even.")
@click.option("--seconds", default=20.0, show_default=True, help="That are measured.")
@click.option("--export", default="", help="Of the model, whose network answers: litert-int8.")
@click.option("--images", type=click.Path(path_type=Path), help="A folder whose images the camera shows.")
def main(model: str, side: int, seconds: float, export: str, images: Path | None) -> None:
    """Frames a second and latency of the page, by step."""
    drawn, steps, busy = measure(model, side, seconds, images, export)
    rate = 1000 * (len(drawn) - 1) / (drawn[-1] - drawn[0])
    p50, p95 = np.percentile(steps["took"], (50, 95))
    console, shown = Console(highlight=False), f"{model} as {export}" if export else model
    console.print(
        f"{shown}, {side} x {side}: {rate:.1f} frames a second, latency p50 {p50:.1f} ms, p95 {p95:.1f} ms, "
        f"{len(drawn)} frames"
    )
    spent = {group: 1000 * each / rate for group, each in busy.items()}
    console.print(
        f"processor time a frame: server {spent['server']:.1f} ms, browser {spent['browser']:.1f} ms; "
        f"{os.cpu_count()} processors with nothing else to do have it for "
        f"{1000 * (os.cpu_count() or 1) / sum(spent.values()):.1f} frames a second"
    )
    table = Table("step", "p50, ms", "p95, ms", "share of latency")
    for step, called in STEPS.items():
        low, high = np.percentile(steps[step], (50, 95))
        table.add_row(called, f"{low:.1f}", f"{high:.1f}", f"{steps[step].sum() / steps['took'].sum():.0%}")
    console.print(table)
    with logged("live"):
        mlflow.log_params({"model": model, "side": side, "seconds": seconds, "export": export})
        mlflow.log_metrics({"frames_a_second": rate, "latency_ms/p50": p50, "latency_ms/p95": p95})
        mlflow.log_metrics({f"processor_ms_a_frame/{group}": each for group, each in spent.items()})


if __name__ == "__main__":
    main()
