"""A job for spark-submit: trains a classifier on a table in parquet and saves the fitted pipeline.

All numeric columns but the label are features; the label may be a string or a number.

On this machine, to try it (`spark-submit` comes with `pip install pyspark`):

    spark-submit --master "local[2]" examples/spark_submit_job.py \\
        --input flowers.parquet --output flowers_model --label species --epochs 20

How to submit it
----------------
The driver and the executors need the same Python with spark_keras, a Keras backend and what these need. Where that is
not installed on all machines, pack it once, on a machine with the cluster's operating system and CPU:

    python3.11 -m venv environment && . environment/bin/activate
    pip install spark-keras tensorflow venv-pack && venv-pack -o environment.tar.gz

The archive holds the packages, not the interpreter: the same Python 3.11 must be in the same place on all machines.
(conda-pack makes archives that have it inside.)

Standalone (the driver runs where the command is given; executors unpack the archive):

    export PYSPARK_DRIVER_PYTHON=python PYSPARK_PYTHON=./environment/bin/python
    spark-submit --master spark://HOST:7077 --deploy-mode client \\
        --archives environment.tar.gz#environment \\
        --total-executor-cores 16 --executor-cores 4 --executor-memory 4g \\
        --conf spark.task.cpus=4 --conf spark.executor.instances=4 \\
        spark_submit_job.py --input hdfs:///data/flowers --output hdfs:///models/flowers --label species

YARN (the driver runs on the cluster, too):

    spark-submit --master yarn --deploy-mode cluster \\
        --archives environment.tar.gz#environment \\
        --conf spark.yarn.appMasterEnv.PYSPARK_PYTHON=./environment/bin/python \\
        --conf spark.executorEnv.PYSPARK_PYTHON=./environment/bin/python \\
        --num-executors 4 --executor-cores 4 --executor-memory 2g \\
        --conf spark.executor.memoryOverhead=6g --conf spark.task.cpus=4 \\
        spark_submit_job.py --input hdfs:///data/flowers --output hdfs:///models/flowers --label species

Kubernetes (IMAGE is a Spark image with Python in which the packages above are installed and this file was copied to
/opt/job; the service account may create pods):

    spark-submit --master k8s://https://API_SERVER:6443 --deploy-mode cluster --name flowers \\
        --conf spark.kubernetes.container.image=IMAGE \\
        --conf spark.kubernetes.namespace=NAMESPACE \\
        --conf spark.kubernetes.authenticate.driver.serviceAccountName=spark \\
        --conf spark.executor.instances=4 --conf spark.executor.cores=4 --conf spark.task.cpus=4 \\
        --conf spark.executor.memory=2g --conf spark.executor.memoryOverhead=6g \\
        local:///opt/job/spark_submit_job.py \\
        --input s3a://BUCKET/data/flowers --output s3a://BUCKET/models/flowers --label species

`spark.task.cpus=4` gives each worker four threads and an executor one worker. The workers connect to the driver: where
a firewall is between them, fix the port with `--conf spark.keras.driver.port=40000` and open it. Models and rows live
in the Python workers, outside the JVM's heap: that is what `memoryOverhead` is for. More in docs/cluster.md.

Databricks: use classic compute in the access mode "Dedicated" (`spark.sparkContext` is needed, which serverless and
"Standard" compute do not offer). Add the libraries `spark-keras` and `tensorflow` to the cluster (with an ML runtime,
TensorFlow is there). Make a job with a task of type "Python script" that points to this file, with the parameters

    ["--input", "/Volumes/main/default/data/flowers", "--output", "/Volumes/main/default/models/flowers",
     "--label", "species"]

The session is there already: `getOrCreate()` takes it, and the script must not stop it (it does not).
"""

import argparse

import keras
from pyspark.ml import Pipeline
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StandardScaler, StringIndexer, VectorAssembler
from pyspark.sql import SparkSession
from pyspark.sql.types import NumericType

from spark_keras import KerasClassifier


def network(classes):
    """A plain MLP; how many features it gets, it sees from the first rows."""
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [
            keras.layers.Dense(64, activation="relu"),
            keras.layers.Dense(32, activation="relu"),
            keras.layers.Dense(classes, activation="softmax"),
        ]
    )
    model.compile(optimizer=keras.optimizers.Adam(3e-3), loss="sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", required=True, help="parquet files, on any file system that Spark reaches")
    parser.add_argument("--output", required=True, help="where the fitted pipeline goes; replaced if present")
    parser.add_argument("--label", default="label", help="column to predict")
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--batch-size", type=int, default=32, help="rows per minibatch and worker")
    parser.add_argument("--workers", type=int, help="default: as many as the executors have slots for")
    arguments = parser.parse_args(argv)

    # No master here: spark-submit brings it.
    spark = SparkSession.builder.appName("spark_keras job").getOrCreate()
    table = spark.read.parquet(arguments.input)
    numbers = [f.name for f in table.schema if isinstance(f.dataType, NumericType) and f.name != arguments.label]
    train, test = table.dropna(subset=[*numbers, arguments.label]).randomSplit([0.8, 0.2], seed=0)

    indexer = StringIndexer(inputCol=arguments.label, outputCol="label_index", handleInvalid="skip").fit(train)
    classifier = KerasClassifier(
        model=network(classes=len(indexer.labels)),
        labelCol="label_index",
        epochs=arguments.epochs,
        batchSize=arguments.batch_size,
        verbose=2,
    )
    if arguments.workers:
        classifier.setNumWorkers(arguments.workers)
    stages = [
        indexer,
        VectorAssembler(inputCols=numbers, outputCol="numbers"),
        StandardScaler(inputCol="numbers", outputCol="features", withMean=True),
        classifier,
    ]
    fitted = Pipeline(stages=stages).fit(train)
    print(fitted.stages[-1].summary)

    evaluator = MulticlassClassificationEvaluator(labelCol="label_index", metricName="accuracy")
    print(f"Accuracy on rows that were not trained: {evaluator.evaluate(fitted.transform(test)):.4f}")
    fitted.write().overwrite().save(arguments.output)
    print(f"Saved to {arguments.output}")


if __name__ == "__main__":
    main()
