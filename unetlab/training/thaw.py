"""A pretrained encoder that stays frozen while the decoder finds its feet, and learns from then on."""

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from unetlab.models.pretrained import freeze_encoder, thaw_encoder
from unetlab.training.adam import OnePassAdam


class LateAdam(OnePassAdam):
    """Adam some of whose variables begin to learn late, in steps that they can bear.

    Adam divides by the spread of past gradients, of which a variable that begins late has none, while the correction
    for that has long run out: its first steps would be up to six times the learning rate. Here late variables are
    corrected from their own first step, and their learning rate rises from 0 over `warmup` steps. All others go on
    with their state and schedule as if nothing had happened.
    """

    late: frozenset[int] = frozenset()
    warmup: int = 1

    def build_late(self, variables: Sequence[Any], late: Sequence[Any], warmup: int) -> None:
        """Makes room for all variables there will ever be, before the first step.

        Args:
            variables: all, in the model's order.
            late: those of them that begin late.
            warmup: steps over which their learning rate rises to that of the others.

        Raises:
            ValueError: if it was built before, so that late variables would find no room.
        """
        if self.built:
            raise ValueError("the optimizer has begun already; build_late must come before the first step")
        self.build(variables)
        self.begun = self.add_variable((), dtype=self.iterations.dtype, name="begun")
        self.late = frozenset(self._get_variable_index(variable) for variable in late)
        self.warmup = max(1, warmup)

    def begin(self) -> None:
        """Late variables learn from the next step on; called again, as after a resumption, it changes nothing."""
        if not int(ops.convert_to_numpy(self.begun)):
            self.begun.assign(self.iterations)

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        if self._get_variable_index(variable) in self.late:
            learning_rate = learning_rate * self._share()
        super().update_step(gradient, variable, learning_rate)

    def _share(self) -> Any:
        """What a late variable's step is of the step that Adam would take, float32."""
        step = ops.cast(self.iterations + 1, "float32")
        own = step - ops.cast(self.begun, "float32")

        def correction(count: Any) -> Any:
            return ops.sqrt(1 - ops.power(self.beta_2, count)) / (1 - ops.power(self.beta_1, count))

        return ops.minimum(1.0, own / self.warmup) * correction(own) / correction(step)


class Thaw(keras.callbacks.Callback):
    """Lets a frozen encoder learn after so many epochs, its learning rate rising over one epoch from 0.

    The model must be compiled with a `LateAdam`. A model whose encoder learns from the start, or that has none, is
    trained as without it. Comes before callbacks that restore a training, since it makes the optimizer's variables.

    Args:
        epochs: that the encoder stays frozen, at least 1.
    """

    def __init__(self, epochs: int) -> None:
        super().__init__()
        self.epochs = epochs
        self.waiting = False

    def on_train_begin(self, logs: Any = None) -> None:
        at_once = {id(variable) for variable in self.model.trainable_variables}
        self.waiting = thaw_encoder(self.model)
        if self.waiting:
            variables = self.model.trainable_variables
            late = [variable for variable in variables if id(variable) not in at_once]
            freeze_encoder(self.model)
            self.model.optimizer.build_late(variables, late, self.params["steps"])
        elif not self.model.optimizer.built:
            self.model.optimizer.build(self.model.trainable_variables)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        if self.waiting and epoch >= self.epochs:
            self.waiting = False
            thaw_encoder(self.model)
            self.model.optimizer.begin()
            self.model.make_train_function(force=True)  # the one there is was traced for the frozen encoder
