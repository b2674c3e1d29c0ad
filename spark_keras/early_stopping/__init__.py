"""Early stopping: an Estimator that wraps one, its conditions and what it tells of the stop."""

from spark_keras.early_stopping.conditions import (
    AllOf,
    AnyOf,
    Condition,
    MaxEpochs,
    MaxSeconds,
    NonFiniteScore,
    Progress,
    TargetScore,
    WorstScore,
)
from spark_keras.early_stopping.estimator import EarlyStopping, EarlyStoppingModel
from spark_keras.early_stopping.result import EarlyStoppingResult

__all__ = [
    "AllOf",
    "AnyOf",
    "Condition",
    "EarlyStopping",
    "EarlyStoppingModel",
    "EarlyStoppingResult",
    "MaxEpochs",
    "MaxSeconds",
    "NonFiniteScore",
    "Progress",
    "TargetScore",
    "WorstScore",
]
