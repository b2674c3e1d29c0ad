"""Features of frozen layers: computed once for each row, and what is trained on them is what Keras would train."""

from __future__ import annotations

import functools

import keras
import numpy as np
import pytest
from in_process import train

from spark_keras.keras_model import architecture as architectures
from spark_keras.keras_model import first_step, frozen_prefix
from spark_keras.keras_model import state as states
from spark_keras.training import frozen_features
from spark_keras.training.worker.features import FrozenLayers
from spark_keras.training.workers.in_process import InProcessWorkers

RANDOM = np.random.default_rng(4)
IMAGES = RANDOM.random((48, 6, 6, 1), "float32")
TABLE = RANDOM.random((48, 3), "float32")
CLASSES = RANDOM.integers(0, 4, (48, 1))


def extractor():
    layers = keras.layers
    normalized = layers.BatchNormalization(moving_mean_initializer="ones", moving_variance_initializer="ones")
    inner = [layers.Conv2D(3, 3, activation="relu"), normalized, layers.Flatten()]
    frozen = keras.Sequential([keras.Input((6, 6, 1)), *inner], name="extractor")
    frozen.trainable = False
    return frozen


def network():
    """Rescaling, frozen convolutions with moving statistics; trained layers that draw random numbers and have moving
    statistics of their own.
    """
    keras.utils.set_random_seed(3)
    base, layers = extractor(), keras.layers
    trained = [layers.Dropout(0.3), layers.Dense(5, "relu"), layers.BatchNormalization(), layers.Dense(4, "softmax")]
    model = keras.Sequential([keras.Input((6, 6, 1)), layers.Rescaling(2.0), base, *trained])
    model.compile(
        keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"], jit_compile=False
    )
    return model, (IMAGES, CLASSES)


def with_several_inputs():
    """A frozen branch beside one that is trained; two outputs, one of which needs the frozen branch alone."""
    keras.utils.set_random_seed(3)
    image, table = keras.Input((6, 6, 1), name="image"), keras.Input((3,), name="table")
    features = extractor()(image)
    beside = keras.layers.Dense(4, "relu")(table)
    kind = keras.layers.Dense(4, "softmax", name="kind")(keras.layers.Concatenate()([features, beside]))
    mean = keras.layers.Dense(1, name="mean")(features)
    model = keras.Model({"image": image, "table": table}, {"kind": kind, "mean": mean})
    losses = {"kind": "sparse_categorical_crossentropy", "mean": "mse"}
    model.compile(keras.optimizers.SGD(0.05, 0.9), losses, metrics={"kind": ["accuracy"]}, jit_compile=False)
    labels = {"kind": CLASSES, "mean": IMAGES.mean((1, 2))}
    return model, ({"image": IMAGES, "table": TABLE}, labels)


class Changed(keras.callbacks.Callback):
    """Changes frozen weights in the middle of a fit."""

    def on_epoch_end(self, epoch, logs=None):
        if epoch == 1:
            kernel = self.model.get_layer("extractor").layers[0].kernel
            kernel.assign(2 * kernel)


@functools.cache
def fit(made, cached, most=None):
    """What the training of two workers leaves: the model, its history, rows of each call of the frozen layers."""
    model, data = made()
    one = InProcessWorkers.of_arrays(model, data, 1, 8, shuffle=True)
    task = one.task._replace(max_shard_memory=most)
    if cached:
        first_step.build(model, task.columns.sample())
        trained, features, _ = frozen_features.divided(model, task.columns)
        structure = architectures.architecture(trained, features.columns.names_in_structures)
        task = task._replace(architecture=structure, frozen_features=features)
    calls, forward = [], FrozenLayers.forward

    def counted(layers, rows):
        compute = forward(layers, rows)
        return lambda inputs: calls.append(len(inputs[0])) or compute(inputs)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(FrozenLayers, "forward", counted)
        team = InProcessWorkers.dealt(task, data, 2, data)
        outcome = train(model, None, workers=team, batch_size=8, frequency=3, epochs=3, callbacks=[Changed()])
    return model, outcome.history, calls


@pytest.mark.parametrize("made", [network, with_several_inputs])
def test_training_on_kept_features_is_training_of_the_whole_network(made):
    model, history, _ = fit(made, cached=False)
    on_features, of_features, _ = fit(made, cached=True)
    assert list(of_features) == list(history)
    for name, values in history.items():
        np.testing.assert_allclose(of_features[name], values, rtol=2e-4, atol=1e-5)
    for one, other in zip(on_features.get_weights(), model.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-3, atol=1e-5)


def test_a_model_keeps_its_inputs():
    model, *_ = fit(with_several_inputs, cached=True)
    x = {"image": IMAGES, "table": TABLE}
    assert {layer.name for layer in model.layers} >= {"image", "table", "extractor", "kind", "mean"}
    restored = keras.Model.from_config(model.get_config())
    restored.set_weights(model.get_weights())
    for name, output in model.predict(x, verbose=0).items():
        np.testing.assert_array_equal(output, restored.predict(x, verbose=0)[name])


def test_features_have_the_same_bits_in_memory_and_in_a_file():
    (one, *_), (other, *_) = fit(network, cached=True), fit(network, cached=True, most=1)
    for first, second in zip(*(states.read(m, states.layout_of(m, whole=True)) for m in (one, other)), strict=True):
        assert first.tobytes() == second.tobytes()


def test_each_row_goes_through_the_frozen_layers_once_as_long_as_they_stay():
    # Of each of two workers its 24 rows to train and 24 to validate on, in one piece; and again after the change.
    assert len(fit(network, cached=True)[2]) == 2 * 4


class OwnLoss(keras.Model):
    def compute_loss(self, *arguments, **named):
        return 2 * super().compute_loss(*arguments, **named)


class WithTraining(keras.layers.Layer):
    def call(self, x, training=None):
        return x * 2 if training else x


class Counting(keras.layers.Layer):
    """Assigns a weight of its own in each call."""

    def build(self, shape):
        self.calls = self.add_weight(shape=(), trainable=False)

    def call(self, x):
        self.calls.assign(self.calls + 1.0)
        return x


class Noise(keras.layers.Layer):
    def __init__(self):
        super().__init__()
        self.generators = [keras.random.SeedGenerator(1)]

    def call(self, x):
        return x + keras.random.normal(keras.ops.shape(x), seed=self.generators[0])


def frozen_dense(**settings):
    return keras.layers.Dense(3, trainable=False, **settings)


def built(*parts):
    """A functional model: layers, and functions of tensors, one after the other; and a trained layer."""
    tensor = inputs = keras.Input((3,))
    for part in parts:
        tensor = part(tensor)
    model = keras.Model(inputs, keras.layers.Dense(1)(tensor))
    model.compile("sgd", "mse")
    first_step.build(model, (TABLE[:8], TABLE[:8, :1]))
    return model


def twice(layer):
    return lambda tensor: layer(keras.layers.Dense(3)(layer(tensor)))


def normalized():
    return keras.layers.BatchNormalization(center=False, scale=False)


@pytest.mark.parametrize(
    "parts, told",
    [
        (lambda: [keras.layers.Dense(3, name="trained")], "'trained', which is trained"),
        (lambda: [keras.layers.Rescaling(2.0)], "which is trained"),
        (lambda: [keras.layers.Dropout(0.5), frozen_dense()], "(Dropout), which draws random numbers"),
        (lambda: [Noise(), frozen_dense()], "something else in training"),
        (lambda: [normalized(), frozen_dense()], "which normalises by the minibatch"),
        (lambda: [WithTraining(), frozen_dense()], "(WithTraining), which may compute something else in training"),
        (
            lambda: [keras.layers.Lambda(lambda x, training=None: x * 3 if training else x), frozen_dense()],
            "something else in training",
        ),
        (lambda: [Counting(), frozen_dense()], "which its layer's own code assigns"),
        (lambda: [frozen_dense(), lambda x: x - keras.ops.mean(x, 0, keepdims=True)], "other rows of the minibatch"),
        (
            lambda: (
                [lambda x: keras.ops.reshape(x, (-1, 1)), frozen_dense(), keras.layers.Dense(1)]
                + [lambda x: keras.ops.reshape(x, (-1, 3))]
            ),
            "other rows of the minibatch",
        ),
        (lambda: [frozen_dense(activity_regularizer="l2")], "which adds to the loss"),
        (lambda: [twice(frozen_dense(name="twice"))], "'twice', which computes behind trained layers, too"),
    ],
)
def test_what_training_changes_ends_the_frozen_layers(parts, told):
    model = built(*parts())
    kept = model.get_weights()
    with pytest.raises(ValueError, match="cacheFrozenFeatures") as raised:
        frozen_prefix.divide(model)
    assert told in str(raised.value)
    for one, other in zip(model.get_weights(), kept, strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_output_that_is_frozen_is_refused():
    inputs = keras.Input((3,))
    frozen = frozen_dense()(inputs)
    model = keras.Model(inputs, [frozen, keras.layers.Dense(1)(frozen)])
    model.compile("sgd", ["mse", "mse"])
    with pytest.raises(ValueError, match="an output that no trained layer computes"):
        frozen_prefix.divide(model)


def test_a_model_that_computes_in_its_own_way_is_refused():
    inputs = keras.Input((3,))
    model = OwnLoss(inputs, keras.layers.Dense(1)(frozen_dense()(inputs)))
    model.compile("sgd", "mse")
    with pytest.raises(ValueError, match="own way"):
        frozen_prefix.divide(model)


def test_a_model_under_mixed_precision_is_divided_with_the_optimizer_that_it_has():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = built(frozen_dense())
        assert frozen_prefix.divide(model).trained.optimizer is model.optimizer
    finally:
        keras.config.set_dtype_policy("float32")
