"""How long a training step takes here in float32 and in bfloat16, measured on the step that will be trained."""

import hashlib
import json
import os
import platform
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from unetlab.data import cache
from unetlab.data.targets import HEADS, names
from unetlab.models import NETWORKS
from unetlab.setup import Recipe
from unetlab.training.fit import compiled, forget_models
from unetlab.training.precision import POLICIES

BUDGET = 3.0
"""Seconds of steps, all of both formats together, once they are traced."""

VERSION = 2
"""Counted up when a step is measured in another way."""

ROUNDS = 12
"""Timed steps of each format at most: more say the same."""

EDGE = 0.98
"""bfloat16 has to take less than this share of float32's time: of equals the more exact one."""


@dataclass(frozen=True)
class Pace:
    """What `measure` found.

    Args:
        float32, bfloat16: seconds of a step of `batch` images, the median.
        batch: images of a measured step: the recipe's, or fewer where so many would take longer than the budget.
        traced: seconds that building and tracing took, both formats together.
        measured: seconds that all steps took after that.
    """

    float32: float
    bfloat16: float
    batch: int
    traced: float
    measured: float

    @property
    def precision(self) -> str:
        """The faster format."""
        return "bfloat16" if self.bfloat16 < EDGE * self.float32 else "float32"

    def said(self) -> str:
        """Both times in a few words."""
        times = f"float32 {1000 * self.float32:.1f} ms, bfloat16 {1000 * self.bfloat16:.1f} ms"
        return f"{times} a step of {self.batch}"


def resolve(
    choice: str, network: str, recipe: Recipe, weights: str | None, anew: bool = False
) -> tuple[str, Pace | None]:
    """Turns `precision` into "float32" or "bfloat16"; with what was measured where `choice` is "auto".

    What was measured is kept in the cache, so that this machine says the same of the same step until it is measured
    `anew`, as it should be where it was busy with other things. A step that cannot be measured, such as one that the
    machine has no memory for, is left to float32.

    Args:
        network: a name of NETWORKS.
        recipe: what is trained.
        weights: of a pretrained encoder, as the builder takes them.
    """
    if choice != "auto":
        return choice, None
    step = json.dumps(
        [VERSION, network, weights is not None, _step_of(recipe), machine()], sort_keys=True, default=dict
    )
    path = kept_at(step)
    found = None if anew else _read(path)
    if found is None:
        try:
            found = measure(NETWORKS[network].build, recipe, weights)
        except (tf.errors.OpError, MemoryError):
            return "float32", None
        cache.write_text(path, json.dumps(asdict(found)))
    return found.precision, found


def kept_at(step: str) -> Path:
    """Where what was measured of a step is kept, by what tells it from others: in the cache, and in no data set's
    folder there, which is another where its files were moved."""
    path = cache.root() / "paces" / f"{hashlib.sha256(step.encode()).hexdigest()[:16]}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _step_of(recipe: Recipe) -> dict[str, object]:
    """What of a recipe a step's time depends on."""
    values = {name: getattr(recipe, name) for name in ("image_size", "channels", "batch_size", "loss", "classes")}
    own = {"head": recipe.objects if recipe.objects in HEADS else "", "gaps": recipe.border_weight > 0}
    return {**values, **own, "thaw": recipe.thaw > 0, "model": dict(recipe.model)}


def machine() -> list[object]:
    """What a step's time depends on besides: processor, cores, GPUs and libraries."""
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text().splitlines() if cpuinfo.exists() else [platform.processor()]
    kind = sorted({line for line in lines if line.startswith(("model name", "flags", "Features"))} or set(lines[:1]))
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    gpus = [str(tf.config.experimental.get_device_details(each)) for each in tf.config.list_physical_devices("GPU")]
    allowed = os.environ.get("ONEDNN_MAX_CPU_ISA", "")
    return [platform.machine(), kind, cores, gpus, allowed, tf.__version__, keras.__version__]


def _read(path: Path) -> Pace | None:
    try:
        return Pace(**json.loads(path.read_text()))
    except (OSError, ValueError, TypeError):  # none yet, or damaged, or of another version
        return None


def measure(build: Callable[..., keras.Model], recipe: Recipe, weights: str | None = None) -> Pace:
    """Times the recipe's training step in both formats, in turn, so that what else the machine does slows both.

    Measured on noise: what an image shows does not change how long it takes. Each format is traced once, as `fit` does,
    for batches of any number of images, on a first step of a single one; then come at most BUDGET seconds of steps, of
    fewer images where a whole batch would not fit. The first step of a size prepares what the next ones use and counts
    only where there is time for no other. Of a network one image of which takes longer than the budget, that step is
    all that is measured.
    """
    forget_models()
    began = time.perf_counter()
    try:
        steps = {name: _Step(build, recipe, weights, name) for name in POLICIES}
        gpu = bool(tf.config.list_physical_devices("GPU"))  # where each size is compiled anew, and steps are short
        first = recipe.batch_size if gpu else 1
        for step in steps.values():
            step(first)
        traced = time.perf_counter()
        single = {} if gpu else {name: step(1) for name, step in steps.items()}
        batch = recipe.batch_size if gpu else _batch(sum(single.values()), recipe.batch_size)
        rounds = [single] if batch == 1 and not gpu else []
        last = rounds[0] if rounds else {name: step(batch) for name, step in steps.items()}
        while len(rounds) < ROUNDS and time.perf_counter() - traced + sum(last.values()) <= BUDGET:
            last = {name: step(batch) for name, step in steps.items()}
            rounds.append(last)
        medians = {name: float(np.median([each[name] for each in rounds or [last]])) for name in steps}
        return Pace(**medians, batch=batch, traced=traced - began, measured=time.perf_counter() - traced)
    finally:
        forget_models()


def _batch(seconds: float, most: int) -> int:
    """How many images a step may have, `seconds` being those of a step of one image in each format.

    Two rounds of it are to fit, the first of which prepares the next, if half of a step of one image does not grow with
    the images: layers that are begun, weights that are moved. Of networks with an encoder of many small layers a step
    of 8 takes 3 to 5 times as long as one of 1, of the others 6 to 8 times, which leaves these their first round.
    """
    rounds = (BUDGET - seconds) / (2 * seconds)
    return int(np.clip(2 * rounds - 1, 1, most))


class _Step:
    """A recipe's training step in one format; called with a number of images, it returns the seconds it took."""

    def __init__(self, build: Callable[..., keras.Model], recipe: Recipe, weights: str | None, precision: str) -> None:
        keras.mixed_precision.set_global_policy(POLICIES[precision])
        try:
            self.model = compiled(build, recipe, weights, recipe.learning_rate)
        finally:
            keras.mixed_precision.set_global_policy("float32")
        rng = np.random.default_rng(0)
        shape = (recipe.image_size, recipe.image_size)
        self.images = rng.random((recipe.batch_size, *shape, recipe.channels), np.float32)
        masks = rng.integers(0, 1 + max(1, recipe.classes), (recipe.batch_size, *shape, 1 + len(names(recipe))))
        self.masks = masks.astype(np.float32)
        self.count = 1
        signature = tuple(tf.TensorSpec((None, *each.shape[1:]), tf.float32) for each in (self.images, self.masks))
        batches = tf.data.Dataset.from_generator(self._batches, output_signature=signature)
        options = tf.data.Options()
        options.experimental_optimization.apply_default_optimizations = False  # which would fetch batches ahead
        options.autotune.enabled = False
        self.batches = iter(batches.with_options(options))
        self.model.make_train_function()

    def _batches(self) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        while True:
            yield self.images[: self.count], self.masks[: self.count]

    def __call__(self, count: int) -> float:
        self.count = count
        started = time.perf_counter()
        logs = self.model.train_function(self.batches)
        float(logs["loss"])  # waits until it is done
        return time.perf_counter() - started
