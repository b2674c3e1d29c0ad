"""Arrow columns to the steps that are evaluated: one for each row, or for each place in a row's sequence.

Every column is checked here by the same rules, whatever is computed afterwards. Free of Keras; runs on the executors.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from spark_keras.evaluation.partial import Sums

# Class indices lie below, where nothing tells the number of classes.
MOST_CLASSES = 2**20
# What single precision may add to 1.
_ROUNDING = 1e-6


class Rules(NamedTuple):
    """Demands of a report on its columns, which are named by their roles.

    Args:
        lead: "prediction" or "scores": a row is left out where this is null.
        label: "index" of a class, "binary" (0 or 1) or "finite".
        prediction: the same, "probability", or "logit", which becomes a probability.
        scores: "probability", "logit" or "finite".
        one_hot: whether labels are rows of 0 with a single 1, for its index.
        classes: their number, where it is known.
        grouped: whether the numbers of a prediction's innermost array belong together, as the labels of a row do.
        ignored: labels that do not count.
        non_finite: "error", or "wrong" for scores that are NaN or infinite: their steps count and are never right.
    """

    lead: str
    label: str
    prediction: str = "finite"
    scores: str = "finite"
    classes: int | None = None
    grouped: bool = False
    ignored: tuple[int, ...] = ()
    non_finite: str = "error"
    one_hot: bool = False


class Steps(NamedTuple):
    """Steps without a fault.

    Args:
        label: shape (steps,).
        prediction: shape (steps,); where there is none, the first class with the largest score.
        scores: shape (steps, classes), or None. One probability of a step stands for two classes.
        weight: shape (steps,).
        group: of the numbers that belong together; rising.
        place: in the group.
        width: numbers in a group.
    """

    label: np.ndarray
    prediction: np.ndarray
    scores: np.ndarray | None
    weight: np.ndarray
    group: np.ndarray
    place: np.ndarray
    width: int


class _Leaves(NamedTuple):
    """The numbers of a column without null rows, in row-major order: values, which of them are null, how many each row
    has, lengths of the innermost arrays, and how many arrays are nested.
    """

    values: np.ndarray
    missing: np.ndarray
    counts: np.ndarray
    inner: np.ndarray
    depth: int


def read(batch: pa.RecordBatch, rules: Rules, sums: Sums) -> Steps:
    """The steps of a batch that can be evaluated; all others are counted, and their faults."""
    batch = _complete(batch, rules, sums)
    found = {name: _leaves(batch.column(index)) for index, name in enumerate(batch.schema.names)}
    if rules.one_hot:
        found["label"] = _indices(found["label"], sums)
    counts = found["label"].counts
    classes = _classes(found["scores"], counts, sums) if "scores" in found else 1
    width = _width(found["prediction"], sums) if rules.grouped else 1
    fits = {name: _fits(name, part, counts, classes, width) for name, part in found.items()}
    for name, fit in fits.items():
        sums.fault(name, "length", ~fit, found[name].counts)
    usable = np.all(list(fits.values()), axis=0)
    sums.add("invalid", 0, np.count_nonzero(~usable))
    values: dict[str, np.ndarray] = {}
    missing: dict[str, np.ndarray] = {}
    for name, part in found.items():
        own = np.repeat(usable, part.counts)
        # One number of a row or of a group stands for each of its steps.
        repeats = np.repeat(counts[usable] // np.maximum(part.counts[usable], 1), part.counts[usable])
        for target, array in ((values, part.values[own]), (missing, part.missing[own])):
            target[name] = array.reshape(-1, classes) if name == "scores" else np.repeat(array, repeats)
    return _checked(values, missing, width, rules, sums)


def _complete(batch: pa.RecordBatch, rules: Rules, sums: Sums) -> pa.RecordBatch:
    """The batch without rows that have a null for a column."""
    nulls = {name: np.asarray(batch.column(index).is_null()) for index, name in enumerate(batch.schema.names)}
    unpredicted = nulls[rules.lead]
    sums.add("leftOut", 0, np.count_nonzero(unpredicted))
    for name, null in nulls.items():
        sums.fault(name, "null", null & ~unpredicted)
    usable = ~np.any(list(nulls.values()), axis=0)
    sums.add("invalid", 0, np.count_nonzero(~usable & ~unpredicted))
    return batch if usable.all() else batch.filter(pa.array(usable))


def _leaves(array: pa.Array) -> _Leaves:
    ends, depth, inner = np.arange(len(array) + 1), 0, np.zeros(0, "int64")
    while pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
        inner = pc.fill_null(pc.list_value_length(array), 0).to_numpy(zero_copy_only=False).astype("int64")
        ends = np.concatenate([[0], np.cumsum(inner)])[ends]
        array, depth = array.flatten(), depth + 1
    # A null becomes NaN.
    values = array.cast(pa.float64()).to_numpy(zero_copy_only=False)
    return _Leaves(values, np.asarray(array.is_null()), np.diff(ends), inner, depth)


def _indices(label: _Leaves, sums: Sums) -> _Leaves:
    """Labels as class indices, of rows that hold a single 1; of others, -1."""
    width = int(label.inner[0]) if len(label.inner) else 1
    if not width or (label.inner != width).any():
        sums.fault("label", "one-hot", label.inner != width)
        return label._replace(counts=np.zeros_like(label.counts), values=np.zeros(0), missing=np.zeros(0, bool))
    rows = label.values.reshape(-1, width)
    single = (np.count_nonzero(rows == 1, axis=1) == 1) & (np.count_nonzero(rows == 0, axis=1) == width - 1)
    sums.fault("label", "one-hot", ~single)
    return label._replace(
        values=np.where(single, rows.argmax(axis=1), 0).astype("float64"),
        missing=np.zeros(len(rows), bool),
        counts=label.counts // width,
        depth=label.depth - 1,
    )


def _classes(scores: _Leaves, counts: np.ndarray, sums: Sums) -> int:
    """Scores of a step; 1 where it has a number and no array of its own."""
    inner = int(scores.inner[0]) if len(scores.inner) else 1
    first = np.flatnonzero(counts)[:1]
    own = scores.depth > 0 and np.array_equal(scores.counts[first], counts[first] * inner)
    if len(counts):
        lengths, rows = np.unique(scores.inner if own else np.ones(len(counts), "int64"), return_counts=True)
        sums.add("lengths", lengths, rows)
    return inner if own else 1


def _width(prediction: _Leaves, sums: Sums) -> int:
    """Numbers that belong together: those of an innermost array."""
    inner = prediction.inner if prediction.depth else np.ones(len(prediction.counts), "int64")
    lengths, rows = np.unique(inner, return_counts=True)
    sums.add("lengths", lengths, rows)
    return int(inner[0]) if len(inner) and inner[0] else 1


def _fits(name: str, part: _Leaves, counts: np.ndarray, classes: int, width: int) -> np.ndarray:
    """The rows that have a number for each step, or what can stand for it."""
    if name == "label":
        return counts % width == 0
    if name in ("mask", "weight"):
        return (part.counts == counts) | (part.counts * width == counts) | (part.depth == 0)
    return part.counts == counts * (classes if name == "scores" else 1)


def _checked(
    values: dict[str, np.ndarray], missing: dict[str, np.ndarray], width: int, rules: Rules, sums: Sums
) -> Steps:
    """Leaves out steps that do not count, which may hold anything, and those with a fault."""
    label, scores = values["label"], values.get("scores")
    counts = np.ones(len(label), bool)
    classes = rules.classes or MOST_CLASSES
    if scores is not None:
        classes = max(2, scores.shape[1])
    if "mask" in values:
        counts &= _sound("mask", "binary", values, missing, counts, classes, sums) & (values["mask"] != 0)
    if rules.ignored:
        counts &= ~np.isin(label, rules.ignored)
    sums.add("leftOut", 0, np.count_nonzero(~counts))
    sound = counts.copy()
    kept_to = {"label": rules.label, "weight": "weight", "prediction": rules.prediction, "scores": rules.scores}
    for name, rule in kept_to.items():
        if name in values:
            allowed = rules.non_finite == "wrong" and (name == "scores" or (name == "prediction" and rules.grouped))
            sound &= _sound(name, rule, values, missing, counts, classes, sums, allowed)
    sums.add("invalid", 0, np.count_nonzero(counts & ~sound))
    sums.add("rows", 0, np.count_nonzero(counts))
    number = np.arange(len(label))
    if scores is not None:
        scores = _of_two_classes(_probabilities(scores[sound], rules.scores), rules.scores)
    if scores is None or "prediction" in values:
        prediction = _probabilities(values["prediction"][sound][:, None], rules.prediction)[:, 0]
    else:
        prediction = scores.argmax(axis=1)
    return Steps(
        label[sound],
        prediction,
        scores,
        values["weight"][sound],
        number[sound] // width,
        number[sound] % width,
        width,
    )


def _of_two_classes(scores: np.ndarray, rule: str) -> np.ndarray:
    if scores.shape[1] != 1:
        return scores
    return np.concatenate([-scores if rule == "finite" else 1.0 - scores, scores], axis=1)


def _probabilities(scores: np.ndarray, rule: str) -> np.ndarray:
    """Of logits, by the softmax; one by the sigmoid."""
    if rule != "logit":
        return scores
    with np.errstate(over="ignore", invalid="ignore"):
        if scores.shape[1] == 1:
            return 1.0 / (1.0 + np.exp(-scores))
        powers = np.exp(scores - scores.max(axis=1, keepdims=True))
        return powers / powers.sum(axis=1, keepdims=True)


def _sound(
    name: str,
    rule: str,
    values: dict[str, np.ndarray],
    missing: dict[str, np.ndarray],
    counts: np.ndarray,
    classes: int,
    sums: Sums,
    non_finite: bool = False,
) -> np.ndarray:
    """The steps whose numbers of a column keep to the rule; those that count and do not are noted as faults."""
    numbers, null = values[name], missing[name]
    finite = np.isfinite(numbers)
    faults = {"null": null}
    if not non_finite:
        faults["non-finite"] = ~finite & ~null
    if rule == "index":
        faults["index"] = finite & ((numbers != np.floor(numbers)) | (numbers < 0) | (numbers >= classes))
    elif rule == "binary":
        faults["binary"] = finite & (numbers != 0) & (numbers != 1)
    elif rule == "probability":
        faults["probability"] = finite & ((numbers < -_ROUNDING) | (numbers > 1 + _ROUNDING))
    elif rule == "weight":
        faults["negative"] = finite & (numbers < 0)
    sound = np.ones(len(numbers), bool)
    for kind, bad in faults.items():
        if bad.ndim > 1:
            row = bad.any(axis=1)
            shown = numbers[np.arange(len(numbers)), bad.argmax(axis=1)]
        else:
            row, shown = bad, numbers
        sums.fault(name, kind, row & counts, None if kind == "null" else shown)
        sound &= ~row
    return sound
