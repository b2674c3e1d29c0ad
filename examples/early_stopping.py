"""When to stop: a network that would overfit is stopped by its validation loss, and by what wrong diagnoses cost.

Two trainings on 569 breast tumours, benign or malignant. The first watches a result of the training, as Keras' own
EarlyStopping does. The second watches a figure of its own that Spark computes over a DataFrame.

    python examples/early_stopping.py
"""

import argparse
import os
import tempfile

import keras
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.datasets import load_breast_cancer

from spark_keras import EarlyStopping, KerasClassifier
from spark_keras.early_stopping import Condition

# A malignant tumour that nobody treats is worse than a false alarm.
MISSED, FALSE_ALARM = 20, 1


def tumours(spark):
    bunch = load_breast_cancer(as_frame=True)
    names = [name.replace(" ", "_") for name in bunch.data]
    table = bunch.data.set_axis(names, axis=1).assign(malignant=(bunch.target == 0).astype(int))
    return spark.createDataFrame(table), names


def network():
    """Far too large for 569 rows."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((30,)),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(256, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), "binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")])
    return model


class Overfitted(Condition):
    """The newest score is far from the best one: waiting longer will not help."""

    def __init__(self, factor=1.5):
        self.factor = factor

    def check(self, progress):
        if progress.bestScore and progress.score > self.factor * progress.bestScore:
            return f"{progress.score:.3f} is more than {self.factor} times the best, {progress.bestScore:.3f}"

    def get_config(self):
        return {"factor": self.factor}


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("early stopping").getOrCreate()
    rows, names = tumours(spark)
    scaling = [
        VectorAssembler(inputCols=names, outputCol="measures"),
        StandardScaler(inputCol="measures", outputCol="features", withMean=True),
    ]
    train, test = Pipeline(stages=scaling).fit(rows).transform(rows).randomSplit([0.7, 0.3], seed=4)
    train, test = train.cache(), test.cache()
    classifier = KerasClassifier(model=network(), labelCol="malignant", validationSplit=0.25, verbose=0)

    stopping = EarlyStopping(
        estimator=classifier,
        monitor="val_loss",
        patience=6,
        maxEpochs=arguments.epochs,
        maxSeconds=120.0,
        conditions=[Overfitted()],
    )
    fitted = Pipeline(stages=[stopping]).fit(train)
    result = fitted.stages[-1].result
    print("By the validation loss:", result)
    for epoch, score in result.scores.items():
        print(f"  epoch {epoch:2d}: {score:.4f}{'  <- kept' if epoch == result.bestEpoch else ''}")

    def cost(model):
        """Spark jobs may run here: the workers of the training give up their slots meanwhile, for some seconds."""
        predicted = model.transform(test)
        missed = F.sum(F.when((F.col("malignant") == 1) & (F.col("prediction") == 0), MISSED).otherwise(0))
        alarms = F.sum(F.when((F.col("malignant") == 0) & (F.col("prediction") == 1), FALSE_ALARM).otherwise(0))
        return predicted.agg(missed + alarms).first()[0]

    by_cost = EarlyStopping(
        estimator=classifier, scoreFunction=cost, mode="min", evaluateEvery=2, maxEpochs=min(6, arguments.epochs)
    ).fit(train)
    print("By the cost of wrong diagnoses:", by_cost.result)

    with tempfile.TemporaryDirectory() as folder:
        fitted.write().overwrite().save(os.path.join(folder, "model"))
        loaded = PipelineModel.load(os.path.join(folder, "model"))
    print(f"Loaded again: {loaded.stages[-1].result.reason}, best epoch {loaded.stages[-1].result.bestEpoch}")
    right = loaded.transform(test).where("prediction = malignant").count()
    print(f"Right about {right / test.count():.3f} of the tumours that the network has not seen.")


if __name__ == "__main__":
    main()
