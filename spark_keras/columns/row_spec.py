"""Content of a shard: what workers load of the rows, and how that becomes what Keras is given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from spark_keras.columns import arrow
from spark_keras.columns.class_weights import ClassWeights, with_axes
from spark_keras.columns.tensor_column import TensorColumn
from spark_keras.executor.aligned import aligned
from spark_keras.executor.invalid_data import InvalidData


class ShardColumns(NamedTuple):
    """Description of the rows that travels to the workers: the internal column names, shared by driver and worker.

    Args:
        features: columns `x0`, `x1`, … ; one tensor, or several named inputs.
        labels: columns `y0`, `y1`, … , one for each output; None for an output without a label. Empty where no output
            has one: then the model is given its inputs alone.
        weight: column `w`, the weight of a row for all outputs, or None.
        feature_structure: the form in which the model takes its inputs, with indices in `features`.
        label_structure: how the model's outputs are nested; labels are packed the same way.
        validation: whether there is a boolean column `v`.
        skip_invalid: whether rows with null or NaN are left out and counted, instead of refused.
        weights: columns `w0`, `w1`, … , one for each output instead of `weight`; None for an output without weights.
        weight_axes: for each output, how many axes its losses have in a row (1 where each time step has one), which
            its weights are given, too; empty where weights are taken as they are.
        class_weights: weights of the classes of the only label, while rows are trained; or None.
        sample_rows: rows of a sample; as many as a minibatch has, for a model that takes no other number.
    """

    features: tuple[TensorColumn, ...]
    labels: tuple[TensorColumn | None, ...]
    weight: TensorColumn | None
    feature_structure: Any
    label_structure: Any
    validation: bool
    skip_invalid: bool
    weights: tuple[TensorColumn | None, ...] = ()
    weight_axes: tuple[int, ...] = ()
    class_weights: ClassWeights | None = None
    sample_rows: int = 7

    @property
    def tensors(self) -> dict[str, TensorColumn]:
        named = {f"x{i}": tensor for i, tensor in enumerate(self.features)}
        named |= {f"y{i}": tensor for i, tensor in enumerate(self.labels) if tensor}
        named |= {f"w{i}": tensor for i, tensor in enumerate(self.weights) if tensor}
        return named | ({"w": self.weight} if self.weight else {})

    @property
    def decisive(self) -> dict[str, Any]:
        """Values that decide the bits of a fit beside shapes and types, where they differ from the first version's."""
        found: dict[str, Any] = {}
        if self.class_weights is not None:
            found["classWeight"] = [list(each) for each in self.class_weights]
        if self.weights or not all(self.labels) or not self.labels:
            found["tensors"] = list(self.tensors)
        return found

    @property
    def row_bytes(self) -> int:
        """Bytes of a row's tensors as they are trained."""
        return row_bytes({name: zeros(tensor, 0) for name, tensor in self.tensors.items()})

    @property
    def kept_bytes(self) -> int:
        """Bytes of a row's tensors as a worker keeps them."""
        return row_bytes({name: stored_zeros(tensor, 0) for name, tensor in self.tensors.items()})

    @property
    def names_in_structures(self) -> set[str]:
        """Names by which several tensors are told apart when they are packed or meet their losses."""
        several = [group for group in (self.features, self.labels) if len(group) > 1]
        named = [each for each in (self.feature_structure, self.label_structure) if isinstance(each, dict)]
        return {t.name for group in several for t in group if t} | {name for each in named for name in each}

    def packer(self) -> Callable[[dict[str, Any]], Any]:
        """Function that makes `x`, (x, y) or (x, y, sample_weight), nested as the model takes them, of finished arrays,
        or tensors, by name.
        """
        import keras

        from spark_keras.keras_model.signature import pack_inputs

        features = [f"x{index}" for index in range(len(self.features))]
        labels = [f"y{index}" for index in range(len(self.labels))]
        weights = [f"w{index}" for index in range(len(self.labels))]

        def by_output(arrays: dict[str, Any], names: list[str]) -> Any:
            outputs = [arrays.get(name) for name in names]
            return outputs[0] if len(outputs) == 1 else keras.tree.pack_sequence_as(self.label_structure, outputs)

        def pack(arrays: dict[str, Any]) -> Any:
            x = pack_inputs(self.feature_structure, [arrays[name] for name in features])
            if not labels:
                return keras.utils.pack_x_y_sample_weight(x)
            y = by_output(arrays, labels)
            if "w" in arrays:
                return x, y, arrays["w"]
            return (x, y, by_output(arrays, weights)) if any(name in arrays for name in weights) else (x, y)

        return pack

    def pack(self, arrays: dict[str, Any], training: bool = False) -> Any:
        """The structure that Keras is given of stored arrays.

        Args:
            training: whether the rows are trained, for which classes have their weights.
        """
        return self.packer()(self.finish(arrays, training))

    def finish(self, arrays: dict[str, np.ndarray], training: bool) -> dict[str, np.ndarray]:
        """Finished arrays, as the model takes them, of what is kept of some rows, or of stacks of them."""
        labels = {index: (arrays[f"y{index}"], label) for index, label in enumerate(self.labels) if label}
        made = dict(arrays)
        if self.weight_axes:
            weight, leading = made.pop("w", None), made["x0"].ndim - len(self.features[0].shape)
            for index, label in labels.items():
                own = made.get(f"w{index}", weight)
                if self.class_weights and training:
                    by_class = self.class_weights.of(*label, leading)
                    own = by_class if own is None else by_class * with_axes(own, by_class.ndim)
                if own is not None:
                    made[f"w{index}"] = with_axes(own, leading + self.weight_axes[index])
        return made | {f"y{i}": arrow.finished(*label, aligned) for i, label in labels.items() if label[1].one_hot}

    def sample(self) -> tuple[Any, ...]:
        """A few rows of zeros, to build a model with.

        Not one row, which broadcasts with everything: a loss or metric that does not fit the labels would only be
        found on the workers.
        """
        return self.pack(
            {name: stored_zeros(tensor, self.sample_rows) for name, tensor in self.tensors.items()}, training=True
        )


def zeros(tensor: TensorColumn, rows: int) -> np.ndarray:
    """Rows as they are trained."""
    return np.zeros((rows, *tensor.tensor_shape), "float32" if tensor.one_hot else tensor.dtype)


def stored_zeros(tensor: TensorColumn, rows: int) -> np.ndarray:
    """Rows of zeros as they are kept."""
    return np.zeros((rows, *tensor.row_shape), tensor.dtype)


def tensors_of(
    batch: pa.RecordBatch, spec: ShardColumns, skipped: dict[str, int]
) -> tuple[pa.RecordBatch, dict[str, np.ndarray]]:
    """The batch's complete rows, and what is kept of their tensors; refuses the others, or leaves them out and counts
    them.
    """
    keep = np.ones(batch.num_rows, bool)
    for name, tensor in spec.tensors.items():
        usable = arrow.usable_rows(batch.column(name))
        missing = int(np.count_nonzero(keep & ~usable))
        if missing and not spec.skip_invalid:
            raise InvalidData(
                f"Null or NaN in {tensor.label}. Received: {missing} such rows in a batch of {batch.num_rows}. "
                'Expected: complete rows, or handleInvalid="skip" to leave such rows out and count them.'
            )
        if missing:
            skipped[tensor.label] = skipped.get(tensor.label, 0) + missing
        keep &= usable
    if not keep.all():
        batch = batch.filter(pa.array(keep))
    return batch, {name: arrow.to_stored(batch.column(name), tensor) for name, tensor in spec.tensors.items()}


Arrays = dict[str, np.ndarray]


def row_bytes(arrays: Arrays) -> int:
    return sum(array.itemsize * int(np.prod(array.shape[1:])) for array in arrays.values())
