"""Fitted models and KerasTransformer: a Keras model applied to DataFrame columns."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from pyspark.ml import Model, Transformer
from pyspark.sql import DataFrame
from pyspark.sql.types import DataType, DoubleType

from spark_keras.columns import names as column_names
from spark_keras.columns import output_meaning
from spark_keras.columns.heads import ClassificationHead, RegressionHead
from spark_keras.evaluation import metrics as evaluation
from spark_keras.evaluation import of_model
from spark_keras.evaluation.classification import ClassificationEvaluation
from spark_keras.evaluation.multi_label import MultiLabelEvaluation
from spark_keras.evaluation.regression import RegressionEvaluation
from spark_keras.inference.stage import DOUBLES, Forward, OutputColumn, TensorOutputs, tensor_type
from spark_keras.keras_model import signature
from spark_keras.params import mixins
from spark_keras.params.constructors import KerasTransformerParams
from spark_keras.params.values import param_or_none
from spark_keras.reports.cards import listed
from spark_keras.telemetry.summary import KerasTrainingSummary


class KerasTransformer(KerasTransformerParams, Transformer, TensorOutputs):
    """Applies an existing Keras model to DataFrame columns; nothing is trained.

    Outputs are arrays with the model's shape, or vectors: one output goes into `predictionCol`, several into
    `outputCols`. With `outputLayer` the activations of an inner layer are given instead (feature extraction). The model
    need not be compiled.

    Raises:
        ValueError: on unknown columns, shapes that do not fit the model, or output columns already present.

    Example:
        >>> transformer = KerasTransformer(model=model, featuresCol="pixels", outputLayer="embedding")
        >>> transformer.transform(df).select("prediction")
    """

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return self._transform_tensors(dataset, param_or_none(self, "outputLayer"))


class _FittedModel(Model, Forward, mixins.HasLabels, mixins.HasOutputLabels):
    """Base of all fitted models."""

    _summary: KerasTrainingSummary | None = None
    # Whether labels are class indices, whatever the loss.
    _classifies = False
    # What a fit has learned beside the weights; JSON-serialisable, saved with the model.
    _fit_attributes: dict[str, Any] = {}  # noqa: RUF012 (replaced, never changed)

    def __init__(self, model: Any = None):
        super().__init__()
        self._setDefault(labelCols=[])
        self._set(model=model)

    def _learned(self) -> dict[str, Any]:
        labels = self._fit_attributes.get("labels")
        known = {"numClasses": self._fit_attributes.get("numClasses"), "labels": listed(labels) if labels else None}
        return {**known, **(self._summary._last if self._summary is not None else {})}

    def _parts(self) -> Iterator[str]:
        yield from super()._parts()
        if self._summary is not None:
            yield from self._summary._parts()

    @property
    def hasSummary(self) -> bool:
        """Tells whether a training summary is present."""
        return self._summary is not None

    @property
    def summary(self) -> KerasTrainingSummary:
        """The training summary."""
        if self._summary is None:
            raise RuntimeError(f"No training summary available for this {type(self).__name__}.")
        return self._summary

    def evaluate(self, dataset: DataFrame, metrics: Any = None) -> dict[str, Any]:
        """Loss and metrics over all rows of a DataFrame, as `keras.Model.evaluate(return_dict=True)`.

        One pass over the DataFrame's partitions, whatever is asked for. The states of the metrics are summed over the
        partitions, so the results are those of one process over all rows, and not a mean of results. Metrics of the
        user's own whose states do not add up are named in a warning, and all rows are evaluated in one task. A metric
        that is a mean over batches by definition (`PearsonCorrelation(axis=0)`) depends on `batchSize`, as in Keras.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set).
            metrics: Keras metrics beside the compiled ones, as for `keras.Model.compile`: a list, or for a model with
                several outputs {"output name": [...]}.

        Returns:
            {"loss": …, "accuracy": …}

        Raises:
            ValueError: on unknown columns, rows with null or NaN (unless `handleInvalid` says otherwise), no rows.
        """
        return evaluation.evaluate(dataset, self, self._classifies, metrics)

    def score(self, dataset: DataFrame, regularization: bool = True) -> float:
        """The mean loss over all rows.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set).
            regularization: with what the regularizers add, as the "loss" of `evaluate`; False leaves it out.
        """
        return evaluation.score(dataset, self, self._classifies, regularization)

    def scoreExamples(self, dataset: DataFrame, lossCol: str = "loss", regularization: bool = False) -> DataFrame:
        """The DataFrame with the loss of each row: what Keras gives for a batch of this row alone.

        Rows with null or NaN are refused, left out, or get null, as `handleInvalid` says.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set).
            lossCol: the new column, a double.
            regularization: adds to each row what the regularizers of the weights add to the loss.

        Raises:
            ValueError: for a model whose loss is no mean over rows: with a `compute_loss` or `test_step` of its own,
                or with activity regularizers.
        """
        return evaluation.score_examples(dataset, self, self._classifies, lossCol, regularization)


class KerasModel(_FittedModel, TensorOutputs):
    """A model fitted by `KerasEstimator`: any tensors in, arrays with the model's shape, or vectors, out."""

    def _transform(self, dataset: DataFrame) -> DataFrame:
        return self._transform_tensors(dataset)

    def evaluateClassification(
        self,
        dataset: DataFrame,
        output: str | None = None,
        curves: bool | None = None,
        bins: int = 10,
        maskCol: str | None = None,
        ignoreClass: Any = None,
        nonFinite: str = "error",
    ) -> ClassificationEvaluation:
        """A report on an output that gives a score for each class, of a row or of each step of a sequence.

        Its last activation, else its loss, tells whether scores are probabilities, logits or margins. The first class
        with the largest score counts as predicted; of one score, the second of two classes above 0.5.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set). Rows that have the output's column
                already are not scored again.
            output: its name, for a model with several.
            curves: whether to compute the curves of the classes; default: for at most 32 of them.
            bins: of probabilities, for the calibration.
            maskCol: 1 (or true) for rows or steps that count, 0 (or false) for those that do not.
            ignoreClass: a label, or labels, that do not count. Default: the loss's own `ignore_class`.
            nonFinite: "error" (default), or "wrong": as in `ClassificationEvaluation.of`.
        """
        found = of_model.of_output(dataset, self, output)
        return ClassificationEvaluation.of(
            found.rows,
            labelCol=found.label,
            predictionCol=None,
            probabilityCol=found.prediction,
            weightCol=found.weight,
            curves=curves,
            maskCol=maskCol,
            ignoreClass=found.ignored if ignoreClass is None else ignoreClass,
            nonFinite=nonFinite,
            oneHotLabels=found.one_hot,
            **found.scores(bins),
        )

    def evaluateMultiLabel(
        self,
        dataset: DataFrame,
        output: str | None = None,
        threshold: Any = None,
        labels: Any = None,
        curves: bool | None = None,
        bins: int = 10,
        maskCol: str | None = None,
        nonFinite: str = "error",
    ) -> MultiLabelEvaluation:
        """A report on an output that gives a score for each of several labels: F1 of each label and over all, Hamming
        loss, subset accuracy, curves.

        Args:
            dataset: as for `evaluateClassification`, with arrays or vectors of 0 and 1 as labels.
            output: its name, for a model with several.
            threshold: a label is predicted where its score is larger; one, or one for each label. Default 0.5; of
                margins 0.
            labels: names of the labels.
            curves: whether to compute the curves of the labels; default: for at most 32 of them.
            bins: of probabilities, for the calibration.
            maskCol: 1 (or true) for rows, steps or single labels that count, 0 (or false) for those that do not.
            nonFinite: "error" (default), or "wrong": a score that is NaN or infinite counts as wrong.
        """
        found = of_model.of_output(dataset, self, output)
        return MultiLabelEvaluation.of(
            found.rows,
            labelCol=found.label,
            predictionCol=found.prediction,
            weightCol=found.weight,
            threshold=threshold,
            labels=labels,
            curves=curves,
            maskCol=maskCol,
            nonFinite=nonFinite,
            **found.scores(bins),
        )

    def evaluateRegression(
        self, dataset: DataFrame, output: str | None = None, names: Any = None, maskCol: str | None = None
    ) -> RegressionEvaluation:
        """A report on an output that gives numbers: as `KerasRegressionModel.evaluateRegression`.

        Args:
            dataset: as for `evaluateClassification`.
            output: its name, for a model with several.
            names: of the numbers; default: label column and index.
            maskCol: 1 (or true) for rows, steps or numbers that count, 0 (or false) for those that do not.
        """
        found = of_model.of_output(dataset, self, output)
        return RegressionEvaluation.of(
            found.rows, found.label, found.prediction, weightCol=found.weight, names=names, maskCol=maskCol
        )


class KerasRegressionModel(_FittedModel):
    """A model fitted by `KerasRegressor`: `prediction` is a double, or an array of doubles for several outputs."""

    def _transform(self, dataset: DataFrame) -> DataFrame:
        prediction = self.getPredictionCol()
        if not prediction:
            return dataset
        inputs, outputs = self._outputs(dataset)
        signature.check_only_output(outputs)
        column_names.check_new(dataset, [("predictionCol", prediction)])
        scalar = outputs[0].shape in ((), (1,))
        number = DoubleType() if scalar else tensor_type(outputs[0]._replace(dtype="float64"))
        head, output = RegressionHead(scalar), OutputColumn(prediction, "prediction")
        return self._applied(dataset, inputs, head, {"prediction": number}, [output])

    def evaluateRegression(self, dataset: DataFrame) -> RegressionEvaluation:
        """A report on this model's predictions: squared, absolute and largest errors, bias, R², explained variance and
        correlation of each output.

        The model is applied once, and sums are made where its predictions are.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set). Rows that have the column
                `predictionCol` already are not scored again.

        Raises:
            ValueError: where `predictionCol` is "", or the DataFrame has no rows.
        """
        return RegressionEvaluation.of(
            of_model.scored(dataset, self, self.getPredictionCol()),
            labelCol=self.getLabelCol(),
            predictionCol=self.getPredictionCol(),
            weightCol=param_or_none(self, "weightCol"),
        )


class KerasClassificationModel(_FittedModel, mixins.HasClasses):
    """A model fitted by `KerasClassifier`: `prediction`, `probability` and `rawPrediction`.

    `rawPrediction` is what the model gives: probabilities, logits or margins, as Param `outputType`, its last
    activation or its loss says. A model with one output for two classes gives vectors for both. There is no
    `probability` of margins.
    """

    _classifies = True

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        return self._fit_attributes["numClasses"]

    @property
    def labels(self) -> list[str]:
        """The classes' names, if the label column came from a StringIndexer, else an empty list."""
        return self._fit_attributes.get("labels", [])

    def _transform(self, dataset: DataFrame) -> DataFrame:
        named = {name: self.getOrDefault(f"{name}Col") for name in ("rawPrediction", "probability", "prediction")}
        named = {name: column for name, column in named.items() if column}
        if not named:
            return dataset
        inputs, outputs = self._outputs(dataset)
        head = self._head(outputs)
        if head.kind == "margins" and named.pop("probability", None) and not named:
            return dataset
        column_names.check_new(dataset, [(f"{name}Col", column) for name, column in named.items()])
        classes = output_meaning.number_of_classes(outputs[0])
        # A raw prediction that is the probability travels once.
        same = head.raw_is_probability(outputs[0].shape[-1] or 0)
        source = {name: "probability" if name == "rawPrediction" and same else name for name in named}
        types: dict[str, DataType] = {
            name: DoubleType() if name == "prediction" else DOUBLES for name in dict.fromkeys(source.values())
        }
        head = head._replace(wanted=tuple(types))
        made = [
            OutputColumn(column, source[name], name != "prediction", self._attributes(name, column, classes))
            for name, column in named.items()
        ]
        return self._applied(dataset, inputs, head, types, made)

    def evaluateClassification(
        self, dataset: DataFrame, curves: bool | None = None, bins: int = 10, ignoreClass: Any = None
    ) -> ClassificationEvaluation:
        """A report on this model's predictions: accuracy, precision, recall, F1, top k, MCC, confusion matrix, figures
        of each class, ROC and precision-recall curves with their exact areas, calibration. Raw predictions take the
        place of probabilities where these are not written, as of margins, and have no calibration.

        The model is applied once; its predictions are counted where they are, and the driver receives the counts.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set). Rows that have the column
                `predictionCol` already are not scored again.
            curves: whether to compute the curves of the classes; default: for at most 32 of them.
            bins: of probabilities, for the calibration.
            ignoreClass: a label, or labels, whose rows do not count. Default: the loss's own `ignore_class`.

        Raises:
            ValueError: where `predictionCol` is "", or the DataFrame has no rows.
        """
        rows = of_model.scored(dataset, self, self.getPredictionCol())
        probability, raw = (
            name if name in rows.columns else "" for name in (self.getProbabilityCol(), self.getRawPredictionCol())
        )
        loss = signature.only_loss_of(self._driver_model(compile=True))
        return ClassificationEvaluation.of(
            rows,
            labelCol=self.getLabelCol(),
            predictionCol=self.getPredictionCol(),
            probabilityCol=probability,
            rawPredictionCol=raw,
            weightCol=param_or_none(self, "weightCol"),
            classes=self.labels if len(self.labels) == self.numClasses else None,
            curves=curves,
            bins=bins,
            ignoreClass=of_model.ignored_class(loss) if ignoreClass is None else ignoreClass,
        )

    def _head(self, outputs: Any) -> ClassificationHead:
        output_meaning.check_output(outputs)
        return output_meaning.head_of(self._driver_model(compile=True), self, outputs[0])

    def _attributes(self, name: str, column: str, classes: int) -> dict[str, Any]:
        """ML attributes, as Spark's own classifiers write them."""
        if name != "prediction":
            return {"ml_attr": {"num_attrs": classes}}
        if len(self.labels) == classes:
            return {"ml_attr": {"type": "nominal", "name": column, "vals": self.labels}}
        return {"ml_attr": {"type": "nominal", "name": column, "num_vals": classes}}
