"""Gradient sharing as in Deeplearning4j: after each minibatch, workers share the largest changes of their weights.

What is left of a change waits on its worker for the next one. Beside it a fit that averages whole states: the bytes
that travel in both, and the accuracy on digits that neither has seen.

    python examples/gradient_sharing.py
"""

import argparse

import keras
from pyspark.sql import SparkSession
from sklearn.datasets import load_digits

from spark_keras import KerasClassifier

STATES = {"averagingFrequency": 10}
SHARING = {"averagingFrequency": 1, "optimizerState": "local", "combine": "sum", "compression": "threshold"}


def network():
    keras.utils.set_random_seed(1)
    layers = [keras.layers.Rescaling(1 / 16), keras.layers.Dense(64, "relu"), keras.layers.Dense(10, "softmax")]
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile(keras.optimizers.Adam(1e-3), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("gradient sharing").getOrCreate()
    bunch = load_digits()
    images = [(pixels.tolist(), int(label)) for pixels, label in zip(bunch.data, bunch.target)]
    digits = spark.createDataFrame(images, "features array<float>, label int")
    train, test = digits.randomSplit([0.8, 0.2], seed=1)

    for name, settings in (("whole states", STATES), ("shared changes", SHARING)):
        classifier = KerasClassifier(
            model=network(), epochs=arguments.epochs, numWorkers=2, probabilityCol="", rawPredictionCol="", **settings
        )
        classifier.explainPlan(train)
        fitted = classifier.fit(train)
        summary = fitted.summary
        print(f"{name}: {summary.roundBytes:,} bytes to each worker and back, in each of {summary.rounds} rounds")
        print(f"{name}: accuracy {fitted.evaluate(test)['accuracy']:.4f}")


if __name__ == "__main__":
    main()
