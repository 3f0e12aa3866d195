"""Runs without their pictures and graphs, which are most of what a run of seconds takes, for tests of neither."""

import keras
import pytest


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("unetlab.tracking.write.log_figure", lambda figure, path: None)


def trace_nothing(patch: pytest.MonkeyPatch) -> None:
    """Keras takes its steps one operation at a time, and makes no graph of them first; no number format is timed."""
    from unetlab.training.pace import Pace  # the modules under test are for those tests that want them

    real = keras.Model.compile

    def compile_eager(model, *told, **options):
        real(model, *told, **{**options, "run_eagerly": True, "jit_compile": False})

    patch.setattr(keras.Model, "compile", compile_eager)
    alike = Pace(float32=1.0, bfloat16=1.0, batch=1, traced=0.0, measured=0.0)
    patch.setattr("unetlab.training.pace.measure", lambda *told: alike)
