"""A page of `live` in this process, behind a network that finds what is bright."""

import threading
import time
from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np

from unetlab.inference.predict import Predictor
from unetlab.service.live.app import Live
from unetlab.service.live.serve import address, listen, server_of

SETTINGS = {"image_size": 32, "channels": 3, "normalise": "scale", "threshold": 0.5, "view": "whole", "scale": 1.0}
SETTINGS |= {"tta": 0, "objects": "components", "seeds": 0.0, "least_object": 0, "confidence": 0.0, "classes": ()}


def bright(images: np.ndarray) -> np.ndarray:
    """Probability is how bright a pixel is."""
    return images.mean(axis=-1, keepdims=True)


def in_classes(images: np.ndarray) -> np.ndarray:
    """Background, then two classes: what is grey, and what is bright."""
    grey = images.mean(axis=-1)
    return np.stack([grey < 0.3, (grey >= 0.3) & (grey < 0.7), grey >= 0.7], axis=-1).astype(np.float32)


def three_objects() -> np.ndarray:
    """uint8 (32, 32), the network's own size: two grey squares and a bright one."""
    image = np.zeros((32, 32), np.uint8)
    image[2:10, 2:10] = image[20:28, 2:10] = 128
    image[8:24, 18:30] = 255
    return image


def predictor(network=bright, **changes) -> Predictor:
    return Predictor(network, SimpleNamespace(**{**SETTINGS, **changes}))


def page(source=None, network=bright, classes=(), **changes) -> Live:
    found = predictor(network, classes=classes)
    return Live(found, "tiny", source, "the source", classes=classes, **changes)


@contextmanager
def serving(live: Live):
    """The address at which a page is served while the block lasts."""
    sock, server = listen(0), server_of(live)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [sock]}, daemon=True)
    thread.start()
    end = time.monotonic() + 30
    while not server.started:
        assert thread.is_alive() and time.monotonic() < end
        time.sleep(0.01)
    try:
        yield address(sock)
    finally:
        server.should_exit = True
        thread.join(10)
        sock.close()
