"""Features of an inner layer, for Spark's own learners: one Pipeline of a Keras network, LogisticRegression and KMeans.

    python examples/inner_features.py
    python examples/inner_features.py --epochs 40

A network learns to tell the digits 0 to 4. What its inner layer has found in them serves for the digits 5 to 9, which
it has never seen: a logistic regression learns them from a few labelled images, and clusters form without any label.
"""

import argparse
import tempfile

import keras
import numpy as np
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.classification import LogisticRegression
from pyspark.ml.clustering import KMeans
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.datasets import load_digits

from spark_keras import KerasTransformer


def trained_network(images, digits, epochs):
    """A backbone, and a layer on top of it that tells five digits."""
    keras.utils.set_random_seed(1)
    backbone = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Conv2D(16, 3, activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dense(32, activation="relu", name="embedding"),
            keras.layers.Dropout(0.3),
        ],
        name="backbone",
    )
    network = keras.Sequential([keras.Input((8, 8, 1)), backbone, keras.layers.Dense(5, activation="softmax")])
    network.compile(keras.optimizers.Adam(0.003), "sparse_categorical_crossentropy", metrics=["accuracy"])
    history = network.fit(images, digits, epochs=epochs, verbose=0).history
    print(f"The network tells 0 to 4 with accuracy {history['accuracy'][-1]:.3f}.")
    return network


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("features of an inner layer").getOrCreate()
    images, digits = load_digits(return_X_y=True)
    images = (images / 16).astype("float32").reshape(-1, 8, 8, 1)
    seen = digits < 5
    network = trained_network(images[seen], digits[seen], arguments.epochs)

    rows = [(image.ravel().tolist(), int(digit) - 5) for image, digit in zip(images[~seen], digits[~seen])]
    others = spark.createDataFrame(rows, "pixels array<float>, label int").coalesce(1)
    few, rest = others.randomSplit([0.15, 0.85], seed=2)

    # `outputLayer` names a layer inside the nested model by its path. A vector is what every stage of Spark ML reads;
    # KMeans and others also take the arrays that a KerasTransformer writes by default.
    pipeline = Pipeline(
        stages=[
            KerasTransformer(
                model=network,
                featuresCol="pixels",
                outputLayer="backbone/embedding",
                outputFormat="vector",
                predictionCol="features",
            ),
            LogisticRegression(featuresCol="features", labelCol="label", regParam=0.01, maxIter=30),
            KMeans(featuresCol="features", predictionCol="cluster", k=5, seed=1),
        ]
    )
    fitted = pipeline.fit(few)
    with tempfile.TemporaryDirectory() as folder:
        fitted.write().overwrite().save(f"{folder}/digits")
        loaded = PipelineModel.load(f"{folder}/digits")

    scored = loaded.transform(rest).select("label", "prediction", "cluster").cache()
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(scored)
    print(f"Accuracy on {scored.count()} images of 5 to 9, learned from {few.count()} of them: {accuracy:.3f}")
    sizes = scored.groupBy("cluster", "label").count().groupBy("cluster").agg(F.max("count").alias("most"))
    purity = sizes.agg(F.sum("most")).first()[0] / scored.count()
    print(f"Share of the images whose cluster is that of their digit: {purity:.3f}")
    chance = np.bincount(digits[~seen]).max() / np.count_nonzero(~seen)
    print(f"The most frequent digit has {chance:.3f}.")


if __name__ == "__main__":
    main()
