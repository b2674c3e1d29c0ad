"""Keras models in Spark ML pipelines: trained on the executors, applied to DataFrames."""

from __future__ import annotations

import contextlib
import importlib
import sys
from typing import TYPE_CHECKING

from spark_keras import quiet
from spark_keras.version import __version__ as __version__

if TYPE_CHECKING:
    from spark_keras.analysis.analyzer import DataFrameAnalyzer
    from spark_keras.analysis.drift import DriftError, DriftWarning
    from spark_keras.analysis.model import DataFrameAnalysis
    from spark_keras.analysis.tensor_shapes import TensorAnalysis, TensorAnalyzer, printTensorSchema
    from spark_keras.early_stopping import EarlyStopping, EarlyStoppingModel, EarlyStoppingResult
    from spark_keras.estimator import KerasClassifier, KerasEstimator, KerasRegressor
    from spark_keras.evaluation.classification import ClassificationEvaluation
    from spark_keras.evaluation.multi_label import MultiLabelEvaluation
    from spark_keras.evaluation.regression import RegressionEvaluation
    from spark_keras.model import KerasClassificationModel, KerasModel, KerasRegressionModel, KerasTransformer
    from spark_keras.telemetry.summary import KerasTrainingSummary
    from spark_keras.telemetry.throughput import WorkerThroughput
    from spark_keras.training.workers.errors import WorkerError

quiet.settle()

__all__ = [
    "ClassificationEvaluation",
    "DataFrameAnalysis",
    "DataFrameAnalyzer",
    "DriftError",
    "DriftWarning",
    "EarlyStopping",
    "EarlyStoppingModel",
    "EarlyStoppingResult",
    "KerasClassificationModel",
    "KerasClassifier",
    "KerasEstimator",
    "KerasModel",
    "KerasRegressionModel",
    "KerasRegressor",
    "KerasTrainingSummary",
    "KerasTransformer",
    "MultiLabelEvaluation",
    "RegressionEvaluation",
    "TensorAnalysis",
    "TensorAnalyzer",
    "WorkerError",
    "WorkerThroughput",
    "printTensorSchema",
]

_EXPORTS = {
    "analysis.analyzer": ["DataFrameAnalyzer"],
    "analysis.drift": ["DriftError", "DriftWarning"],
    "analysis.model": ["DataFrameAnalysis"],
    "analysis.tensor_shapes": ["TensorAnalysis", "TensorAnalyzer", "printTensorSchema"],
    "early_stopping": ["EarlyStopping", "EarlyStoppingModel", "EarlyStoppingResult"],
    "estimator": ["KerasClassifier", "KerasEstimator", "KerasRegressor"],
    "evaluation.classification": ["ClassificationEvaluation"],
    "evaluation.multi_label": ["MultiLabelEvaluation"],
    "evaluation.regression": ["RegressionEvaluation"],
    "model": ["KerasClassificationModel", "KerasModel", "KerasRegressionModel", "KerasTransformer"],
    "telemetry.summary": ["KerasTrainingSummary"],
    "telemetry.throughput": ["WorkerThroughput"],
    "training.workers.errors": ["WorkerError"],
}
_MODULES = {name: module for module, names in _EXPORTS.items() for name in names}


if not TYPE_CHECKING:  # type checkers refuse names that do not exist

    def __getattr__(name: str) -> object:
        # Imported when first used: an executor must set thread counts and the backend before anything imports Keras.
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        module = f"spark_keras.{_MODULES[name]}"
        with contextlib.nullcontext() if module in sys.modules else quiet.loading():
            found = importlib.import_module(module)
        return getattr(found, name)


def __dir__() -> list[str]:
    return __all__
