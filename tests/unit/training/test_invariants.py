"""What holds for every training by averaging, for 1 to 16 workers, compared with plain Keras and closed forms."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from counting import counting, expected_counts
from in_process import train

from spark_keras.keras_model import state as states

FEATURES = np.random.default_rng(1).normal(size=(160, 5)).astype("float32")
LABELS = (FEATURES @ np.array([1.0, -2.0, 0.5, 0.0, 3.0]) > 0).astype("float32")[:, None]


def network(optimizer, seed=3, dropout=0.0, measured=False):
    keras.utils.set_random_seed(seed)
    hidden = [keras.layers.Dense(7, "tanh"), *([keras.layers.Dropout(dropout)] if dropout else [])]
    model = keras.Sequential([keras.Input((5,)), *hidden, keras.layers.Dense(1, "sigmoid")])
    metrics = ["accuracy", keras.metrics.AUC(name="auc")] if measured else []
    model.compile(optimizer, "binary_crossentropy", metrics=metrics)
    return model


def fitted_by_keras(model, batch_size, epochs, rows=slice(None)):
    model.jit_compile = False
    history = model.fit(
        FEATURES[rows], LABELS[rows], batch_size=batch_size, epochs=epochs, shuffle=False, verbose=0
    ).history
    return model.get_weights(), history


def assert_close(weights, expected, atol):
    for one, other in zip(weights, expected, strict=True):
        np.testing.assert_allclose(one, other, atol=atol)


@pytest.mark.parametrize(
    "optimizer, frequency, measured",
    [("adam", 1, False), ("sgd", 3, True), ("rmsprop", 10, False), ("adam", None, False)],
)
def test_one_worker_equals_plain_keras_with_a_short_last_minibatch(optimizer, frequency, measured):
    # 103 rows: the last minibatch has 7.
    model, rows = network(optimizer, measured=measured), slice(103)
    outcome = train(model, (FEATURES[rows], LABELS[rows]), epochs=3, batch_size=16, frequency=frequency)
    weights, history = fitted_by_keras(network(optimizer, measured=measured), 16, 3, rows)
    assert_close(model.get_weights(), weights, 1e-5)
    for name, values in history.items():
        np.testing.assert_allclose(outcome.history[name], values, rtol=1e-4, err_msg=name)


@pytest.mark.parametrize("workers", [2, 3, 8, 16])
def test_workers_that_average_each_minibatch_equal_one_with_a_batch_so_many_times_as_large(workers):
    size, steps = 2, 5
    rows = workers * size * steps
    # Worker w's minibatch i has the w-th part of the i-th large minibatch.
    order = np.arange(rows).reshape(steps, workers, size).transpose(1, 0, 2).reshape(-1)
    model = network(keras.optimizers.SGD(0.3))
    train(
        model, (FEATURES[:rows][order], LABELS[:rows][order]), workers=workers, epochs=2, batch_size=size, frequency=1
    )
    weights, _ = fitted_by_keras(network(keras.optimizers.SGD(0.3)), workers * size, 2, slice(rows))
    assert_close(model.get_weights(), weights, 1e-6)


@pytest.mark.parametrize("workers, frequency", [(1, 3), (2, 1), (3, None), (5, 3), (8, None), (16, 1), (16, 3)])
def test_every_row_is_trained_once_in_each_epoch_and_weighted_by_its_workers_rows(workers, frequency):
    # One of four has none, and the others have a last minibatch that is short.
    counts, size = [(9, 14, 0, 6)[index % 4] for index in range(workers)], 4
    model, data = counting(sum(counts))
    # In the order of the rows, or, where a round is an epoch, in any.
    train(model, data, workers=counts, batch_size=size, frequency=frequency, epochs=2, shuffle=frequency is None)
    once = expected_counts(counts, size, frequency or 10**9)
    np.testing.assert_allclose(model.get_weights()[0][:, 0], 2 * np.array(once), rtol=1e-5)


@pytest.mark.parametrize("workers", [2, 7])
def test_metrics_over_all_workers_are_those_of_one_process(workers):
    model, untrained = (network(keras.optimizers.SGD(0.0), measured=True) for _ in range(2))
    data = FEATURES, LABELS
    # All but the last worker have 3, 11, 19, … rows.
    counts = [3 + 8 * (index % 3) for index in range(workers - 1)]
    counts.append(len(FEATURES) - sum(counts))
    outcome = train(model, data, workers=counts, batch_size=8, frequency=2, validation=(FEATURES[:50], LABELS[:50]))
    untrained.jit_compile = False
    for prefix, rows in (("", slice(None)), ("val_", slice(50))):
        expected = untrained.evaluate(FEATURES[rows], LABELS[rows], verbose=0, return_dict=True)
        for name in ("accuracy", "auc") if not prefix else ("loss", "accuracy", "auc"):
            assert outcome.history[prefix + name][0] == pytest.approx(expected[name], rel=1e-5), name


@pytest.mark.parametrize("workers", [1, 5])
def test_the_same_seed_gives_the_same_bits(workers):
    def bits(seed):
        model = network("adam", dropout=0.3)
        train(model, (FEATURES, LABELS), workers=workers, epochs=2, batch_size=4, frequency=2, seed=seed, shuffle=True)
        return states.read(model, states.layout_of(model)).values.tobytes()

    assert bits(1) == bits(1) != bits(2)


def test_choices_of_optimizer_state_agree_for_an_optimizer_without_state():
    weights = set()
    for choice in ("average", "local", "reset"):
        model = network(keras.optimizers.SGD(0.1))
        train(model, (FEATURES, LABELS), workers=3, batch_size=8, frequency=2, optimizer_state=choice)
        weights.add(states.read(model, states.layout_of(model)).values.tobytes())
    assert len(weights) == 1
