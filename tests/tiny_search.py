"""A search of seconds in a process that a test may kill: python tiny_search.py IMAGES TUNER [TRIALS [EPOCHS]].

Store and cache are those of the environment. Some networks misbehave where a test asks for it by UNETLAB_TEST.
"""

import json
import os
import signal
import sys
import time

from tiny_setup import RECIPE, TINY

from unetlab.cli import quiet
from unetlab.models import NETWORKS, Network
from unetlab.models.scratch import scratch_unet


def bad_unet(**settings):
    """Kills its process or hangs while it is built for 64 pixels."""
    if settings["input_shape"][0] == 64:
        match os.environ.get("UNETLAB_TEST"):
            case "killed":
                os.kill(os.getpid(), signal.SIGKILL)
            case "raises":
                raise MemoryError("no room for 64 pixels")
            case "hangs":
                time.sleep(3600)
    return scratch_unet(**settings)


NETWORKS["bad"] = Network(bad_unet, lambda model: 2 ** int(model.get("depth", 4)))


def space(hp, recipe):
    hp.Choice("image_size", [32, 64], default=recipe.image_size)
    hp.Float("learning_rate", 1e-3, 3e-2, sampling="log", default=recipe.learning_rate)


def main(images, tuner, trials="3", epochs="3"):
    import dataclasses

    from unetlab.jobs.interrupt import interruptible
    from unetlab.jobs.run import run_setup
    from unetlab.options import Options

    network = "bad" if os.environ.get("UNETLAB_TEST") else "scratch"
    recipe = RECIPE.changed({"dropout": 0.2, "brightness": 0.1, "epochs": int(epochs)})
    setup = dataclasses.replace(TINY, network=network, recipe=recipe, space=space)
    stall = float(os.environ.get("UNETLAB_TEST_STALL", "15"))
    options = Options(data=images, trials=int(trials), tuner=tuner, seed=1, models="best", stall=stall)
    options = dataclasses.replace(options, **json.loads(os.environ.get("UNETLAB_TEST_OPTIONS", "{}")))
    with interruptible("the same command"):
        print(run_setup(setup, dataclasses.replace(options, precision="float32")).run_id)


if __name__ == "__main__":
    quiet.settle()
    import tiny_search  # so that what travels to another process is found there by this name

    tiny_search.main(*sys.argv[1:])
