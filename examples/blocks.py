"""Functions of numpy and keras.ops over blocks of rows: mapped, reduced, and aggregated by group.

What a function gives is found before any job runs: by calling it with symbolic tensors, or with small arrays of ones.

    python examples/blocks.py
"""

import argparse

import keras
import numpy as np
from pyspark.sql import SparkSession

from spark_keras.preparation import aggregate, mapBlocks, mapRows, reduceBlocks


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1000)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)
    spark = SparkSession.builder.master(arguments.master).appName("blocks").getOrCreate()
    points = spark.range(arguments.rows).selectExpr(
        "id",
        "id % 3 AS cluster",
        "array(cos(id), sin(id), id % 3) AS point",
        "transform(sequence(0L, id % 4), k -> sqrt(id + k)) AS history",
    )

    # A block of one column is an array (rows, 3): numpy computes all of its rows at once.
    largest = reduceBlocks(points, lambda point: np.max(point, axis=0))
    print(f"Largest coordinates: {np.round(largest, 3)}")

    # Parameters of the function are columns, keys of the dict are new ones. That the type of an array does not tell its
    # length matters here, because the function divides by three numbers.
    def scale(point):
        return {"scaled": point / largest, "length": np.linalg.norm(point, axis=1)}

    scaled = mapBlocks(points, scale, shapes={"point": (3,)})
    print(scaled.schema.simpleString())

    # With keras.ops the same function runs on each backend of Keras.
    softmax = mapBlocks(scaled, keras.ops.softmax, "probability", inputs=["scaled"])

    # Row by row, where rows have arrays of different lengths.
    described = mapRows(softmax, lambda history: {"mean": np.mean(history), "last": history[-1]})
    described.select("id", "scaled", "length", "probability", "mean", "last").orderBy("id").show(4)

    # All rows of a group at once: the point of the cluster that is closest to its centre.
    def medoid(id, point):
        distances = np.linalg.norm(point - point.mean(axis=0), axis=1)
        closest = np.lexsort([id, np.round(distances, 9)])[0]
        return {"size": len(id), "medoid": id[closest], "distance": distances[closest]}

    aggregate(points.groupBy("cluster"), medoid).orderBy("cluster").show()


if __name__ == "__main__":
    main()
