"""The MLflow UI and the report as a person sees them, driven in headless Chromium."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request

import numpy as np
import pytest
from chromium import chromium, hosts_asked, wait_for_text
from fake_runs import IDS, difficulty, log_setup_run, trials_csv

from unetlab.comparison import report
from unetlab.comparison.compare import compare
from unetlab.tracking import names, thumbnails, ui

pytestmark = pytest.mark.browser


@pytest.fixture
def browser():
    """Headless Chromium that keeps a log of every request."""
    with chromium("--window-size=1800,1000") as opened:
        yield opened


@pytest.fixture
def runs(store):
    """Three setups with a final child each, pictures of their masks and a search behind one of them."""
    base, rng = difficulty(), np.random.default_rng(0)
    y, x = np.mgrid[:64, :64]
    truth = np.stack([(y - 20 - k) ** 2 + (x - 30) ** 2 < 150 for k in range(len(IDS))])
    images = np.clip(truth * 130 + rng.normal(50, 15, truth.shape), 0, 255).astype(np.uint8)[..., None]
    trials = trials_csv(learning_rate=10 ** rng.uniform(-4, -2, 6), filters=[8, 16, 24] * 2)
    return [
        log_setup_run(
            name,
            base - 0.02 * k + rng.normal(0, 0.01, len(IDS)),
            metrics={"published/val_accuracy": 0.9685, "test/ms_per_image": 5.0 + k},
            artifacts={
                "search/trials.csv": trials,
                thumbnails.PATH: thumbnails.pack(IDS, images, truth, np.roll(truth, k, axis=2)),
            },
        )
        for k, name in enumerate(("nuclei", "nuclei-scratch", "latex"))
    ]


@pytest.fixture
def address(store, tmp_path):
    """A real `mlflow server` on the store."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [
        sys.executable,
        "-m",
        "mlflow",
        "server",
        "--backend-store-uri",
        store,
        "--port",
        str(port),
        "--workers",
        "1",
    ]
    with (tmp_path / "server.log").open("w") as log:
        server = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, start_new_session=True, cwd=tmp_path)
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, (tmp_path / "server.log").read_text()
                time.sleep(0.5)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def test_the_run_table_ranks_by_dice_and_a_search_unfolds(store, runs, address, browser):
    experiment = ui.open_experiment()
    browser.get(ui.table_address(experiment, address))
    shown = wait_for_text(browser, "val/native_dice", "test/native_dice", "published/val_acc", "nuclei cells seed 0")
    order = [shown.index(f"\n{name} cells seed 0") for name in ("nuclei", "nuclei-scratch", "latex")]
    assert order == sorted(order) and "nuclei final" not in shown

    browser.get("about:blank")
    browser.get(ui.table_address(experiment, address, names.NESTED))
    shown = wait_for_text(browser, "test/native_dice", "latex cells seed 0")
    assert "latex final" not in shown
    from selenium.webdriver.common.by import By

    unfold = browser.find_elements(By.CSS_SELECTOR, ".ag-row [col-id='attributes.`Run Name`'] button")
    assert unfold, "no run can be unfolded"
    browser.execute_script("arguments[0].click()", unfold[0])
    wait_for_text(browser, " final")
    assert hosts_asked(browser) <= {address}


def test_the_report_has_its_plots_and_asks_nobody(store, runs, browser, tmp_path):
    path = report.write(compare(runs), tmp_path / "report")
    browser.get(path.as_uri())
    shown = wait_for_text(browser, "nuclei", "Ranking", "Where they disagree most")
    assert "nuclei is the best of 3" in shown
    sizes = browser.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])")
    assert len(sizes) > 5 and all(done and width > 20 and drawn > 20 for done, width, drawn in sizes)
    assert not hosts_asked(browser)
    wide = browser.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert wide <= 0, "the report must not need sideways scrolling"
