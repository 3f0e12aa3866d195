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
SETTINGS |= {"tta": 0, "objects": "components", "seeds": 0.0, "least_object": 0}


def bright(images: np.ndarray) -> np.ndarray:
    """Probability is how bright a pixel is."""
    return images.mean(axis=-1, keepdims=True)


def predictor(network=bright, **changes) -> Predictor:
    return Predictor(network, SimpleNamespace(**{**SETTINGS, **changes}))


def page(source=None, network=bright, **changes) -> Live:
    return Live(predictor(network), "tiny", source, "the source", **changes)


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
