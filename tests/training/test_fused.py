"""Layers as they are trained say what those that are served say, and learn what Keras' own would."""

import keras
import numpy as np
import pytest
from keras import layers, ops

from unetlab.models import NETWORKS
from unetlab.models.scratch import scratch_unet
from unetlab.training import fused

RNG = np.random.default_rng(0)
IMAGES = RNG.random((2, 64, 64, 3), dtype=np.float32)


def network(name="pretrained", **more):
    return NETWORKS[name].build((64, 64, 3), decoder_filters=16, **more)


def shaken(model):
    """The model with weights that nothing is alike in."""
    model.set_weights([each + RNG.uniform(0, 0.1, each.shape) for each in model.get_weights()])
    return model


def test_a_convolution_of_repeated_pixels_and_its_gradients_are_those_of_a_transposed_one():
    import tensorflow as tf

    x = tf.constant(RNG.normal(size=(2, 5, 7, 6)).astype(np.float32))
    layer = fused.RepeatedConvolution(4, "he_normal")
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        found = layer(x)
        plain = ops.conv(layers.UpSampling2D(2)(x), layer.kernel.value, padding="same")
        sums = [ops.sum(ops.sin(each)) for each in (found, plain)]
    assert found.shape == (2, 10, 14, 4)
    np.testing.assert_allclose(found, plain, atol=1e-5)
    for of in (x, layer.kernel.value):
        one, other = (tape.gradient(each, of) for each in sums)
        np.testing.assert_allclose(one, other, atol=1e-4)


OTHERS = [("pretrained", {"encoder": name}) for name in ("efficientnet-lite0", "efficientnetv2b0", "resnet50v2")]


@pytest.mark.parametrize(
    "told",
    [
        ("pretrained", {"heads": 1}),
        ("mobilenet", {}),
        ("pretrained", {"train_encoder": True}),
        *(pytest.param(other, marks=pytest.mark.slow) for other in OTHERS),
    ],
)
def test_a_trained_network_says_what_its_weights_say_as_they_are_served(told):
    name, more = told
    keras.utils.set_random_seed(0)
    served = network(name, **more)
    trained = shaken(fused.fused(served))
    assert trained is not served
    served.set_weights(fused.served_weights(trained))
    assert served.count_params() >= trained.count_params()
    np.testing.assert_allclose(trained(IMAGES), served(IMAGES), atol=1e-3)


WIDE = {"filters": 4, "depth": 2}


@pytest.mark.parametrize(
    ("precision", "told"),
    [
        pytest.param("float32", ("mobilenet", {"decoder_filters": 16, "train_encoder": True}), marks=pytest.mark.slow),
        ("mixed_bfloat16", ("mobilenet", {"decoder_filters": 16, "train_encoder": True})),
        ("float32", ("scratch", WIDE)),
        ("float32", ("scratch", WIDE | {"classes": 3})),
    ],
)
def test_what_is_learnt_is_what_keras_own_layers_learn(precision, told):
    """Of networks whose transposed convolutions have the weights that they are served with."""
    keras.mixed_precision.set_global_policy(precision)
    try:
        keras.utils.set_random_seed(0)
        name, more = told
        plain = NETWORKS[name].build((64, 64, 3), **more)
        other = fused.fused(plain)
        target = (RNG.random((2, 64, 64, plain.output_shape[-1])) > 0.5).astype(np.float32)
        for model in (plain, other):
            model.compile(keras.optimizers.SGD(0.01), "mse")
            for _ in range(2):
                model.train_on_batch(IMAGES, target)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    near = {"float32": 2e-3, "mixed_bfloat16": 0.1}[precision]
    for one, two in zip(plain.get_weights(), fused.served_weights(other), strict=True):
        assert np.abs(one - two).max() <= near * max(1.0, np.abs(one).max())


def test_frozen_layers_and_names_stay_as_they_were():
    model = fused.fused(network(train_encoder=False))
    encoder = model.get_layer("encoder")
    assert not encoder.trainable and not encoder.trainable_weights and model.trainable_weights
    model.compile("sgd", "mse")
    before = encoder.get_weights()
    model.train_on_batch(IMAGES, np.ones((2, 64, 64, 1), np.float32))
    assert all(np.array_equal(*pair) for pair in zip(before, encoder.get_weights(), strict=True))


def test_a_network_without_such_layers_is_trained_as_it_is():
    model = keras.Sequential([layers.Input((16, 16, 1)), layers.Conv2D(2, 3, padding="same"), layers.ReLU()])
    assert fused.fused(model) is model
    assert all(np.array_equal(*pair) for pair in zip(fused.served_weights(model), model.get_weights(), strict=True))


@pytest.mark.parametrize("format", ["float32", "bfloat16"])
def test_dropout_drops_its_rate_and_keeps_the_mean(format):
    import tensorflow as tf

    layer = fused.FewBitsDropout(0.1, seed=1)
    ones = tf.ones((4, 33, 33, 7), format)  # an odd count
    found = layer(ones, training=True).numpy().astype(np.float32)
    none, raised = np.unique(found)
    assert found.shape == ones.shape and none == 0 and raised == pytest.approx(1 / 0.9, rel=4e-3)
    assert (found == 0).mean() == pytest.approx(0.1, abs=0.006)
    other = layer(ones, training=True).numpy().astype(np.float32)
    assert 0.15 < (found != other).mean() < 0.21  # drawn anew: two of 0.1 times 0.9
    assert (found[:, 1:] != found[:, :-1]).mean() == pytest.approx(0.18, abs=0.01)  # and for each number
    np.testing.assert_array_equal(layer(ones), ones)


def test_dropout_passes_no_gradient_where_it_drops():
    import tensorflow as tf

    layer, ones = fused.FewBitsDropout(0.5, seed=1), tf.ones((1000,))
    with tf.GradientTape() as tape:
        tape.watch(ones)
        found = layer(ones, training=True)
    np.testing.assert_array_equal(tape.gradient(found, ones), found)


def test_a_network_with_dropout_is_trained_with_the_faster_one():
    trained = fused.fused(scratch_unet((32, 32, 3), filters=2, dropout=0.3))
    kinds = [type(layer) for layer in trained.layers if isinstance(layer, layers.Dropout)]
    assert len(kinds) == 9 and set(kinds) == {fused.FewBitsDropout}


@pytest.mark.parametrize("size", [2, 3])
def test_a_bias_of_a_transposed_convolution_learns_in_bfloat16(size):
    """TensorFlow's own gradient of it has next to nothing of what it should have on as many pixels."""
    import tensorflow as tf

    def learnt(kind, format):
        policy = keras.mixed_precision.Policy("mixed_bfloat16" if format == "bfloat16" else format)
        layer = kind(3, size, strides=2, padding="same", dtype=policy)
        layer.build((None, 64, 64, 2))
        with tf.GradientTape() as tape:
            found = layer(tf.ones((8, 64, 64, 2)))
        gradient = tape.gradient(found, layer.bias.value, output_gradients=tf.fill(found.shape, tf.cast(0.1, format)))
        return gradient.numpy()

    truth = 8 * 128**2 * 0.1
    assert learnt(layers.Conv2DTranspose, "float32") == pytest.approx(truth, rel=0.01)
    for format in ("float32", "bfloat16"):
        assert learnt(fused.TransposedConvolution, format) == pytest.approx(truth, rel=0.01), format
