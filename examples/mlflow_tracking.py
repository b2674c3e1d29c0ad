"""A fit in MLflow: its settings, its curves, the page of its training, and its pipeline, which is loaded again.

Needs mlflow, or only what is used of it here: pip install mlflow-skinny sqlalchemy alembic

python examples/mlflow_tracking.py --store tracking
mlflow ui --backend-store-uri sqlite:///tracking/mlflow.db    # to look at it; needs mlflow itself
"""

import argparse
import os
import pathlib
import tempfile
import warnings

import keras
import mlflow.keras
import mlflow.spark
import numpy as np
from pyspark.ml import Pipeline
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import SparkSession
from sklearn.datasets import load_wine

from spark_keras import KerasClassifier

# What is needed to apply a logged model; else MLflow loads it in a process of its own to find that out.
REQUIREMENTS = ["spark-keras[local]"]


def network():
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.Input((13,)),
            keras.layers.Dense(16, activation="relu"),
            keras.layers.Dense(3, activation="softmax"),
        ]
    )
    model.compile(keras.optimizers.Adam(0.01), "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--store", help="folder of runs and models; default: a temporary one, removed at the end")
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("tracking").getOrCreate()
    bunch = load_wine(as_frame=True)
    names = [f"c{number}" for number in range(13)]
    wines = spark.createDataFrame(bunch.data.set_axis(names, axis="columns").assign(label=bunch.target))

    with tempfile.TemporaryDirectory() as temporary:
        store = pathlib.Path(arguments.store or temporary).resolve()
        store.mkdir(parents=True, exist_ok=True)
        mlflow.set_tracking_uri(f"sqlite:///{store}/mlflow.db")
        if mlflow.get_experiment_by_name("wines") is None:
            mlflow.create_experiment("wines", artifact_location=(store / "artifacts").as_uri())
        mlflow.set_experiment("wines")

        # A Keras callback, it runs on the driver. The hook that it has for evaluations never runs, because the workers
        # evaluate here; their results are among those of the epoch, which it logs.
        warnings.filterwarnings("ignore", r"MlflowCallback\.on_test_end will not run", RuntimeWarning)
        classifier = KerasClassifier(
            model=network(),
            epochs=arguments.epochs,
            batchSize=8,
            validationSplit=0.2,
            callbacks=[mlflow.keras.MlflowCallback()],
            verbose=0,
        )
        pipeline = Pipeline(
            stages=[
                VectorAssembler(inputCols=names, outputCol="measures"),
                StandardScaler(inputCol="measures", outputCol="features", withMean=True),
                classifier,
            ]
        )
        with mlflow.start_run() as run:
            mlflow.log_params({"epochs": classifier.getEpochs(), "batchSize": classifier.getBatchSize()})
            fitted = pipeline.fit(wines)
            summary = fitted.stages[-1].summary
            mlflow.log_text(summary.toHTML(), "training.html")
            logged = mlflow.spark.log_model(
                fitted, "pipeline", dfs_tmpdir=os.path.join(temporary, "write"), pip_requirements=REQUIREMENTS
            )
            # The network alone, for those who have no Spark.
            alone = mlflow.keras.log_model(fitted.stages[-1].toKeras(), name="network", pip_requirements=["keras"])

        found = mlflow.get_run(run.info.run_id).data
        print(f"{len(found.params)} parameters, among them epochs {found.params['epochs']}")
        print("metrics:", {name: round(value, 4) for name, value in sorted(found.metrics.items())})
        curve = mlflow.MlflowClient().get_metric_history(run.info.run_id, "val_accuracy")
        print(f"val_accuracy has {len(curve)} points.")

        loaded = mlflow.spark.load_model(logged.model_uri, dfs_tmpdir=os.path.join(temporary, "read"))
        predictions = loaded.transform(wines).cache()
        right = predictions.where("prediction = label").count()
        print(f"The pipeline, loaded again, is right about {right / predictions.count():.3f} of the wines.")

        rows = predictions.select("features", "probability").collect()
        network_alone = mlflow.keras.load_model(alone.model_uri)
        given = network_alone.predict(np.array([row.features.toArray() for row in rows]), verbose=0)
        furthest = np.abs(given - np.array([row.probability.toArray() for row in rows])).max()
        print(f"The network alone gives the same probabilities: {furthest < 1e-5}")


if __name__ == "__main__":
    main()
