"""MLflow, the real one: a Keras callback logs the fit, and what was fitted is logged and loaded."""

from __future__ import annotations

import keras
import mlflow.keras
import mlflow.spark
import mlflow.tensorflow
import numpy as np
import pytest
from conftest import labelled_frame
from pyspark.ml import Pipeline
from pyspark.ml.feature import StandardScaler
from pyspark.ml.functions import array_to_vector

from spark_keras import KerasRegressor

pytestmark = pytest.mark.filterwarnings("ignore:MlflowCallback.on_test_end will not run:RuntimeWarning")


@pytest.fixture
def store(kind, spark, tmp_path, monkeypatch):
    """Where MLflow keeps runs: a database, or files, for which it wants to be asked."""
    monkeypatch.chdir(tmp_path)
    if kind == "file":
        monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
        mlflow.set_tracking_uri((tmp_path / "runs").as_uri())
    else:
        mlflow.set_tracking_uri(f"sqlite:///{tmp_path}/mlflow.db")
    mlflow.set_experiment("tests")
    yield tmp_path
    mlflow.set_tracking_uri(None)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind, callback", [("sqlite", mlflow.keras.MlflowCallback), ("file", mlflow.tensorflow.MlflowCallback)]
)
def test_fit_is_logged_and_its_pipeline_and_network_are_loaded_again(store, callback):
    random = np.random.default_rng(0)
    x = random.normal(size=(60, 3))
    df = labelled_frame(x, x.sum(axis=1)).withColumn("features", array_to_vector("features"))
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(1)])
    model.compile(keras.optimizers.SGD(0.05), "mse")
    regressor = KerasRegressor(
        model=model,
        featuresCol="scaled",
        epochs=3,
        batchSize=10,
        numWorkers=1,
        validationSplit=0.2,
        callbacks=[callback()],
        verbose=0,
    )
    folders = {"dfs_tmpdir": str(store / "dfs"), "pip_requirements": ["spark-keras"]}
    with mlflow.start_run() as run:
        fitted = Pipeline(stages=[StandardScaler(inputCol="features", outputCol="scaled"), regressor]).fit(df)
        pipeline = mlflow.spark.log_model(fitted, "pipeline", **folders)
        network = mlflow.keras.log_model(fitted.stages[-1].toKeras(), name="network", pip_requirements=["keras"])

    history = fitted.stages[-1].summary.history
    for name in ("loss", "val_loss"):
        points = mlflow.MlflowClient().get_metric_history(run.info.run_id, name)
        # A store of files has one point twice: once more, for the model that was logged.
        assert {point.step: point.value for point in points} == pytest.approx(dict(enumerate(history[name])))
    settings = mlflow.get_run(run.info.run_id).data.params
    rates = [float(value) for name, value in settings.items() if name.endswith("_learning_rate")]
    assert rates == [pytest.approx(0.05)]

    def predictions(stage):
        return {row.id: row.prediction for row in stage.transform(df).select("id", "prediction").collect()}

    expected = predictions(fitted)
    assert predictions(mlflow.spark.load_model(pipeline.model_uri, dfs_tmpdir=str(store / "read"))) == expected
    alone = mlflow.keras.load_model(network.model_uri).predict(x / x.std(axis=0, ddof=1), verbose=0).ravel()
    np.testing.assert_allclose(alone, [expected[number] for number in range(60)], atol=1e-5)
