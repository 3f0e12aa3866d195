"""Networks as they are trained: layers that compute the same in fewer passes over all pixels, of the same weights."""

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers, ops

from unetlab.models.decoder import PROBABILITY, REPEATED


class FusedBatchNormalization(layers.BatchNormalization):
    """Keras' own layer by TensorFlow's FusedBatchNormV3.

    Keras casts its input to float32, takes moments, normalises and casts back, each a pass over all pixels forwards and
    some backwards. The fused operation reads and writes its input's own format once, and computes in float32 as well.
    It is for images (n, h, w, c), normalised over their last axis.

    Attributes:
        held: whether the moving moments stay as they are and normalise in training too, while scale and offset learn.
    """

    held = False

    def call(self, inputs: tf.Tensor, training: bool | None = None, mask: Any = None) -> tf.Tensor:
        """Normalised images in the format of `inputs`; in training the moving moments follow, as in Keras' layer."""
        learns = bool(training and self.trainable and not self.held)
        told = (tf.zeros(0), tf.zeros(0)) if learns else (self.moving_mean.value, self.moving_variance.value)
        found, mean, variance, *_ = tf.raw_ops.FusedBatchNormV3(
            x=inputs,
            scale=self.gamma.value,
            offset=self.beta.value,
            mean=told[0],
            variance=told[1],
            epsilon=self.epsilon,
            is_training=learns,
        )
        if learns:
            count = tf.cast(tf.size(inputs) // tf.shape(inputs)[-1], tf.float32)
            self._follow(self.moving_mean, mean)
            # the operation's is that of a sample, Keras' that of the pixels as they are
            self._follow(self.moving_variance, variance * (count - 1) / count)
        return found

    def _follow(self, moving: keras.Variable, now: tf.Tensor) -> None:
        moving.assign(moving * self.momentum + now * (1 - self.momentum))


class FewBitsDropout(layers.Dropout):
    """Keras' own layer with 16 random bits a number in place of 32, which were most of its time.

    A number is dropped with the rate to the nearest 1 / 65,536, and the others are raised by as much, so that the mean
    stays. Numbers are drawn from the layer's own generator of seeds, as Keras draws them.
    """

    def call(self, inputs: tf.Tensor, training: bool = False) -> tf.Tensor:
        """`inputs`, in training with some of its numbers 0 and the others raised."""
        cut = round(self.rate * 2**16)
        if not training or not cut:
            return inputs
        count = tf.size(inputs)
        seed = tf.cast(self.seed_generator.next(), tf.int32)
        drawn = tf.random.stateless_uniform([(count + 1) // 2], seed, None, None, tf.uint32)
        halves = tf.reshape(tf.bitcast(drawn, tf.uint16), [-1])[:count]
        kept = tf.reshape(halves, tf.shape(inputs)) >= tf.constant(cut, tf.uint16)
        return inputs * (tf.cast(kept, inputs.dtype) * tf.cast(1 / (1 - cut / 2**16), inputs.dtype))


class RepeatedConvolution(layers.Layer):
    """A 3x3 convolution of an image whose pixels are repeated to twice its size, which is never made.

    Two of three neighbours of a repeated pixel are one pixel of the image, so that a transposed convolution by a kernel
    of 4x4 that `spread` makes of the 3x3 says the same: 4 multiplications where there were 9, and no image of four
    times the pixels to be written, joined and read. It learns the 3x3.

    Args:
        filters: channels of the answer.
        kernel_initializer: of the 3x3.
    """

    def __init__(self, filters: int, kernel_initializer: Any, **more: Any) -> None:
        super().__init__(**more)
        self.filters, self.kernel_initializer = filters, kernel_initializer

    def build(self, shape: tuple[int | None, ...]) -> None:
        """Makes the kernel, float32 (3, 3, c, filters) whatever the layer computes in."""
        self.kernel = self.add_weight(
            shape=(3, 3, shape[-1], self.filters), initializer=self.kernel_initializer, name="kernel", autocast=False
        )

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, h, w, c) to (n, 2 h, 2 w, filters)."""
        return ops.conv_transpose(inputs, ops.cast(spread(self.kernel), self.compute_dtype), 2, "same")


class TransposedConvolution(layers.Conv2DTranspose):
    """Keras' own layer by 2, whose biases learn in bfloat16 too.

    TensorFlow adds up the gradient of a bias in the format of its numbers, and a sum in bfloat16 stops growing at some
    hundred of them: of large images next to nothing is left. (Those of other convolutions are oneDNN's, which adds up
    in float32.) A kernel of 2x2, whose answers do not overlap, is a product of matrices, which has its gradients in
    half the time.
    """

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, h, w, c) to (n, 2 h, 2 w, filters)."""
        if self.kernel_size == (2, 2):
            found = tf.nn.depth_to_space(_product(inputs, self.kernel, transposed=True), 2)
        else:
            found = ops.conv_transpose(inputs, self.kernel, 2, self.padding)
        return _finished(self, found)


class PointwiseConvolution(layers.Conv2D):
    """Keras' own layer, of a kernel of 1x1, as a product of matrices, which has its gradients in half the time where
    the answer has few channels."""

    def call(self, inputs: tf.Tensor) -> tf.Tensor:
        """(n, h, w, c) to (n, h, w, filters)."""
        return _finished(self, _product(inputs, self.kernel))


def _finished(layer: layers.Conv2D | layers.Conv2DTranspose, found: tf.Tensor) -> tf.Tensor:
    """The answer of a convolution, with its bias and its activation."""
    return layer.activation(_biased(found, tf.convert_to_tensor(layer.bias)) if layer.use_bias else found)


def _product(images: tf.Tensor, kernel: Any, transposed: bool = False) -> tf.Tensor:
    """Each pixel's channels by a kernel of (..., c, filters), `transposed` (..., filters, c)."""
    channels = images.shape[-1]
    matrix = tf.reshape(kernel, [-1, channels] if transposed else [channels, -1])
    found = tf.linalg.matmul(tf.reshape(images, [-1, channels]), matrix, transpose_b=transposed)
    return tf.reshape(found, tf.concat([tf.shape(images)[:-1], tf.shape(found)[-1:]], 0))


@tf.custom_gradient
def _biased(images: tf.Tensor, bias: tf.Tensor) -> Any:
    return tf.nn.bias_add(images, bias), lambda gradient: (gradient, tf.reduce_sum(gradient, [0, 1, 2]))


def spread(kernel: Any) -> Any:
    """A kernel (3, 3, c, filters) for repeated pixels as one (4, 4, filters, c) of a transposed convolution by 2."""
    found = ops.flip(ops.transpose(kernel, (0, 1, 3, 2)), (0, 1))
    for axis in (0, 1):
        none = [(0, 0)] * 4
        before, after = list(none), list(none)
        before[axis], after[axis] = (1, 0), (0, 1)
        found = ops.pad(found, before) + ops.pad(found, after)
    return found


def fused(model: keras.Model) -> keras.Model:
    """A network to be trained in the place of another, which it begins as; the network itself where nothing of it can
    be fused. `served_weights` gives its weights back to the other."""
    if not any(_kind(layer) is not None for layer in _layers(model)):
        return model
    other = keras.models.clone_model(model, clone_function=_clone, recursive=True)
    for own, layer in zip(_layers(model), _layers(other), strict=True):
        if getattr(own, "stays", False):  # frozen, also when its network thaws
            layer.stays = True
        if not isinstance(layer, RepeatedConvolution):
            layer.set_weights(own.get_weights())
    for own, layer in zip(model.layers, other.layers, strict=True):
        if isinstance(layer, keras.Model) and not own.trainable:  # which cloning forgets of a network within
            layer.trainable = False
    return other


def served_weights(model: keras.Model) -> list[np.ndarray]:
    """The weights of a network that `fused` made, as those of the network that it was made of."""
    repeated = {id(layer.kernel) for layer in _layers(model) if isinstance(layer, RepeatedConvolution)}
    return [ops.convert_to_numpy(spread(each) if id(each) in repeated else each) for each in model.weights]


def hold_moments(model: keras.Model) -> bool:
    """Has all batch normalisations of a network that `fused` made keep their moments; whether there are any. A step
    that was traced before knows nothing of it."""
    found = [layer for layer in _layers(model) if isinstance(layer, FusedBatchNormalization) and layer.trainable]
    for layer in found:
        layer.held = True
    return bool(found)


def _layers(model: keras.Model) -> list[keras.Layer]:
    """All layers, those of networks within too."""
    return [each for layer in model.layers for each in (_layers(layer) if isinstance(layer, keras.Model) else [layer])]


def _kind(layer: keras.Layer) -> type[keras.Layer] | None:
    """What a layer is trained as, None for itself."""
    if type(layer) is layers.BatchNormalization and layer.scale and layer.center and layer.axis in (-1, 3):
        return FusedBatchNormalization
    if type(layer) is layers.Dropout and layer.noise_shape is None and layer.rate < 1:
        return FewBitsDropout
    if layer.name.endswith(REPEATED):
        return RepeatedConvolution
    if type(layer) is layers.Conv2DTranspose and layer.strides == (2, 2) and layer.output_padding is None:
        return TransposedConvolution
    pointwise = type(layer) is layers.Conv2D and layer.kernel_size == layer.strides == (1, 1) and layer.groups == 1
    return PointwiseConvolution if pointwise and layer.name == PROBABILITY else None


def _clone(layer: keras.Layer) -> keras.Layer:
    kind = _kind(layer)
    if kind is RepeatedConvolution:
        named = {"name": layer.name, "dtype": layer.dtype_policy, "trainable": layer.trainable}
        return RepeatedConvolution(layer.filters, layer.kernel_initializer.clone(), **named)
    return (kind or type(layer)).from_config(layer.get_config())
