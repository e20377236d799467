"""AdamW with a step size for each stage of a network: the nearer to the input, the smaller."""

from __future__ import annotations

import re

import keras

# Stages from the input on. Layers of the same stage share a step size; what is added to a backbone comes last.
STAGE = re.compile(r"(?:block|conv)(\d)")
STAGES = 5


def stage_shares(variables: list[keras.Variable], layer_decay: float) -> list[float]:
    """For each variable its share of the step size: 1 behind the backbone, `layer_decay` to the power of the distance.

    Source: Howard and Ruder 2018 (ULMFiT), section 3.2, discriminative fine-tuning, there with 1/2.6. The stages are
    VGG16's five blocks and ResNet50's conv1 to conv5.
    """
    shares = []
    for variable in variables:
        found = STAGE.match(variable.path)
        shares.append(layer_decay ** (STAGES + 1 - int(found[1])) if found else 1.0)
    return shares


class StagewiseAdam(keras.optimizers.Adam):
    """Adam (Kingma and Ba 2015) with decoupled weight decay (Loshchilov and Hutter 2019, AdamW).

    `shares` has one entry per trainable variable, in their order, by which its step size and decay are multiplied.
    """

    def __init__(self, learning_rate: float, decay: float, shares: list[float]) -> None:
        super().__init__(learning_rate)
        self.decay = decay
        self.shares = tuple(shares)

    def update_step(self, gradient, variable, learning_rate) -> None:
        """One step of one variable; called by Keras."""
        rate = learning_rate * self.shares[self._get_variable_index(variable)]
        if self.decay:
            self.assign_sub(variable, variable * keras.ops.cast(rate * self.decay, variable.dtype))
        super().update_step(gradient, variable, rate)
