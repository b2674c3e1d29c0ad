"""One tensor and the columns that it is made of."""

from __future__ import annotations

from typing import NamedTuple, cast


class TensorColumn(NamedTuple):
    """One tensor and the DataFrame columns it is made of.

    Args:
        name: the tensor's name in the model, such as an input's name.
        param: the Param that names the columns, for messages.
        columns: the DataFrame columns; several scalar columns are put side by side.
        shape: shape of one row, without the batch dimension; `None` where only the data can tell.
        dtype: numpy dtype of the tensor.
        depth: how many arrays are nested in the column that travels (0 for a number).
        classes: for integer labels, their number: every label lies in [0, classes).
        one_hot: whether integer labels become one-hot rows of `classes` numbers.
        class_axis: for one-hot labels, which of a row's axes has the classes, counted from the last one (−1).
        ignored: for integer labels, one that the loss leaves out, inside of [0, classes) or not; or None.
        non_negative: whether negative numbers are refused (row weights).
    """

    name: str
    param: str
    columns: tuple[str, ...]
    shape: tuple[int | None, ...]
    dtype: str = "float32"
    depth: int = 1
    classes: int | None = None
    one_hot: bool = False
    non_negative: bool = False
    class_axis: int = -1
    ignored: int | None = None

    @property
    def label(self) -> str:
        """Name of this tensor's columns in messages."""
        columns = ", ".join(repr(column) for column in self.columns)
        return f"{'column' if len(self.columns) == 1 else 'columns'} {columns} ({self.param})"

    @property
    def row_shape(self) -> tuple[int, ...]:
        """`shape`, once the data has told all of it."""
        return cast("tuple[int, ...]", self.shape)

    @property
    def tensor_shape(self) -> tuple[int, ...]:
        """Shape of one row of the finished tensor."""
        shape = self.row_shape
        if not self.one_hot or self.classes is None:
            return shape
        place = len(shape) + 1 + self.class_axis
        return (*shape[:place], self.classes, *shape[place:])
