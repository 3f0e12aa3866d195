"""One operation a weight does what Keras' dozen do."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from unetlab.training.adam import OnePassAdam


@pytest.mark.parametrize("rate", [1e-2, keras.optimizers.schedules.CosineDecay(1e-2, 20)])
def test_its_steps_are_those_of_keras(rate):
    rng = np.random.default_rng(0)
    start = rng.normal(size=(7, 5)).astype(np.float32)
    weights = [keras.Variable(start) for _ in range(2)]
    optimizers = [keras.optimizers.Adam(rate, epsilon=1e-5), OnePassAdam(rate, epsilon=1e-5)]

    def step_of(optimizer, weight):
        return tf.function(lambda gradient: optimizer.apply([gradient], [weight]))

    steps = [step_of(*each) for each in zip(optimizers, weights, strict=True)]
    for _ in range(30):
        gradient = tf.constant(rng.normal(size=start.shape).astype(np.float32))
        for step in steps:
            step(gradient)
    one, other = (each.numpy() for each in weights)
    assert np.abs(one - start).max() > 0.01
    np.testing.assert_allclose(one, other, atol=1e-6)
    for own, kin in zip(optimizers[0].variables, optimizers[1].variables, strict=True):
        np.testing.assert_allclose(own.numpy(), kin.numpy(), rtol=3e-5, atol=1e-7)  # 1 - 0.999 in float32


def test_gradients_in_bfloat16_move_weights_in_float32():
    weight, optimizer = keras.Variable(np.ones(3, np.float32)), OnePassAdam(0.1)
    optimizer.apply([tf.constant([1.0, -1.0, 0.0], tf.bfloat16)], [weight])
    assert weight.dtype == "float32"
    np.testing.assert_allclose(weight.numpy(), [0.9, 1.1, 1.0], atol=1e-4)
