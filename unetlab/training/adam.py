"""Adam in one pass over a weight, its moments and its gradient."""

from typing import Any

import keras
import tensorflow as tf


class OnePassAdam(keras.optimizers.Adam):
    """Keras' Adam by TensorFlow's own operation of a step.

    Keras writes a step as a dozen operations, each a pass over numbers of the weights' size; for networks whose weights
    outweigh their images these are a third of a training step. The one operation reads and writes each number once. It
    computes what Keras' does, but for `amsgrad`, which it does not know and nobody asks for here.
    """

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One weight's step: gradient as the weight, learning rate a number."""
        kind = variable.dtype
        step = tf.cast(self.iterations.value + 1, kind)
        beta_1, beta_2 = (tf.cast(each, kind) for each in (self.beta_1, self.beta_2))
        place = self._get_variable_index(variable)
        tf.raw_ops.ResourceApplyAdam(
            var=variable.handle,
            m=self._momentums[place].value.handle,
            v=self._velocities[place].value.handle,
            beta1_power=tf.pow(beta_1, step),
            beta2_power=tf.pow(beta_2, step),
            lr=tf.cast(learning_rate, kind),
            beta1=beta_1,
            beta2=beta_2,
            epsilon=tf.cast(self.epsilon, kind),
            grad=tf.cast(gradient, kind),
        )
