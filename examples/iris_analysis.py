"""What is in a DataFrame: statistics of its columns on the console, and as a page for the browser.

python examples/iris_analysis.py
python examples/iris_analysis.py --page iris.html
"""

import argparse
import os
import tempfile

from pyspark.sql import SparkSession
from sklearn.datasets import load_iris

from spark_keras import DataFrameAnalyzer

MEASURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def iris(spark):
    """150 flowers: four measurements in cm, and the species as a string."""
    bunch = load_iris(as_frame=True)
    flowers = bunch.data.set_axis(MEASURES, axis="columns")
    flowers["species"] = bunch.target_names[bunch.target].astype(object)
    return spark.createDataFrame(flowers)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--page", default=os.path.join(tempfile.gettempdir(), "iris_analysis.html"))
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("iris analysis").getOrCreate()
    analysis = DataFrameAnalyzer(correlationCols=MEASURES).fit(iris(spark))

    # One column.
    petal = analysis["petal_length"]
    print(
        f"petal_length: {petal.count} values from {petal.min} to {petal.max}, mean {petal.mean:.4f} ± {petal.stdev:.4f}"
    )
    print(f"its histogram: {petal.histogram.counts}")
    print(f"its quartiles: {[petal.quantiles[share] for share in (0.25, 0.5, 0.75)]}")
    print(f"species: {dict(analysis['species'].mostFrequent)}")

    # All columns: as pandas, as a Spark DataFrame, as JSON.
    print(analysis.toPandas()[["kind", "nulls", "min", "mean", "max", "stdev", "skewness"]].to_string())
    print(analysis.correlations.toPandas().round(3).to_string())

    # A page that needs no network.
    analysis.toHTML(arguments.page, title="Iris")
    print(f"The page is {arguments.page}")


if __name__ == "__main__":
    main()
