"""A Spark ML Pipeline that ends in a Keras classifier: strings to labels, scaled features, evaluation, save and reload.

    python examples/iris_pipeline.py
    python examples/iris_pipeline.py --epochs 100 --master "local[4]"

The network is 4-3-3-3 and has 39 parameters.
"""

import argparse
import tempfile

import keras
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import IndexToString, StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql import functions as F
from sklearn.datasets import load_iris

from spark_keras import KerasClassifier

FEATURES = ["sepal_length", "sepal_width", "petal_length", "petal_width"]


def iris(spark):
    """150 flowers: four measurements in cm, and the species as a string."""
    bunch = load_iris(as_frame=True)
    flowers = bunch.data.set_axis(FEATURES, axis="columns")
    flowers["species"] = bunch.target_names[bunch.target].astype(object)
    return spark.createDataFrame(flowers)


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("iris").getOrCreate()
    train, test = iris(spark).randomSplit([0.7, 0.3], seed=1)

    # The network: 4-3-3-3.
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((len(FEATURES),)),
            keras.layers.Dense(3, activation="tanh"),
            keras.layers.Dense(3, activation="tanh"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(0.02), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    print(f"The network has {model.count_params()} parameters.")

    # The pipeline: every stage but the last is Spark's own.
    pipeline = Pipeline(
        stages=[
            StringIndexer(inputCol="species", outputCol="label", stringOrderType="alphabetAsc"),
            VectorAssembler(inputCols=FEATURES, outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="features", withMean=True),
            KerasClassifier(model=model, epochs=arguments.epochs, batchSize=8, averagingFrequency=1),
        ]
    )
    fitted = pipeline.fit(train)
    print(fitted.stages[-1].summary)

    # A fitted pipeline is saved and loaded as a whole; the path may be on any file system that Spark reaches.
    with tempfile.TemporaryDirectory() as folder:
        fitted.write().overwrite().save(f"{folder}/iris")
        loaded = PipelineModel.load(f"{folder}/iris")

    predictions = loaded.transform(test)
    # The prediction is the index of a class; the names travelled with the label column.
    named = IndexToString(inputCol="prediction", outputCol="predicted_species").transform(predictions)
    named.orderBy(F.rand(seed=1)).select("species", "predicted_species", "probability").show(5, truncate=False)

    accuracy = MulticlassClassificationEvaluator(metricName="accuracy").evaluate(predictions)
    print(f"Accuracy on {test.count()} flowers that the network has not seen: {accuracy:.4f}")


if __name__ == "__main__":
    main()
