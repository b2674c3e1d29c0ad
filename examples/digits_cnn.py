"""Images in an array column: a small convolutional network reads handwritten digits of 8 × 8 pixels.

The column holds 64 numbers, the network takes (8, 8, 1): rows of the right size are reshaped on the way in.

    python examples/digits_cnn.py
"""

import argparse

import keras
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.sql import SparkSession
from sklearn.datasets import load_digits

from spark_keras import KerasClassifier


def digits(spark, rows=None):
    """1797 digits as `pixels`, 64 numbers from 0 to 16, and `label`."""
    bunch = load_digits()
    images = [(pixels.tolist(), int(label)) for pixels, label in zip(bunch.data[:rows], bunch.target[:rows])]
    return spark.createDataFrame(images, "pixels array<float>, label int")


def network():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1)),
            keras.layers.Rescaling(1 / 16),
            keras.layers.Conv2D(16, 3, padding="same", activation="relu"),
            keras.layers.MaxPooling2D(),
            keras.layers.Conv2D(32, 3, padding="same", activation="relu"),
            keras.layers.Flatten(),
            keras.layers.Dropout(0.2),
            keras.layers.Dense(10, activation="softmax"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--rows", type=int, help="use so many digits only")
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("digits").getOrCreate()
    train, test = digits(spark, arguments.rows).randomSplit([0.8, 0.2], seed=1)

    # `probability` and `rawPrediction` are left out: an empty name asks for no column.
    classifier = KerasClassifier(
        model=network(), featuresCol="pixels", epochs=arguments.epochs, probabilityCol="", rawPredictionCol=""
    )
    fitted = classifier.fit(train)
    print(fitted.summary)

    # Loss and the compiled metrics, as keras.Model.evaluate gives them; and the same figure by Spark's evaluator.
    print("evaluate():", fitted.evaluate(test))
    predictions = fitted.transform(test)
    predictions.groupBy("label").pivot("prediction").count().na.fill(0).orderBy("label").show()
    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(predictions)
    print(f"Accuracy on {test.count()} digits that the network has not seen: {accuracy:.4f}")


if __name__ == "__main__":
    main()
