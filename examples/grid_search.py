"""Search over the architecture and the learning rate with Spark's own tools.

`modelFn` builds the network from the keyword arguments in `modelParams`, and `modelParams` is a Param like any other:
ParamGridBuilder varies it. With `numWorkers=1` each network is trained by one task, and `parallelism=2` trains two
networks at a time.

    python examples/grid_search.py
"""

import argparse

import keras
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.ml.tuning import ParamGridBuilder, TrainValidationSplit
from pyspark.sql import SparkSession
from sklearn.datasets import load_breast_cancer

from spark_keras import KerasClassifier


def tumours(spark):
    """569 breast tumours: 30 measurements of their cells, label 1 for benign ones."""
    frame = load_breast_cancer(as_frame=True).frame.rename(columns={"target": "label"})
    return spark.createDataFrame(frame)


def build(units, learning_rate):
    model = keras.Sequential(
        [
            keras.Input((30,)),
            *[keras.layers.Dense(width, activation="relu") for width in units],
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(learning_rate), loss="binary_crossentropy")
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("grid search").getOrCreate()
    data = tumours(spark)
    train, test = data.randomSplit([0.8, 0.2], seed=1)

    # What does not depend on the network is fitted once, in front of the search.
    measurements = [name for name in data.columns if name != "label"]
    scaling = Pipeline(
        stages=[
            VectorAssembler(inputCols=measurements, outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="features", withMean=True),
        ]
    ).fit(train)
    train, test = (scaling.transform(part).select("features", "label").cache() for part in (train, test))

    classifier = KerasClassifier(modelFn=build, epochs=arguments.epochs, numWorkers=1, verbose=0)
    grid = (
        ParamGridBuilder()
        .addGrid(
            classifier.modelParams,
            [
                {"units": units, "learning_rate": learning_rate}
                for units in ([4], [32, 16])
                for learning_rate in (1e-4, 1e-2)
            ],
        )
        .build()
    )
    evaluator = BinaryClassificationEvaluator(metricName="areaUnderROC")
    search = TrainValidationSplit(
        estimator=classifier,
        estimatorParamMaps=grid,
        evaluator=evaluator,
        trainRatio=0.75,
        parallelism=2,
        seed=1,
    )
    found = search.fit(train)

    for point, auc in zip(grid, found.validationMetrics):
        print(f"{point[classifier.modelParams]}: validation AUC {auc:.4f}")
    # The best one was trained again, on all rows of `train`.
    best = found.bestModel
    print(best.summary)
    print(f"The best network has {best.toKeras().count_params()} parameters.")
    print(f"AUC on unseen tumours: {evaluator.evaluate(found.transform(test)):.4f}")


if __name__ == "__main__":
    main()
