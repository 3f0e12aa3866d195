"""A search of seconds in a process that a test may kill: python tiny_search.py IMAGES TUNER [TRIALS [EPOCHS]].

Store and cache are those of the environment. Where a test asks for it by UNETLAB_TEST, networks for 64 pixels
misbehave, or for UNETLAB_TEST_ALL all; by UNETLAB_TEST_LIGHT, no pictures are drawn and no graphs made.
"""

import contextlib
import dataclasses
import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
from pathlib import Path

import lighter
import numpy as np
import pytest
from tiny_setup import RECIPE, TINY

from unetlab.cli import quiet
from unetlab.models import NETWORKS, Network
from unetlab.models.scratch import scratch_unet
from unetlab.options import Options


def bad_unet(**settings):
    """A network that misbehaves while it is built."""
    all_of_them = os.environ.get("UNETLAB_TEST_ALL") and multiprocessing.parent_process()  # the search weighs it too
    if settings["input_shape"][0] == 64 or all_of_them:
        match os.environ.get("UNETLAB_TEST"):
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "out of time":  # the kernel ends it, by the signal that it ends a process with where memory runs out
                resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + 1,) * 2)
                while True:
                    pass
            case "too large":
                with memory_of(2 * 2**30):
                    return scratch_unet(**{**settings, "filters": 4096, "depth": 3})
            case "raises":
                raise MemoryError("no room for 64 pixels")
            case "not finite":
                network = scratch_unet(**settings)
                network.set_weights([np.full_like(each, np.nan) for each in network.get_weights()])
                return network
            case "hangs":
                time.sleep(3600)
    return scratch_unet(**settings)


@contextlib.contextmanager
def memory_of(more):
    """A limit that the system sets this process: so many bytes more than it has now."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    now = int(re.search(r"VmSize:\s+(\d+)", Path("/proc/self/status").read_text())[1]) * 1024
    resource.setrlimit(resource.RLIMIT_AS, (now + more, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


# both in the processes of a search that asks for it, those of its trials too, and in no other test
if os.environ.get("UNETLAB_TEST_LIGHT"):
    lighter.draw_nothing(pytest.MonkeyPatch())
    lighter.trace_nothing(pytest.MonkeyPatch())
if os.environ.get("UNETLAB_TEST"):
    NETWORKS["bad"] = Network(bad_unet, lambda model: 2 ** int(model.get("depth", 4)))


def space(hp, recipe):
    hp.Choice("image_size", [32, 64], default=recipe.image_size)
    hp.Float("learning_rate", 1e-3, 3e-2, sampling="log", default=recipe.learning_rate)


def setup(epochs=3):
    network = "bad" if os.environ.get("UNETLAB_TEST") else "scratch"
    recipe = RECIPE.changed({"dropout": 0.2, "brightness": 0.1, "epochs": int(epochs), "depth": 1})
    return dataclasses.replace(TINY, network=network, recipe=recipe, space=space)


def options(images, tuner, trials=3):
    stall = float(os.environ.get("UNETLAB_TEST_STALL", "15"))
    told = Options(data=str(images), trials=int(trials), tuner=tuner, seed=1, models="best", stall=stall)
    own = json.loads(os.environ.get("UNETLAB_TEST_OPTIONS", "{}"))
    return dataclasses.replace(told, precision="float32", **own)


def main(images, tuner, trials="3", epochs="3"):
    from unetlab.errors import UserError
    from unetlab.jobs.interrupt import interruptible
    from unetlab.jobs.run import run_setup

    with interruptible("the same command"):
        try:
            print(run_setup(setup(epochs), options(images, tuner, trials)).run_id)
        except UserError as error:
            sys.exit(f"error: {error}")


if __name__ == "__main__":
    quiet.settle()
    import tiny_search  # so that what travels to another process is found there by this name

    tiny_search.main(*sys.argv[1:])
