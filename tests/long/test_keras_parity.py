"""A matrix of optimizers, losses and layers: one worker trains as `Model.fit` does; run on JAX and PyTorch, too.

What differs by nature is not in it: random layers draw from (seed, shard, epoch, minibatch) instead of from one
generator that goes on. `test_rounds.py` compares them within a round.
"""

from __future__ import annotations

import keras
import numpy as np
import pytest
from in_process import train
from rounds import BACKEND, KERNELS

from spark_keras.keras_model import state as states

layers, losses, optimizers = keras.layers, keras.losses, keras.optimizers
ROWS, BATCH, EPOCHS, FREQUENCY = 20, 8, 2, 2  # the last minibatch of an epoch has 4 rows, and a round of its own


def numbers(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=(ROWS, *shape)).astype("float32")


def shares(*shape):
    """Between 0 and 1."""
    return 1 / (1 + np.exp(-numbers(*shape, seed=1)))


def indices(classes, *shape):
    return np.random.default_rng(2).integers(0, classes, (ROWS, *shape)).astype("int32")


# --- networks: each with its rows, labels and losses ---------------------------------------------------------------
# Without biases that make no difference, whose gradients are rounding errors: Adam would make steps of them.


def dense():
    hidden = layers.Dense(6, "relu", kernel_regularizer="l2", kernel_constraint="max_norm", name="hidden")
    model = keras.Sequential([keras.Input((5,)), hidden, layers.BatchNormalization(), layers.Dense(3, "softmax")])
    return model, numbers(5), indices(3), "sparse_categorical_crossentropy", ["accuracy"]


def activations():
    x = keras.Input((5,))
    kinds = [
        layers.ReLU(),
        layers.LeakyReLU(),
        layers.ELU(),
        layers.PReLU(),
        layers.Softmax(),
        layers.Activation("gelu"),
    ]
    parts = [kind(layers.Dense(4)(x)) for kind in kinds]
    parts = [layers.LayerNormalization()(layers.Add()(parts[:3])), layers.Multiply()(parts[3:5]), parts[5]]
    parts += [layers.UnitNormalization()(x), layers.Rescaling(0.5)(x), layers.RMSNormalization()(x)]
    y = layers.Dense(1)(layers.ActivityRegularization(l2=0.01)(layers.Concatenate()(parts)))
    return keras.Model(x, y), numbers(5), numbers(1, seed=1), "mse", ["mae", keras.metrics.RootMeanSquaredError()]


def convolutions():
    x = keras.Input((8, 8, 2))
    y = layers.Conv2D(4, 3, padding="same")(layers.ZeroPadding2D(1)(x))
    y = layers.GroupNormalization(2)(layers.DepthwiseConv2D(3)(y))
    y = layers.MaxPooling2D()(layers.SeparableConv2D(4, 3, activation="relu", padding="same")(y))
    y = layers.BatchNormalization()(layers.Conv2DTranspose(2, 2, strides=2, use_bias=False)(y))
    y = layers.AveragePooling2D(2)(layers.UpSampling2D()(layers.Cropping2D(1)(y)))
    y = layers.Conv1D(3, 2, padding="causal")(layers.Reshape((-1, 2))(y))
    both = layers.Concatenate()([layers.GlobalMaxPooling1D()(y), layers.GlobalAveragePooling1D()(y)])
    return keras.Model(x, layers.Dense(2)(both)), numbers(8, 8, 2), numbers(2, seed=1), "huber", ["mse"]


def recurrent():
    x = keras.Input((6,), dtype="int32")
    y = layers.Embedding(9, 4, mask_zero=True)(x)
    y = layers.Bidirectional(layers.LSTM(3, return_sequences=True))(y)
    y = layers.TimeDistributed(layers.Dense(4))(layers.SimpleRNN(4, return_sequences=True)(y))
    y = layers.GRU(4)(y)
    model = keras.Model(x, layers.Dense(4, "softmax")(y))
    return model, indices(9, 6), np.eye(4, dtype="float32")[indices(4)], "categorical_crossentropy", ["accuracy", "auc"]


def attention():
    x = keras.Input((6, 4))
    y = layers.MultiHeadAttention(2, 2, use_bias=False)(x, x)
    y = layers.LayerNormalization()(layers.Add()([x, y]))
    y = layers.Add()([layers.Attention()([y, y]), layers.AdditiveAttention()([y, y])])
    y = layers.GroupQueryAttention(2, 2, 1, use_bias=False)(y, y)
    y = layers.EinsumDense("abc,cd->abd", output_shape=(6, 3))(layers.SpatialDropout1D(0.0)(y))
    model = keras.Model(x, layers.Dense(1, "sigmoid")(layers.Flatten()(y)))
    return model, numbers(6, 4), indices(2, 1).astype("float32"), "binary_crossentropy", ["accuracy", "precision"]


def each_loss(given):
    """One output for each loss."""
    x = keras.Input((5,))
    hidden = layers.Dense(8, "tanh")(x)
    outputs, labels, compiled = {}, {}, {}
    for name, (loss, output, label) in given.items():
        outputs[name] = layers.Dense(output[0], output[1], name=name)(hidden)
        labels[name], compiled[name] = label, loss
    return keras.Model(x, outputs), numbers(5), labels, compiled, None


def losses_of_values():
    plain, positive, share, binary = numbers(3, seed=4), np.abs(numbers(3, seed=5)) + 0.1, shares(3), indices(2, 3)
    of_values = [losses.MeanSquaredError(), losses.MeanAbsoluteError(), losses.Huber(0.5), losses.LogCosh()]
    of_values += [losses.CosineSimilarity(axis=-1), losses.MeanAbsolutePercentageError()]
    given = {type(loss).__name__: (loss, (3, None), plain) for loss in of_values}
    for loss in (losses.MeanSquaredLogarithmicError(), losses.Poisson()):
        given[type(loss).__name__] = loss, (3, "softplus"), positive
    given["KLDivergence"] = losses.KLDivergence(), (3, "softmax"), share / share.sum(-1, keepdims=True)
    for loss in (losses.Hinge(), losses.SquaredHinge()):
        given[type(loss).__name__] = loss, (3, None), binary.astype("float32")
    for loss in (losses.BinaryCrossentropy(label_smoothing=0.1), losses.BinaryFocalCrossentropy(), losses.Dice()):
        given[type(loss).__name__] = loss, (3, "sigmoid"), binary.astype("float32")
    given["Tversky"] = losses.Tversky(), (3, "sigmoid"), binary.astype("float32")
    return each_loss(given)


def losses_of_classes():
    classes = indices(4)
    categories = np.eye(4, dtype="float32")[classes]
    given = {}
    for loss in (losses.CategoricalCrossentropy(label_smoothing=0.1), losses.CategoricalFocalCrossentropy()):
        given[type(loss).__name__] = loss, (4, "softmax"), categories
    given["CategoricalHinge"] = losses.CategoricalHinge(), (4, None), categories
    given["GeneralizedCrossEntropy"] = losses.CategoricalGeneralizedCrossEntropy(), (4, "softmax"), classes
    given["logits"] = losses.SparseCategoricalCrossentropy(from_logits=True), (4, None), classes
    given["ignored"] = losses.SparseCategoricalCrossentropy(ignore_class=1), (4, "softmax"), classes
    given["Circle"] = losses.Circle(gamma=5.0), (4, "tanh"), classes
    return each_loss(given)


def labels_of_another_shape():
    x = keras.Input((9, 4))
    model = keras.Model(x, layers.Dense(6)(layers.LSTM(5, return_sequences=True)(x)))
    return model, numbers(9, 4), 1 + indices(5, 3), losses.CTC(), None


NETWORKS = {
    network.__name__: network
    for network in (
        dense,
        activations,
        convolutions,
        recurrent,
        attention,
        losses_of_values,
        losses_of_classes,
        labels_of_another_shape,
    )
}

# --- optimizers ----------------------------------------------------------------------------------------------------


def excluded():
    optimizer = optimizers.AdamW(0.01, weight_decay=0.2)
    optimizer.exclude_from_weight_decay(var_names=["bias"])
    return optimizer


def cosine():
    return optimizers.schedules.CosineDecay(0.05, 6, warmup_target=0.1, warmup_steps=2)


OPTIMIZERS = {
    "Adadelta": lambda: optimizers.Adadelta(0.5),
    "Adafactor": lambda: optimizers.Adafactor(0.05),
    "Adagrad": lambda: optimizers.Adagrad(0.05),
    "Adam": lambda: optimizers.Adam(0.01, amsgrad=True),
    "AdamW": excluded,
    "Adamax": lambda: optimizers.Adamax(0.02),
    "Ftrl": lambda: optimizers.Ftrl(0.05, l1_regularization_strength=0.01),
    "Lamb": lambda: optimizers.Lamb(0.01),
    "Lion": lambda: optimizers.Lion(0.005),
    "Muon": lambda: optimizers.Muon(0.01),
    "Nadam": lambda: optimizers.Nadam(0.01),
    "RMSprop": lambda: optimizers.RMSprop(0.01, momentum=0.5, centered=True),
    "SGD": lambda: optimizers.SGD(0.05, momentum=0.9, nesterov=True),
    "ScheduleFreeAdamW": lambda: optimizers.ScheduleFreeAdamW(0.01, warmup_steps=2),
}
WRAPPED = {
    "LossScaleOptimizer": lambda: optimizers.LossScaleOptimizer(optimizers.Adam(0.01), 64.0, dynamic_growth_steps=2),
    "MultiOptimizer": lambda: optimizers.MultiOptimizer(
        optimizers.OptimizerMap(optimizers.SGD(0.05), {".*hidden.*": optimizers.Adam(0.01)})
    ),
    "averages of the weights": lambda: optimizers.Adam(0.01, use_ema=True, ema_momentum=0.8),
    "averages that overwrite": lambda: optimizers.SGD(0.05, use_ema=True, ema_momentum=0.8, ema_overwrite_frequency=2),
    "accumulated gradients": lambda: optimizers.Adam(0.01, gradient_accumulation_steps=2),
    "clipped by norm": lambda: optimizers.SGD(0.1, clipnorm=0.1),
    "clipped by global norm": lambda: optimizers.Adam(0.01, global_clipnorm=0.1),
    "clipped by value": lambda: optimizers.RMSprop(0.01, clipvalue=0.02),
    "decay of weights": lambda: optimizers.SGD(0.05, weight_decay=0.1),
    "scheduled": lambda: optimizers.Adam(cosine()),
    "scaled": lambda: optimizers.SGD(0.05, loss_scale_factor=16.0),
}
# Each network with Adam, each optimizer with a dense network and, on TensorFlow, with XLA. Without it and on other
# backends some of each kind: layers, losses and optimizers are written in the operations of Keras.
SOME_NETWORKS = ["dense", "convolutions", "recurrent", "labels_of_another_shape"]
SOME_OPTIMIZERS = ["ScheduleFreeAdamW", "LossScaleOptimizer", "MultiOptimizer"]
SOME_OPTIMIZERS += ["averages that overwrite", "accumulated gradients"]
if BACKEND == "tensorflow":
    CASES = [("Adam", network, "auto") for network in NETWORKS]
    CASES += [(optimizer, "dense", "auto") for optimizer in sorted({*SOME_OPTIMIZERS, *WRAPPED})]
    CASES += [(optimizer, "dense", True) for optimizer in OPTIMIZERS]
else:
    CASES = [("Adam", network, "auto") for network in SOME_NETWORKS]
    CASES += [(optimizer, "dense", "auto") for optimizer in SOME_OPTIMIZERS]


def compiled(optimizer, network):
    keras.utils.set_random_seed(5)
    model, x, y, loss, metrics = NETWORKS[network]()
    made = (OPTIMIZERS | WRAPPED)[optimizer]()
    model.compile(made, loss, metrics=metrics, jit_compile=BACKEND == "jax")
    return model, (x, y)


def check(optimizer, network, jit):
    trained, data = compiled(optimizer, network)
    outcome = train(trained, data, epochs=EPOCHS, batch_size=BATCH, frequency=FREQUENCY, jit=jit)

    expected, (x, y) = compiled(optimizer, network)
    # Where TensorFlow compiles plain Keras' steps, the losses of several outputs weigh a short minibatch as a full one,
    # and an optimizer that begins with the weights (ScheduleFreeAdamW) begins with zeros.
    expected.run_eagerly = BACKEND == "tensorflow"
    history = expected.fit(x, y, batch_size=BATCH, epochs=EPOCHS, shuffle=False, verbose=0).history
    assert set(outcome.history) == set(history)
    for name, values in history.items():
        np.testing.assert_allclose(outcome.history[name], values, rtol=2e-4, atol=1e-5, err_msg=name)
    for one, other in zip(states.variables(trained), states.variables(expected), strict=True):
        here, there = (np.asarray(keras.ops.convert_to_numpy(each)) for each in (one, other))
        np.testing.assert_allclose(here, there, atol=2e-5, rtol=1e-4, err_msg=other.path)
    return outcome.kernel


@pytest.mark.parametrize("optimizer, network, jit", CASES)
@pytest.mark.slow
def test_one_worker_trains_as_keras_does(optimizer, network, jit):
    assert check(optimizer, network, jit) in (["xla"] if jit is True else KERNELS)


def test_every_optimizer_and_loss_of_keras_is_in_the_matrix():
    kinds = {name for name in dir(optimizers) if isinstance(getattr(optimizers, name), type)}
    assert kinds - {"Optimizer", "OptimizerMap"} <= {*OPTIMIZERS, *WRAPPED}
    kinds = {name for name in dir(losses) if isinstance(getattr(losses, name), type)}
    compared = {type(loss).__name__ for network in NETWORKS.values() for loss in keras.tree.flatten(network()[3])}
    assert kinds - {"Loss", "LossFunctionWrapper"} <= compared
