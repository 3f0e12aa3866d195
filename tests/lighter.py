"""Runs without their pictures and graphs, which are most of what a run of seconds takes, for tests of neither."""

import keras
import pytest


def draw_nothing(patch: pytest.MonkeyPatch) -> None:
    patch.setattr("unetlab.tracking.write.log_figure", lambda figure, path: None)


def trace_nothing(patch: pytest.MonkeyPatch) -> None:
    """Keras takes its steps one operation at a time, and makes no graph of them first."""
    real = keras.Model.compile

    def compile_eager(model, *told, **options):
        real(model, *told, **{**options, "run_eagerly": True, "jit_compile": False})

    patch.setattr(keras.Model, "compile", compile_eager)
