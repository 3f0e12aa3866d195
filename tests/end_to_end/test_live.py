"""The page of `live` as a person uses it, driven in headless Chromium with its fake camera and with files."""

import time

import numpy as np
import pytest
import tifffile
from chromium import chromium, wait_for_text
from conftest import blob, encoded
from PIL import Image
from small_live import in_classes, page, serving, three_objects

from unetlab.service.live.app import make_app
from unetlab.service.live.source import Camera, Film, Frames, open_source

pytestmark = pytest.mark.browser

FAKE_CAMERA = ("--use-fake-device-for-media-stream=fps=30", "--use-fake-ui-for-media-stream")

WINDOW = "--window-size=1300,850"

FIGURES = """return Object.fromEntries(['objects', 'foreground', 'rate', 'latency', 'dropped', 'steps', 'name', 'place',
    'notice', 'legend'].map(id => [id, document.getElementById(id).textContent]))"""

PIXEL = (
    "return [...document.getElementById('shown').getContext('2d').getImageData(arguments[0], arguments[1], 1, 1).data]"
)


@pytest.fixture(scope="module")
def browser():
    with chromium(WINDOW, *FAKE_CAMERA, logs=False) as opened:
        yield opened


def until(browser, true, seconds=60):
    """The figures of the page once `true` of them."""
    end = time.monotonic() + seconds
    while not true(found := browser.execute_script(FIGURES)):
        assert time.monotonic() < end, found
        time.sleep(0.1)
    return found


def visit(browser, address):
    """Opens the page, waits until it listens, and forgets what the console said before."""
    browser.get(address)
    wait_for_text(browser, "tiny")
    browser.get_log("browser")


def set_to(browser, name, value):
    """Moves a slider, chooses, or ticks, as a person does."""
    browser.execute_script(
        "const it = document.getElementById(arguments[0]);"
        "if (it.type === 'checkbox') it.click(); else it.value = arguments[1];"
        "for (const kind of ['input', 'change']) it.dispatchEvent(new Event(kind, {bubbles: true}))",
        name,
        value,
    )


def drop(browser, *paths):
    browser.find_element("id", "files").send_keys("\n".join(map(str, paths)))


def hosts(browser):
    """The start of every address that the page asked for."""
    asked = browser.execute_script("return performance.getEntries().map(e => e.name)")
    return {"/".join(url.split("/")[:3]) for url in asked if ":" in url and not url.startswith("blob:")}


def faults(browser):
    """What the console holds of scripts that failed, and of what the page's policy stopped."""
    return [entry for entry in browser.get_log("browser") if entry["source"] in ("javascript", "security")]


def test_the_camera_is_shown_with_its_mask_at_a_rate(browser, tmp_path):
    with serving(page(Camera())) as address:
        visit(browser, address)
        found = until(browser, lambda f: f["rate"] not in ("–", "0") and f["latency"] != "–")
        assert float(found["rate"]) > 1 and found["name"] == "Camera" and not found["notice"]
        for step in ("wait", "decode", "model", "encode", "wire", "page"):
            assert step in found["steps"]
        width, height = browser.execute_script("return [shown.width, shown.height]")
        assert (width, height) == (512, 384)  # of 640 x 480
        set_to(browser, "side", "256")
        end = time.monotonic() + 20
        while browser.execute_script("return shown.width") != 256:
            assert time.monotonic() < end
        browser.save_screenshot(str(tmp_path / "camera.png"))
        assert hosts(browser) == {address} and not faults(browser)


def test_a_file_is_masked_counted_and_saved(browser, tmp_path):
    path = tmp_path / "two.png"
    path.write_bytes(encoded(blob(200, 300)))
    with serving(page()) as address:
        visit(browser, address)
        drop(browser, path)
        found = until(browser, lambda f: f["objects"] == "2")
        assert found["name"] == "two.png"
        share = float(found["foreground"].split()[0])
        assert share == pytest.approx(100 * (blob(200, 300) > 127).mean(), abs=1.5)

        inside, outside = (60, 60), (290, 10)
        assert browser.execute_script(PIXEL, *outside) == [0, 0, 0, 255]
        assert browser.execute_script(PIXEL, *inside) == [255, round(255 * 0.65), 255 - round(55 * 0.35), 255]
        set_to(browser, "opacity", "1")
        assert browser.execute_script(PIXEL, *inside) == [255, 0, 200, 255]
        set_to(browser, "overlay", None)
        assert browser.execute_script(PIXEL, *inside) == [255, 255, 255, 255]
        set_to(browser, "overlay", None)

        set_to(browser, "own", None)
        set_to(browser, "threshold", "1")
        until(browser, lambda f: f["objects"] == "0")
        set_to(browser, "threshold", "0.5")
        until(browser, lambda f: f["objects"] == "2")

        browser.execute_cdp_cmd("Browser.setDownloadBehavior", {"behavior": "allow", "downloadPath": str(tmp_path)})
        browser.execute_script("save.click()")
        end = time.monotonic() + 20
        while not (saved := list(tmp_path.glob("two.png_*.png"))):
            assert time.monotonic() < end
            time.sleep(0.1)
        time.sleep(0.3)
        still = np.asarray(Image.open(saved[0]).convert("RGB"))
        assert still.shape == (200, 300, 3) and still[60, 60].tolist() == [255, 0, 200]
        assert hosts(browser) == {address} and not faults(browser)


def test_a_dropped_stack_of_16_bits_is_played_and_stopped(browser, tmp_path):
    path = tmp_path / "stack.tif"
    planes = np.stack([np.roll(blob(64, 64), 4 * k, axis=1) for k in range(4)] + [np.zeros((64, 64), np.uint8)])
    tifffile.imwrite(path, planes.astype(np.uint16) * 20, photometric="minisblack")
    with serving(page()) as address:
        visit(browser, address)
        drop(browser, path)
        until(browser, lambda f: f["place"].endswith("of 5") and f["rate"] not in ("–", "0"))
        browser.execute_script("play.click()")
        for frame, objects in ((4, "0"), (0, "2")):
            set_to(browser, "seek", str(frame))
            until(browser, lambda f, n=frame, o=objects: f["place"] == f"{n + 1} of 5" and f["objects"] == o)
        browser.execute_script("play.click()")
        until(browser, lambda f: f["place"] == "4 of 5")


def test_the_source_of_the_command_is_played_and_a_bad_frame_named(browser, tmp_path):
    for k in range(4):
        (tmp_path / f"cell{k}.png").write_bytes(encoded(blob(40 + k, 60)) if k != 2 else b"hello")
    with serving(page(open_source(str(tmp_path)))) as address:
        visit(browser, address)
        found = until(browser, lambda f: "cell2.png: not a PNG" in f["notice"])
        browser.execute_script("play.click()")  # on past it, round, and to it again
        until(browser, lambda f: f["name"] == "cell3.png" or f["notice"])
        until(browser, lambda f: "cell2.png: not a PNG" in f["notice"])
        set_to(browser, "seek", "3")
        found = until(browser, lambda f: f["name"] == "cell3.png")
        assert found["place"] == "4 of 4" and not found["notice"] and found["objects"] == "2"


def test_the_counter_is_that_of_the_frame_that_is_shown(browser, tmp_path):
    for k in range(5):
        (tmp_path / f"cell{k}.png").write_bytes(encoded(blob(40, 60)))
    with serving(page(open_source(str(tmp_path)))) as address:
        visit(browser, address)
        until(browser, lambda f: f["rate"] not in ("–", "0"))
        seen = {(f["name"], f["place"]) for f in (until(browser, bool) for _ in range(40))}
        assert len(seen) > 1 and seen <= {(f"cell{k}.png", f"{k + 1} of 5") for k in range(5)}


def test_a_still_that_is_slower_than_the_next_is_shown_before_it(browser, tmp_path, monkeypatch):
    for k in range(4):
        (tmp_path / f"cell{k}.png").write_bytes(encoded(blob(40, 60)))
    read = Frames.read

    def slow(self, number, most=None):
        time.sleep(0.3 if number == 1 else 0)
        return read(self, number, most)

    monkeypatch.setattr(Frames, "read", slow)
    with serving(page(open_source(str(tmp_path)))) as address:
        visit(browser, address)
        browser.execute_script("""window.names = [];
            new MutationObserver(all => all.forEach(one => one.addedNodes.forEach(node => names.push(node.data))))
                .observe(document.getElementById('name'), {childList: true})""")
        end = time.monotonic() + 60
        while len(names := browser.execute_script("return names")) < 9:
            assert time.monotonic() < end, names
            time.sleep(0.1)
    numbers = [int(name[4]) for name in names]
    assert all(after == (before + 1) % 4 for before, after in zip(numbers, numbers[1:], strict=False)), names


def test_the_side_of_frames_counts_while_the_camera_is_paused(browser):
    with serving(page(Camera())) as address:
        visit(browser, address)
        until(browser, lambda f: f["rate"] not in ("–", "0"))
        browser.execute_script("play.click()")
        set_to(browser, "side", "256")
        end = time.monotonic() + 20
        while browser.execute_script("return shown.width") != 256:
            assert time.monotonic() < end
            time.sleep(0.1)


def test_classes_have_their_colours_and_a_legend_that_counts(browser, tmp_path):
    path = tmp_path / "classes.png"
    path.write_bytes(encoded(three_objects()))
    with serving(page(network=in_classes, classes=("cell", "mitosis"))) as address:
        visit(browser, address)
        drop(browser, path)
        found = until(browser, lambda f: f["objects"] == "3")
        assert found["legend"] == "cell 2mitosis 1"
        set_to(browser, "opacity", "1")
        assert browser.execute_script(PIXEL, 5, 5) == [230, 159, 0, 255]
        assert browser.execute_script(PIXEL, 24, 16) == [86, 180, 233, 255]
        assert not browser.execute_script("return cut.checkVisibility()")
        browser.save_screenshot(str(tmp_path / "classes-page.png"))
        assert not faults(browser)


@pytest.fixture
def film(browser, tmp_path):
    """A film of a second, of the browser's own making."""
    browser.get("about:blank")
    data = browser.execute_async_script("""
        const done = arguments[0], canvas = document.createElement('canvas'), context = canvas.getContext('2d');
        Object.assign(canvas, {width: 160, height: 120});
        const recorder = new MediaRecorder(canvas.captureStream(20), {mimeType: 'video/webm'}), parts = [];
        let k = 0;
        const timer = setInterval(() => {
            context.fillStyle = 'black'; context.fillRect(0, 0, 160, 120);
            context.fillStyle = 'white'; context.fillRect(20 + k++, 30, 40, 40);
        }, 50);
        recorder.ondataavailable = event => parts.push(event.data);
        recorder.onstop = async () => {
            clearInterval(timer);
            done([...new Uint8Array(await new Blob(parts).arrayBuffer())]);
        };
        recorder.start(); setTimeout(() => recorder.stop(), 1000);
    """)
    path = tmp_path / "film.webm"
    path.write_bytes(bytes(data))
    return path


def test_a_film_is_played_from_the_command_and_dropped(browser, film):
    with serving(page(Film(film))) as address:
        visit(browser, address)
        until(browser, lambda f: f["objects"] == "1" and f["rate"] not in ("–", "0"))
        assert browser.execute_script("return [shown.width, shown.height]") == [160, 120]
        assert not faults(browser)
    with serving(page()) as address:
        visit(browser, address)
        drop(browser, film)
        until(browser, lambda f: f["objects"] == "1" and f["name"] == "film.webm")


def test_a_film_after_a_camera_that_gave_no_frame_is_played(browser, film):
    with serving(page()) as address:
        visit(browser, address)
        browser.execute_script("navigator.mediaDevices.getUserMedia = async () => new MediaStream(); camera.click()")
        time.sleep(0.3)
        drop(browser, film)
        until(browser, lambda f: f["objects"] == "1" and f["name"] == "film.webm")
        drop(browser, film)  # and again, while it plays
        until(browser, lambda f: f["rate"] not in ("–", "0"))
        assert not browser.execute_script("return document.getElementById('notice').textContent") and not faults(
            browser
        )


def test_a_refusal_stays_while_something_plays(browser, tmp_path, monkeypatch):
    monkeypatch.setenv("UNETLAB_MAX_BYTES", "1000000")
    large = tmp_path / "large.png"
    large.write_bytes(bytes(1_000_001))
    with serving(page(Camera())) as address:
        visit(browser, address)
        until(browser, lambda f: f["rate"] not in ("–", "0"))
        drop(browser, large)
        until(browser, lambda f: "large.png has more than 1,000,000 bytes" in f["notice"])
        time.sleep(1)
        found = until(browser, lambda f: f["rate"] not in ("–", "0"))
        assert "large.png has more than 1,000,000 bytes" in found["notice"]


def test_the_threshold_of_the_command_is_asked_for_to_its_last_digit(browser, tmp_path):
    path = tmp_path / "dim.png"
    path.write_bytes(encoded(blob(32, 32) // 255))  # two squares of 1 in 255
    with serving(page(threshold=0.0035)) as address:
        visit(browser, address)
        drop(browser, path)
        until(browser, lambda f: f["objects"] == "2")
        set_to(browser, "threshold", "0.01")
        until(browser, lambda f: f["objects"] == "0")


def test_films_without_frames_are_told_on_the_page(browser, film, tmp_path):
    cut = tmp_path / "header.webm"
    cut.write_bytes(film.read_bytes()[:150])
    noise = tmp_path / "noise.mp4"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    for path in (cut, noise):
        with serving(page(Film(path))) as address:
            visit(browser, address)
            assert "no frame that the browser can show" in until(browser, lambda f: f["notice"])["notice"]
    with serving(page()) as address:
        visit(browser, address)
        drop(browser, cut)
        assert until(browser, lambda f: f["notice"])["notice"].startswith("header.webm: This video has no frame")


def test_a_file_that_is_no_image_and_a_server_that_has_gone_are_told(browser, tmp_path):
    path = tmp_path / "notes.png"
    path.write_text("no image")
    good = tmp_path / "good.png"
    good.write_bytes(encoded(blob(40, 40)))
    with serving(page()) as address:
        visit(browser, address)
        drop(browser, path)
        found = until(browser, lambda f: f["notice"])
        assert found["notice"] == "notes.png: not a PNG, JPEG, TIFF or BMP image"
        drop(browser, good)
        assert not until(browser, lambda f: f["objects"] == "2")["notice"]
    drop(browser, good)
    assert "The server does not answer" in until(browser, lambda f: f["notice"])["notice"]


ORDER = """
    const [files, turns, done] = arguments;
    import('./sources.js').then(({Stills}) => {
        const seen = [], waiting = [];
        const pump = () => { while (source?.ready && waiting.length < 2) waiting.push(source.take()); };
        let source = null;
        source = new Stills(files.map(([name]) => ({path: 'file', query: {page: 0}, name})), pump);
        pump();
        while (seen.length < turns && waiting.length) {
            const frame = waiting.shift(), pages = files.find(([name]) => name === frame.name)[1];
            source.looked(frame, pages);
            seen.push(`${frame.name}${frame.query.page + 1}`);
            pump();
        }
        done(seen.join(' '));
    });
"""


def test_several_dropped_stacks_are_played_in_their_order(browser):
    with serving(page()) as address:
        visit(browser, address)
        for files, expected in (
            ([["A", 3], ["B", 2]], "A1 A2 A3 B1 B2 A1 A2 A3 B1 B2"),
            ([["A", 3], ["C", 1]], "A1 A2 A3 C1 A1 A2 A3 C1 A1 A2"),
            ([["C", 1], ["D", 1]], "C1 D1 C1 D1 C1 D1 C1 D1 C1 D1"),
            ([["A", 2]], "A1 A2 A1 A2 A1 A2 A1 A2 A1 A2"),
            ([["C", 1]], "C1"),
        ):
            assert browser.execute_async_script(ORDER, files, 10) == expected


def test_a_file_that_was_saved_anew_is_said_to_be_and_not_the_server_gone(browser, tmp_path):
    path = tmp_path / "again.png"
    path.write_bytes(encoded(blob(40, 40)))
    with serving(page()) as address:
        visit(browser, address)
        drop(browser, path)
        until(browser, lambda f: f["objects"] == "2")
        path.write_bytes(encoded(blob(64, 40)))
        set_to(browser, "threshold", "0.9")
        found = until(browser, lambda f: f["notice"])
        assert found["notice"] == "again.png: The file has changed or is gone since it was opened; drop it again."
        drop(browser, path)
        until(browser, lambda f: not f["notice"])


def test_a_page_that_is_open_while_live_is_started_anew_says_so(browser, tmp_path):
    path = tmp_path / "a.png"
    path.write_bytes(encoded(blob(40, 40)))
    live = page()
    app = make_app(live)
    with serving(live) as address:
        visit(browser, address)
        drop(browser, path)
        until(browser, lambda f: f["objects"] == "2")
        browser.execute_async_script("""
            const done = arguments[0], real = window.fetch;
            window.fetch = async (...told) => {
                const answer = await real(...told), said = JSON.parse(answer.headers.get('x-answer'));
                const headers = {'x-answer': JSON.stringify({...said, desk: 'another'})};
                return new Response(answer.body, {headers});
            };
            done();
        """)
        assert app.state.desk.about()["desk"] != make_app(live).state.desk.about()["desk"]
        set_to(browser, "threshold", "0.9")
        assert until(browser, lambda f: f["notice"])["notice"].startswith("Live was started anew")


def test_a_camera_that_is_denied_is_told():
    with (
        chromium(WINDOW, "--use-fake-device-for-media-stream", "--deny-permission-prompts", logs=False) as browser,
        serving(page(Camera())) as address,
    ):
        visit(browser, address)
        assert until(browser, lambda f: f["notice"])["notice"].startswith("The camera was denied. Allow it")
