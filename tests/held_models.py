"""Models whose training changes more than weights, an optimizer and metrics."""

from __future__ import annotations

import keras
import numpy as np
from rounds import BACKEND

from spark_keras.keras_model import first_step, held
from spark_keras.keras_model import state as states

STEPS, ROWS = 4, 8
X = np.random.default_rng(0).normal(size=(STEPS, ROWS, 3)).astype("float32")
Y = X.sum(-1, keepdims=True)
package = keras.saving.register_keras_serializable("held")


@package
class Growing(keras.losses.Loss):
    """The n-th minibatch counts n times."""

    def __init__(self, name="growing", **keywords):
        super().__init__(name=name, **keywords)
        self.n = keras.Variable(0.0, trainable=False, name="n")

    def call(self, y, predicted):
        self.n.assign_add(1.0)
        return self.n * keras.ops.mean(keras.ops.square(y - predicted), -1)


@package
class Warm(keras.Model):
    """Divides by a temperature, which its train_step lowers; its two layers have an optimizer each."""

    def __init__(self, **keywords):
        super().__init__(**keywords)
        self.first, self.second = keras.layers.Dense(4, "tanh"), keras.layers.Dense(1)
        self.temperature = keras.Variable(2.0, trainable=False, name="temperature")

    def build(self, shape):
        self.first.build(shape)
        self.second.build((None, 4))

    def compile(self, optimizers, **keywords):
        super().compile(optimizer=None, **keywords)
        self.own_optimizers = list(optimizers)

    def get_compile_config(self):
        return {"optimizers": [keras.saving.serialize_keras_object(each) for each in self.own_optimizers]}

    def compile_from_config(self, config):
        self.compile([keras.saving.deserialize_keras_object(each) for each in config["optimizers"]], loss="mse")

    def call(self, x):
        return self.second(self.first(x)) / self.temperature

    def train_step(self, data):
        x, y = data
        if BACKEND == "tensorflow":
            import tensorflow as tf

            with tf.GradientTape() as tape:
                loss = keras.ops.mean(keras.ops.square(y - self(x)))
            gradients = tape.gradient(loss, self.trainable_variables)
        else:
            for variable in self.trainable_variables:
                variable.value.grad = None
            loss = keras.ops.mean(keras.ops.square(y - self(x)))
            loss.backward()
            gradients = [variable.value.grad for variable in self.trainable_variables]
        for optimizer, part in zip(self.own_optimizers, (slice(0, 2), slice(2, 4))):
            optimizer.apply(gradients[part], self.trainable_variables[part])
        self.temperature.assign(0.9 * self.temperature)
        self._loss_tracker.update_state(loss)
        return {"loss": self._loss_tracker.result()}


def dense(loss, regularizer=None):
    inputs = keras.Input((3,))
    outputs = keras.layers.Dense(1, kernel_regularizer=regularizer, name="out")(inputs)
    model = keras.Model(inputs, {"out": outputs} if isinstance(loss, dict) else outputs)
    model.compile(keras.optimizers.SGD(0.05, momentum=0.9), loss)
    return model


def warm():
    model = Warm()
    model.compile([keras.optimizers.SGD(0.1, momentum=0.9), keras.optimizers.Adam(0.05)], loss="mse")
    return model


def prepared(model, labels=Y):
    first_step.build(model, (X[0], keras.tree.map_structure(lambda y: y[0], labels)))
    layout = states.layout_of(model)
    return layout, states.read(model, layout)


def alone(model, x):
    """What plain Keras predicts in batches of the model's own size, with nothing remembered before each."""
    padded, results = np.concatenate([x, np.zeros((-len(x) % 8, *x.shape[1:]), x.dtype)]), []
    for start in range(0, len(padded), 8):
        for variable in held.local_variables(model):
            variable.assign(np.zeros(variable.shape))
        results.append(model.predict(padded[start : start + 8], batch_size=8, verbose=0))
    return np.concatenate(results)[: len(x)]
