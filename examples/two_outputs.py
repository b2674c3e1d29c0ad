"""Two outputs from one trunk: the species of an iris and the size of its petals, both from its sepals.

Each output has a loss of its own; the loss weights balance them. An output's column holds what the layer gives: the
probabilities of three species, the length and width of the petals in cm.

    python examples/two_outputs.py
"""

import argparse

import keras
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.datasets import load_iris

from spark_keras import KerasEstimator


def irises(spark):
    """Measurements in cm, and the species as a number from 0 to 2."""
    names = ["sepal_length", "sepal_width", "petal_length", "petal_width", "species"]
    flowers = spark.createDataFrame(load_iris(as_frame=True).frame.set_axis(names, axis="columns"))
    return flowers.select(
        "sepal_length", "sepal_width", "species", F.array("petal_length", "petal_width").alias("petal")
    )


def network():
    keras.utils.set_random_seed(1)
    sepals = keras.Input((2,), name="sepals")
    scaled = keras.layers.Normalization(mean=[5.8, 3.1], variance=[0.7, 0.2])(sepals)
    trunk = keras.layers.Dense(16, activation="relu")(scaled)
    trunk = keras.layers.Dense(16, activation="relu")(trunk)
    outputs = {
        "species": keras.layers.Dense(3, activation="softmax", name="species")(trunk),
        "petal": keras.layers.Dense(2, name="petal")(trunk),
    }
    model = keras.Model(sepals, outputs)
    model.compile(
        optimizer=keras.optimizers.Adam(0.01),
        loss={"species": "sparse_categorical_crossentropy", "petal": "mse"},
        loss_weights={"species": 1.0, "petal": 0.5},
        metrics={"species": "accuracy"},
    )
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("two outputs").getOrCreate()
    train, test = irises(spark).randomSplit([0.7, 0.3], seed=1)

    estimator = KerasEstimator(
        model=network(),
        featuresCols=["sepal_length", "sepal_width"],
        labelCols={"species": "species", "petal": "petal"},
        outputCols={"species": "species_probability", "petal": "petal_predicted"},
        epochs=arguments.epochs,
        batchSize=8,
        averagingFrequency=1,
    )
    fitted = estimator.fit(train)
    print(fitted.summary)

    predictions = fitted.transform(test)
    predictions.show(5, truncate=False)

    # The most probable species, and the mean error of the petals against always guessing their mean: in plain SQL.
    probable = F.expr("array_position(species_probability, array_max(species_probability)) - 1")
    length, width = train.agg(F.avg(F.col("petal")[0]), F.avg(F.col("petal")[1])).first()

    def error(length_guess, width_guess):
        return F.sqrt(F.avg((F.col("petal")[0] - length_guess) ** 2 + (F.col("petal")[1] - width_guess) ** 2))

    accuracy, rmse, baseline = predictions.agg(
        F.avg((probable == F.col("species")).cast("double")),
        error(F.col("petal_predicted")[0], F.col("petal_predicted")[1]),
        error(F.lit(length), F.lit(width)),
    ).first()
    print(f"Species, accuracy on unseen flowers: {accuracy:.4f}")
    print(f"Petals, RMSE on unseen flowers, always guessing the mean: {baseline:.4f}")
    print(f"Petals, RMSE on unseen flowers, the network: {rmse:.4f}")


if __name__ == "__main__":
    main()
