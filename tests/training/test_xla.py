"""Where there is a GPU, steps are compiled by XLA, which has no kernel for some operations: all of ours have one."""

import os
import subprocess
import sys

import numpy as np
import pytest

from experiments import SETUPS
from unetlab.models import NETWORKS
from unetlab.training import fit
from unetlab.training.losses import LOSSES

SMALL = {"image_size": 64, "batch_size": 2}
CASES = {
    **{name: (name, {}) for name in SETUPS},
    **{head: ("auto", {"objects": head}) for head in ("border", "distance")},
    **{loss: ("nuclei-scratch", {"loss": loss}) for loss in LOSSES},
    "classes": ("nuclei-scratch", {"classes": 3}),
    "thaw": ("nuclei", {"thaw": 2}),
}


@pytest.mark.slow
@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", CASES)
def test_a_step_is_compiled_by_xla(case, precision, monkeypatch):
    named, changes = CASES[case]
    setup = SETUPS[named]
    recipe = setup.recipe.changed({**SMALL, **changes})
    monkeypatch.setattr(fit.tf.config, "list_physical_devices", lambda kind=None: [object()])
    compiled = []
    real = fit.compiled
    monkeypatch.setattr(fit, "compiled", lambda *told: compiled.append(real(*told)) or compiled[-1])
    seconds = fit.seconds_a_step(NETWORKS[setup.network].build, recipe, precision, steps=1)
    assert compiled[0].jit_compile and np.isfinite(seconds)


def test_no_process_takes_all_of_a_gpu():
    told = {name: value for name, value in os.environ.items() if name != "TF_FORCE_GPU_ALLOW_GROWTH"}
    asked = "import os, unetlab; print(os.environ['TF_FORCE_GPU_ALLOW_GROWTH'])"
    done = subprocess.run([sys.executable, "-c", asked], env=told, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "true"
