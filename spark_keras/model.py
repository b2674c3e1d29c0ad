"""Fitted models and KerasTransformer: a Keras model applied to DataFrame columns."""

from __future__ import annotations

import functools
from typing import Any

import keras
from pyspark import keyword_only
from pyspark.ml import Model, Transformer
from pyspark.sql import functions as F

from spark_keras import cluster, columns, converters, params, signature, tensors
from spark_keras.archive import KerasArchive
from spark_keras.arrow_function import arrow_function
from spark_keras.evaluation import losses
from spark_keras.evaluation import metrics as evaluation
from spark_keras.evaluation.classification import ClassificationEvaluation
from spark_keras.evaluation.regression import RegressionEvaluation
from spark_keras.executor import ProcessSettings, RecentlyUsed
from spark_keras.inference import forward
from spark_keras.persistence import KerasReadable, KerasWritable
from spark_keras.signature import Tensor
from spark_keras.training.summary import KerasTrainingSummary

# Archives up to this size travel in the closure; a broadcast costs a job's worth of set-up.
_INLINE_BYTES = 2**20

_driver_models = RecentlyUsed(4)


class _Forward(
    params.HasModel,
    params.HasInputs,
    params.HasInferenceBatchSize,
    params.FeaturesParams,
    params.InvalidParams,
    KerasWritable,
    KerasReadable,
):
    """What all stages share that apply a model."""

    def _defaults(self) -> None:
        self._setDefault(featuresCol="features", batchSize=1024, handleInvalid="error", customObjects={})

    def toKeras(self) -> keras.Model:
        """A new Keras model, compiled if it was, on this machine."""
        return self._archive().load(self.getCustomObjects())

    def _archive(self) -> KerasArchive:
        if not self.isSet("model"):
            raise ValueError("Param `model` is not set. Expected: a Keras model.")
        return self.getOrDefault("model")

    def _driver_model(self, compile: bool = False) -> keras.Model:
        """A model for looking at its inputs and outputs; never called with data, so that it can be shared."""
        archive = self._archive()
        objects = self.getCustomObjects()
        key = (archive.digest, archive.trusted, compile, *sorted((name, id(value)) for name, value in objects.items()))
        return _driver_models.get(key, lambda: archive.load(objects, compile=compile))

    def _outputs(self, dataset: Any, layer: str | None = None) -> tuple[Any, tuple[Tensor, ...]]:
        """(input tensors with their columns and shapes, the model's output tensors), checked against the DataFrame."""
        model = forward.with_output_layer(self._driver_model(), layer)
        inputs = tensors.require_model_inputs(dataset, self, model)
        wanted = signature.inputs_of(model)
        # transform() is lazy, and a stream has no first row: one is looked at only where the model leaves a shape open.
        look_up = [wanted is None or None in wanted[index].shape for index in range(len(inputs))]
        inputs = tensors.settle_inputs(model, inputs, tensors.found_shapes(dataset, inputs, look_up))
        outputs, _ = signature.outputs_of(model, tensors.symbolic_inputs(model, inputs))
        return inputs, outputs

    def _applied(
        self, dataset: Any, inputs: Any, head: Any, fields: dict[str, str], layer: str | None = None
    ) -> tuple[Any, dict[str, Any], str]:
        """The model's results in one additional column.

        Args:
            head: gives the fields.
            fields: their Spark types, by name.
        Returns:
            the DataFrame, a Column for each field, and the name of the additional column.
        """
        spark = cluster.session_of(dataset)
        archive = self._archive()
        task = forward.ForwardTask(
            settings=ProcessSettings.of_driver(cluster.task_cpus(spark), self.getCustomObjects()),
            archive=self._travelling(spark, archive),
            digest=archive.digest,
            safe_mode=not archive.trusted,
            inputs=inputs,
            output_layer=layer,
            batch_size=self.getBatchSize(),
            invalid=self.getHandleInvalid(),
            head=head,
        )
        expressions = [columns.expression(dataset, tensor) for tensor in inputs]
        wire_types = [field.dataType.simpleString() for field in dataset.select(*expressions).schema]
        one = len(fields) == 1
        types = ",".join(kind if one else f"{name}:{kind}" for name, kind in fields.items())
        function = arrow_function(
            functools.partial(forward.predict, task), types if one else f"struct<{types}>", wire_types
        )
        # Else Spark would push a filter on an output below the projection and run the model twice.
        function = function.asNondeterministic()
        name = f"_{self.uid}"
        applied = dataset.withColumn(name, function(*expressions))
        if self.getHandleInvalid() == "skip":
            applied = applied.where(F.col(f"`{name}`").isNotNull())
        result = F.col(f"`{name}`")
        return applied, {field: result if one else result[field] for field in fields}, name

    def _travelling(self, spark: Any, archive: KerasArchive) -> Any:
        """The archive's bytes, or a broadcast of them."""
        if archive.size <= _INLINE_BYTES:
            return archive.data
        key = (spark.sparkContext.applicationId, archive.digest)
        held = getattr(self, "_held_broadcast", None)
        if held is None or held[0] != key:
            held = self._held_broadcast = (key, cluster.broadcast(spark, archive.data))
        return held[1]


def _sql_type(tensor: Tensor) -> str:
    number = "bigint" if "int" in tensor.dtype else "double" if tensor.dtype == "float64" else "float"
    return "array<" * len(tensor.shape) + number + ">" * len(tensor.shape)


class _TensorOutputs(_Forward, params.HasOutputs, params.PredictionParams):
    """Output columns as arrays with the model's shape."""

    def _output_columns(self, outputs: tuple[Tensor, ...]) -> list[str | None]:
        """A column for each output, None for one that is left out."""
        named = tensors.set_value(self, "outputCols")
        names = [output.name for output in outputs]
        prediction = self.getPredictionCol()
        if named is None:
            if len(outputs) == 1:
                return [prediction or None]
            return [f"{prediction}_{name}" if prediction else None for name in names]
        if isinstance(named, dict):
            unknown = sorted(set(named) - set(names))
            if unknown:
                raise ValueError(
                    f"Wrong outputs in Param `outputCols`. Received: {named!r}. "
                    f"Expected: names among the model's outputs {names}."
                )
            return [named.get(name) or None for name in names]
        if len(named) != len(names):
            raise ValueError(
                f"Wrong number of columns in Param `outputCols`. Received: {named!r}. "
                f"Expected: {len(names)}, one for each of the model's outputs {names}."
            )
        return [column or None for column in named]

    def _transform_tensors(self, dataset: Any, layer: str | None = None) -> Any:
        inputs, outputs = self._outputs(dataset, layer)
        names = self._output_columns(outputs)
        param = "predictionCol" if tensors.set_value(self, "outputCols") is None else "outputCols"
        for name in names:
            if name:
                columns.check_new_column(dataset, param, name)
        if not any(names):
            return dataset
        fields = tuple(f"f{index}" if name else None for index, name in enumerate(names))
        types = {field: _sql_type(output) for field, output in zip(fields, outputs) if field}
        applied, results, whole = self._applied(dataset, inputs, forward.TensorHead(fields), types, layer)
        wanted = [results[field].alias(name) for field, name in zip(fields, names) if field and name]
        return applied.select("*", *wanted).drop(whole)


class KerasTransformer(Transformer, _TensorOutputs):
    """Applies an existing Keras model to DataFrame columns; nothing is trained.

    Outputs are arrays with the model's shape: one output goes into `predictionCol`, several into `outputCols`. With
    `outputLayer` the activations of an inner layer are given instead (feature extraction).

    Args:
        model: a keras.Model (it need not be compiled), or the path or bytes of a `.keras` archive.
        featuresCol: column of a model with one input: vector, (nested) array or number. Default "features".
        featuresCols: scalar columns instead of featuresCol.
        inputCols: {"input name": "column"} for a model with several inputs.
        predictionCol: column for the only output, default "prediction". "" leaves it out.
        outputCols: {"output name": "column"} for a model with several outputs.
        outputLayer: name of an inner layer.
        batchSize: rows in one forward pass, default 1024.
        handleInvalid: "error" (default), "skip" or "keep" rows with null or NaN.
        customObjects: custom classes and functions by name.

    Raises:
        ValueError: on unknown columns, shapes that do not fit the model, or output columns already present.

    Example:
        >>> transformer = KerasTransformer(model=model, featuresCol="pixels", outputLayer="embedding")
        >>> transformer.transform(df).select("prediction")
    """

    outputLayer = params.Param(
        params.Params._dummy(),
        "outputLayer",
        "name of an inner layer whose activations are given instead of the model's outputs",
        params.TypeConverters.toString,
    )

    @keyword_only
    def __init__(
        self,
        *,
        model: Any = None,
        featuresCol: str = "features",
        featuresCols: list[str] | None = None,
        inputCols: dict[str, str] | list[str] | None = None,
        predictionCol: str = "prediction",
        outputCols: dict[str, str] | list[str] | None = None,
        outputLayer: str | None = None,
        batchSize: int = 1024,
        handleInvalid: str = "error",
        customObjects: dict[str, Any] | None = None,
    ):
        super().__init__()
        self._defaults()
        self._setDefault(predictionCol="prediction")
        self._set(**self._input_kwargs)

    def getOutputLayer(self) -> str:
        """Value of `outputLayer`."""
        return self.getOrDefault(self.outputLayer)

    def setOutputLayer(self, value: str) -> KerasTransformer:
        """Sets `outputLayer`."""
        return self._set(outputLayer=value)

    def _transform(self, dataset: Any) -> Any:
        return self._transform_tensors(dataset, tensors.set_value(self, "outputLayer"))


class _FittedModel(Model, _Forward, params.LabelParams, params.HasLabels):
    """What all fitted models share."""

    _summary: KerasTrainingSummary | None = None
    # Whether labels are class indices, whatever the loss.
    _classifies = False
    # What a fit has learned beside the weights; JSON-serialisable, saved with the model.
    _fit_attributes: dict[str, Any] = {}

    @property
    def hasSummary(self) -> bool:
        """Whether a training summary is present."""
        return self._summary is not None

    @property
    def summary(self) -> KerasTrainingSummary:
        """The training summary."""
        if self._summary is None:
            raise RuntimeError(f"No training summary available for this {type(self).__name__}.")
        return self._summary

    def evaluate(self, dataset: Any, metrics: Any = None) -> dict[str, Any]:
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

    def score(self, dataset: Any, regularization: bool = True) -> float:
        """The mean loss over all rows.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set).
            regularization: with what the regularizers add, as the "loss" of `evaluate`; False leaves it out.
        """
        return losses.score(dataset, self, self._classifies, regularization)

    def scoreExamples(self, dataset: Any, lossCol: str = "loss", regularization: bool = False) -> Any:
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
        return losses.score_examples(dataset, self, self._classifies, lossCol, regularization)


class KerasModel(_FittedModel, _TensorOutputs):
    """A model fitted by `KerasEstimator`: any tensors in, arrays with the model's shape out."""

    def __init__(self, model: Any = None):
        super().__init__()
        self._defaults()
        self._setDefault(predictionCol="prediction", labelCol="label", labelCols=[])
        self._set(model=model)

    def _transform(self, dataset: Any) -> Any:
        return self._transform_tensors(dataset)


class KerasRegressionModel(_FittedModel, params.PredictionParams):
    """A model fitted by `KerasRegressor`: `prediction` is a double, or an array of doubles for several outputs."""

    def __init__(self, model: Any = None):
        super().__init__()
        self._defaults()
        self._setDefault(predictionCol="prediction", labelCol="label", labelCols=[])
        self._set(model=model)

    def _transform(self, dataset: Any) -> Any:
        prediction = self.getPredictionCol()
        if not prediction:
            return dataset
        inputs, outputs = self._outputs(dataset)
        columns.check_new_column(dataset, "predictionCol", prediction)
        scalar = outputs[0].shape in ((), (1,))
        number = "double" if scalar else _sql_type(outputs[0]._replace(dtype="float64"))
        applied, results, whole = self._applied(dataset, inputs, forward.RegressionHead(scalar), {"prediction": number})
        return applied.select("*", results["prediction"].alias(prediction)).drop(whole)

    def evaluateRegression(self, dataset: Any) -> RegressionEvaluation:
        """A report on this model's predictions: squared, absolute and largest errors, bias, R², explained variance and
        correlation of each output.

        The model is applied once; Spark sums over its predictions.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set).
        Raises:
            ValueError: where `predictionCol` is "", or the DataFrame has no rows.
        """
        return RegressionEvaluation.of(
            self.transform(dataset),
            labelCol=self.getLabelCol(),
            predictionCol=self.getPredictionCol(),
            weightCol=tensors.set_value(self, "weightCol"),
        )


class KerasClassificationModel(_FittedModel, params.PredictionParams, params.ClassificationParams):
    """A model fitted by `KerasClassifier`: `prediction`, `probability` and `rawPrediction`.

    `rawPrediction` is what the model gives: logits if its loss has `from_logits=True`, else the probabilities. A model
    with one sigmoid output gives vectors for two classes.
    """

    _classifies = True

    def __init__(self, model: Any = None):
        super().__init__()
        self._defaults()
        self._setDefault(
            predictionCol="prediction",
            labelCol="label",
            labelCols=[],
            probabilityCol="probability",
            rawPredictionCol="rawPrediction",
        )
        self._set(model=model)

    @property
    def numClasses(self) -> int:
        """Number of classes."""
        return self._fit_attributes["numClasses"]

    @property
    def labels(self) -> list[str]:
        """The classes' names, if the label column came from a StringIndexer, else an empty list."""
        return self._fit_attributes.get("labels", [])

    def _transform(self, dataset: Any) -> Any:
        from pyspark.ml.functions import array_to_vector

        named = {name: self.getOrDefault(f"{name}Col") for name in ("rawPrediction", "probability", "prediction")}
        named = {name: column for name, column in named.items() if column}
        if not named:
            return dataset
        inputs, outputs = self._outputs(dataset)
        for name, column in named.items():
            columns.check_new_column(dataset, f"{name}Col", column)
        classes = max(2, outputs[0].shape[-1])
        thresholds = tensors.set_value(self, "thresholds")
        converters.check_thresholds(thresholds, classes)
        logits = self._logits()
        # Without logits the raw prediction is the probability, and travels once.
        source = {name: "probability" if name == "rawPrediction" and not logits else name for name in named}
        types = {name: "double" if name == "prediction" else "array<double>" for name in dict.fromkeys(source.values())}
        head = forward.ClassificationHead(tuple(types), logits, tuple(thresholds) if thresholds else None)
        applied, results, whole = self._applied(dataset, inputs, head, types)
        made = []
        for name, column in named.items():
            value = results[source[name]]
            if name != "prediction":
                value = F.when(value.isNotNull(), array_to_vector(value))
            made.append(value.alias(column, metadata=self._attributes(name, column, classes)))
        return applied.select("*", *made).drop(whole)

    def evaluateClassification(
        self, dataset: Any, curves: bool | None = None, bins: int = 10
    ) -> ClassificationEvaluation:
        """A report on this model's predictions: accuracy, precision, recall, F1, top k, MCC, confusion matrix, figures
        of each class, ROC and precision-recall curves with their exact areas, calibration.

        The model is applied once; Spark counts its predictions, and the driver receives the counts.

        Args:
            dataset: with the features and label columns (and `weightCol`, if set).
            curves: whether to compute the curves of the classes; default: for at most 32 of them.
            bins: of probabilities, for the calibration.
        Raises:
            ValueError: where `predictionCol` or `probabilityCol` is "", or the DataFrame has no rows.
        """
        names = {name: self.getOrDefault(name) for name in ("labelCol", "predictionCol", "probabilityCol")}
        return ClassificationEvaluation.of(
            self.transform(dataset),
            **names,
            weightCol=tensors.set_value(self, "weightCol"),
            classes=self.labels if len(self.labels) == self.numClasses else None,
            curves=curves,
            bins=bins,
        )

    def _logits(self) -> bool:
        return signature.from_logits(signature.only_loss_of(self._driver_model(compile=True)))

    def _attributes(self, name: str, column: str, classes: int) -> dict[str, Any]:
        """ML attributes, as Spark's own classifiers write them."""
        if name != "prediction":
            return {"ml_attr": {"num_attrs": classes}}
        if len(self.labels) == classes:
            return {"ml_attr": {"type": "nominal", "name": column, "vals": self.labels}}
        return {"ml_attr": {"type": "nominal", "name": column, "num_vals": classes}}
