"""Compressed changes, compared with loops in numpy and with plain Keras, without Spark."""

from __future__ import annotations

import itertools

import keras
import numpy as np
import pytest
from in_process import Kept, train

from spark_keras.keras_model import first_step
from spark_keras.keras_model import state as states
from spark_keras.training.requests import Apply, Fetch, Hold, Train
from spark_keras.training.rules import coding as codings
from spark_keras.training.rules.coding import CODINGS, decoded, split
from spark_keras.training.worker.closure import Compressing
from spark_keras.training.worker.compressed_states import CompressedStates
from spark_keras.training.workers.in_process import InProcessWorkers

FEATURES = np.random.default_rng(5).normal(size=(120, 4)).astype("float32")
LABELS = np.sin(FEATURES.sum(1, keepdims=True)).astype("float32")
DATA = (FEATURES, LABELS)


def numbers(size, seed=0):
    random = np.random.default_rng(seed)
    return (random.normal(size=size) * 10.0 ** random.integers(-9, 3, size)).astype("float32")


# --- codings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("size", [0, 1, 7, 1000, 300_000])
@pytest.mark.parametrize("coding", CODINGS)
def test_what_is_sent_and_what_is_left_over_are_what_was_to_be_sent(coding, size, dtype):
    all_of_it = numbers(size).astype(dtype)
    coded, left = split(coding, all_of_it)
    sent = decoded(coding, coded, size, dtype)[:]
    assert coded.dtype == "uint8" and sent.dtype == left.dtype == dtype
    assert len(coded) <= codings.bytes_at_most(coding, size)
    # One rounding of what is left over.
    rounding = np.finfo(dtype).eps * np.maximum(np.abs(left), np.abs(all_of_it)) / 2
    assert (np.abs(sent.astype("float64") + left - all_of_it) <= rounding).all()


@pytest.mark.parametrize("size", [1, 77, 5000])
@pytest.mark.parametrize("coding", CODINGS)
def test_slices_are_those_of_the_whole(coding, size):
    coded, _ = split(coding, numbers(size))
    whole = decoded(coding, coded, size, "float32")[:]
    for piece in (1, 7, 1000):
        parts = decoded(coding, coded, size, "float32")
        slices = [parts[start : start + piece] for start in range(0, size, piece)]
        np.testing.assert_array_equal(np.concatenate(slices), whole)


def test_halves_are_those_of_numpy_and_of_tensorflow():
    all_of_it = np.concatenate([numbers(10_000), np.float32([0, -0.0, 65504, 1e-7, 3e-8, 1.00390625, 1.01171875])])
    all_of_it = np.concatenate([all_of_it, np.arange(-3000, 3000, dtype="float32") * 2.0**-26, [np.nan]]).astype(
        "float32"
    )
    coded, left = split("float16", all_of_it)
    np.testing.assert_array_equal(coded.view("uint16"), all_of_it.astype("float16").view("uint16"))
    np.testing.assert_array_equal(left, all_of_it - all_of_it.astype("float16").astype("float32"))
    coded, left = split("bfloat16", all_of_it)
    expected = np.array(keras.ops.cast(keras.ops.cast(all_of_it, "bfloat16"), "float32"))
    np.testing.assert_array_equal(decoded("bfloat16", coded, len(all_of_it), "float32")[:], expected)
    np.testing.assert_array_equal(left, all_of_it - expected)


@pytest.mark.parametrize("coding", ["float16", "bfloat16"])
def test_what_is_too_large_for_a_half_is_sent_bit_by_bit(coding):
    large = np.float32([3e5, -3e5, np.finfo("float32").max])
    total, left = np.zeros(3), large
    for _ in range(5):
        coded, left = split(coding, left)
        total += decoded(coding, coded, 3, "float32")[:]
    assert np.isfinite(total).all() and total[:2] == pytest.approx([3e5, -3e5])


def by_hand(changes, coding="threshold"):
    """What is sent: rounded changes; or steps of the mean magnitude of those that are large enough for their share."""
    if coding != "threshold":
        return np.asarray(keras.ops.cast(keras.ops.cast(changes, coding), "float32"))
    magnitudes = np.abs(changes)
    threshold = np.sort(magnitudes)[len(changes) - max(1, round(codings.SHARE * len(changes)))]
    sent = (magnitudes >= threshold) & (magnitudes > 0)
    step = np.float32(magnitudes[sent].astype("float64").mean()) if sent.any() else np.float32(0)
    return np.where(sent, np.sign(changes) * step, np.float32(0)).astype("float32")


@pytest.mark.parametrize("size", [1, 50, 1000, 20_000])
def test_the_largest_changes_are_sent_as_steps_of_their_mean_magnitude(size):
    changes = numbers(size)
    coded, _ = split("threshold", changes)
    np.testing.assert_array_equal(decoded("threshold", coded, size, "float32")[:], by_hand(changes))


def test_the_threshold_adapts_to_the_share_whatever_the_scale_and_the_bytes_to_it():
    size = 2_000_000
    for scale in (1e-6, 1.0, 1e6):
        coded, _ = split("threshold", (scale * np.random.default_rng(1).normal(size=size)).astype("float32"))
        share = np.count_nonzero(decoded("threshold", coded, size, "float32")[:]) / size
        assert share == pytest.approx(codings.SHARE, rel=0.1)
        assert len(coded) == pytest.approx(codings.usual_bytes("threshold", size), rel=0.1)


@pytest.mark.parametrize("equal", [0, 1, 20, 30, 40, 1000])
def test_places_or_a_bitmap_whichever_is_smaller(equal):
    # As many changes as are equal are sent.
    changes = np.zeros(1000, "float32")
    changes[np.random.default_rng(2).permutation(1000)[:equal]] = 0.5
    changes[::2] *= -1
    coded, left = split("threshold", changes)
    assert len(coded) == 8 + min(4 * equal, 125 + -(-equal // 8))
    np.testing.assert_array_equal(decoded("threshold", coded, 1000, "float32")[:], changes)
    assert not left.any()


# --- one worker, by hand -------------------------------------------------------------------------------------------


def linear(rate=0.1):
    model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")])
    model.compile(keras.optimizers.SGD(rate), "mse")
    return model


def network(optimizer="adam", normalized=True, dropout=0.2):
    keras.utils.set_random_seed(2)
    layers = [keras.layers.Dense(6, "relu"), *([keras.layers.BatchNormalization()] if normalized else [])]
    layers += [*([keras.layers.Dropout(dropout)] if dropout else []), keras.layers.Dense(1)]
    model = keras.Sequential([keras.Input((4,)), *layers])
    model.compile(optimizer, "mse")
    return model


def fit(model, coding, **settings):
    settings = {"optimizer_state": "local", "batch_size": 8, "frequency": 1} | settings
    return train(model, settings.pop("data", DATA), compression=coding, **settings)


def bits(model):
    state = states.read(model, states.layout_of(model, whole=True))
    return state.values.tobytes(), state.integers.tobytes()


@pytest.mark.parametrize("coding", CODINGS)
def test_one_worker_is_keras_whose_changes_are_rounded_after_each_minibatch(coding):
    """Keras takes the steps; what of them was not sent is added to the next one."""
    model, by_keras = network(dropout=0), network(dropout=0)
    fit(model, coding, epochs=2)
    first_step.build(by_keras, DATA)
    left = [np.zeros_like(each) for each in by_keras.get_weights()]
    trained = [any(each is other for other in by_keras.trainable_weights) for each in by_keras.weights]
    ends = np.cumsum([0, *(each.size for each, wanted in zip(left, trained) if wanted)])
    for _, start in itertools.product(range(2), range(0, 120, 8)):
        before = by_keras.get_weights()
        by_keras.train_on_batch(FEATURES[start : start + 8], LABELS[start : start + 8])
        after = by_keras.get_weights()
        changes = [b - a + rest for b, a, rest, wanted in zip(after, before, left, trained) if wanted]
        flat = np.concatenate([each.reshape(-1) for each in changes])
        sent = by_hand(flat, coding)
        parts = iter(itertools.pairwise(ends))
        for index, wanted in enumerate(trained):
            if wanted:
                part, shape = slice(*next(parts)), before[index].shape
                left[index] = (flat - sent)[part].reshape(shape)
                after[index] = before[index] + sent[part].reshape(shape)
        by_keras.set_weights(after)
    for one, other in zip(model.get_weights(), by_keras.get_weights(), strict=True):
        np.testing.assert_allclose(one, other, rtol=2e-4, atol=2e-5)


# --- several workers, by hand --------------------------------------------------------------------------------------


def double_squeeze(coding, combine, workers, epochs, size=5, rate=0.1):
    """Both ways coded, with what is left over on each side; SGD on a linear model in numpy."""
    weights, at_driver = np.zeros(4, "float32"), np.zeros(4, "float32")
    left = np.zeros((workers, 4), "float32")
    x, y = (np.array_split(each, workers) for each in DATA)

    for _, start in itertools.product(range(epochs), range(0, 120 // workers, size)):
        total = np.zeros(4)
        for worker in range(workers):
            rows, labels = (each[worker][start : start + size] for each in (x, y))
            gradient = 2 / len(rows) * rows.T @ (rows @ weights[:, None] - labels)
            changes = np.float32(-rate) * gradient[:, 0] + left[worker]
            sent = by_hand(changes, coding)
            left[worker] = changes - sent
            total += sent / (1 if combine == "sum" else workers)
        changes = total.astype("float32") + at_driver
        sent = by_hand(changes, coding)
        at_driver = changes - sent
        weights = weights + sent
    return weights


@pytest.fixture(scope="module")
def compiled_linear():
    """Workers whose replica has its programs for several tests."""
    return InProcessWorkers.of_arrays(linear(0.02), DATA, 1, 5)


@pytest.mark.parametrize("combine", ["mean", "sum"])
@pytest.mark.parametrize("coding", ["float16", "threshold"])
@pytest.mark.parametrize("workers", [1, 3, 8])
def test_workers_are_those_of_a_loop_in_numpy(compiled_linear, coding, combine, workers):
    model = linear(0.02)
    first_step.build(model, compiled_linear.task.columns.sample())
    task = compiled_linear.task._replace(compressing=Compressing(coding, "local"))
    team = InProcessWorkers.dealt(task, DATA, workers, replica=compiled_linear.replica)
    fit(model, coding, workers=team, batch_size=5, epochs=2, combine=combine)
    expected = double_squeeze(coding, combine, workers, 2, rate=0.02)
    # Equal but for roundings of 16 bits: a float32 gradient may fall to the other side.
    np.testing.assert_allclose(model.get_weights()[0][:, 0], expected, rtol=2e-3, atol=2e-5)


@pytest.mark.parametrize("workers", [2, 5])
def test_the_sum_of_uncompressed_changes_is_the_step_of_all_gradients(workers):
    model, weights = linear(0.01), np.zeros((4, 1))
    train(model, DATA, workers=workers, batch_size=4, frequency=1, combine="sum")
    x, y = (each.reshape(workers, 120 // workers, -1).astype("float64") for each in DATA)
    for start in range(0, 120 // workers, 4):
        rows, labels = (each[:, start : start + 4] for each in (x, y))
        weights = weights - 0.01 * sum(2 / 4 * r.T @ (r @ weights - y) for r, y in zip(rows, labels))
    np.testing.assert_allclose(model.get_weights()[0], weights, rtol=1e-4)


def test_compressed_fits_come_close_to_uncompressed_ones():
    losses = {}
    for coding in (None, *CODINGS):
        model = network("adam", dropout=0)
        losses[coding] = fit(model, coding, workers=3, epochs=8, validation=DATA).history["val_loss"]
    for coding, close in (("float16", 0.01), ("bfloat16", 0.05), ("threshold", 0.5)):
        assert losses[coding][-1] == pytest.approx(losses[None][-1], rel=close), coding


def test_moving_statistics_counters_and_rates_are_those_of_uncompressed_rounds():
    halve = keras.callbacks.LearningRateScheduler(lambda epoch, rate: rate / 2)
    models = []
    for coding in (None, "float16"):
        models.append(network(keras.optimizers.Adam(1e-6), dropout=0))
        fit(models[-1], coding, workers=[40, 56, 24], frequency=2, epochs=2, callbacks=[halve])
    for one, other in zip(*(model.variables for model in models), strict=True):
        np.testing.assert_allclose(states.to_numpy(one.value), states.to_numpy(other.value), rtol=2e-2, atol=1e-5)
    one, other = (model.optimizer for model in models)
    assert int(one.iterations) == int(other.iterations) == 14
    assert float(one.learning_rate) == float(other.learning_rate) == np.float32(1e-6) / 4
    # Both have the mean of the workers' at the end.
    for mine, its in zip(one.variables, other.variables, strict=True):
        np.testing.assert_allclose(states.to_numpy(mine.value), states.to_numpy(its.value), rtol=1e-3, atol=1e-6)


@pytest.mark.parametrize("non_finite", ["error", "skip"])
@pytest.mark.parametrize("coding", CODINGS)
def test_updates_that_are_not_finite_are_refused_or_left_out_and_leave_nothing_over(coding, non_finite):
    features = FEATURES.copy()
    features[45] = np.inf  # the second of three workers
    settings = {"workers": 3, "epochs": 2, "data": (features, LABELS), "non_finite": non_finite}
    model = network("sgd", normalized=False)
    if non_finite == "error":
        with pytest.raises(FloatingPointError, match="Worker 1 made"):
            fit(model, coding, **settings)
        return
    assert fit(model, coding, **settings).non_finite == [0, 2, 0]
    assert all(np.isfinite(each).all() for each in model.get_weights())


def test_bytes_of_a_round_are_counted_both_ways():
    model = linear()
    outcome = fit(model, "float16", workers=3, epochs=2)
    # Four weights, two bytes each; and one counter.
    assert outcome.compressed_bytes == 2 * (4 * 2 + 8)
    assert fit(linear(), None, workers=3).compressed_bytes == 0


# --- the same bits whatever happens --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def compiled():
    """Workers whose replica has its programs for all tests."""
    return InProcessWorkers.of_arrays(network(), DATA, 1, 8)


def dealt(one, coding, workers=3, team=InProcessWorkers, optimizer_state="local", **settings):
    """(history, bits) of a fit."""
    model = network()
    first_step.build(model, one.task.columns.sample())
    team = team.dealt(
        one.task._replace(compressing=Compressing(coding, optimizer_state)), DATA, workers, DATA, one.replica
    )
    settings = {"compression": coding, "optimizer_state": optimizer_state, "epochs": 3, "frequency": 2} | settings
    outcome = train(model, None, workers=team, batch_size=8, **settings)
    return outcome.history, outcome.rounds, bits(model)


class Forgetful(InProcessWorkers):
    """Some workers forget all that they hold before some requests, as new ones in their place would know nothing.

    Args:
        forget: of the number of a request, its kind and the worker's shard.
    """

    forget = staticmethod(lambda number, request, shard: False)
    forgotten = 0

    def ask(self, questions):
        self.requests = getattr(self, "requests", itertools.count())
        questions = list(questions)
        number, request = next(self.requests), questions[0].request
        for shard, worker in enumerate(self._workers):
            if not isinstance(request, Hold) and self.forget(number, request, shard):
                Forgetful.forgotten += 1
                worker._held = CompressedStates(shard, self.replica, self.task.compressing, self.task.settings)
        return super().ask(questions)


FORGETS = {
    "before it trains": lambda number, request, shard: isinstance(request, Train) and number in (3, 7) and shard == 1,
    "before it applies": lambda number, request, shard: isinstance(request, Apply) and number % 9 == 0 and shard == 0,
    "before the fetch": lambda number, request, shard: isinstance(request, Fetch) and number < 20 and shard == 2,
    "all at once": lambda number, request, shard: number in (9, 12),
    "now and then": lambda number, request, shard: number < 40 and (number * 7 + shard * 3) % 11 == 0,
}


@pytest.mark.parametrize("coding, optimizer_state", [("threshold", "local"), ("float16", "reset")])
@pytest.mark.parametrize("lost", FORGETS)
def test_workers_that_are_lost_change_no_bit(compiled, lost, coding, optimizer_state):
    class Team(Forgetful):
        forget = staticmethod(FORGETS[lost])

    expected = dealt(compiled, coding, optimizer_state=optimizer_state)
    Forgetful.forgotten = 0
    assert dealt(compiled, coding, team=Team, optimizer_state=optimizer_state) == expected
    assert Forgetful.forgotten


@pytest.mark.parametrize("die_after", [0, 2, 5])
@pytest.mark.parametrize("coding", ["threshold", "bfloat16"])
def test_a_fit_goes_on_from_a_checkpoint_to_the_same_bits(compiled, coding, die_after):
    expected = dealt(compiled, coding)
    killed = Kept(die_after)
    with pytest.raises(KeyboardInterrupt):
        dealt(compiled, coding, checkpoints=killed)
    assert dealt(compiled, coding, checkpoints=Kept(snapshot=killed.snapshot)) == expected


def test_what_a_callback_changes_reaches_the_workers_and_costs_none_of_what_they_have(compiled):
    class Nudge(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            weight = self.model.weights[0]
            weight.assign(weight + float(batch == 3))

    class Undone(Nudge):
        def on_train_batch_end(self, batch, logs=None):
            """Changes nothing."""

    changed, unchanged = (dealt(compiled, "threshold", callbacks=[each()]) for each in (Nudge, Undone))
    assert unchanged == dealt(compiled, "threshold")
    assert changed[2] != unchanged[2]
