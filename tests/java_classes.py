"""Writes the Java classes of what most tests ask of Spark to a file, for `noxfile.py`. [file]"""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path

from conftest import JAVA_OPTIONS, LOCAL, session_for
from pyspark import SparkContext
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.evaluation import MulticlassClassificationEvaluator
from pyspark.ml.feature import StringIndexer, VectorAssembler
from pyspark.sql import DataFrame, Window
from pyspark.sql import functions as F


def main(file: str) -> None:
    os.environ["SPARK_SUBMIT_OPTS"] = f'{JAVA_OPTIONS} "-XX:ArchiveClassesAtExit={file}" -Xlog:disable'
    spark = session_for(LOCAL)
    rows = [(number, f"name {number % 3}", [float(number)]) for number in range(20)]
    with tempfile.TemporaryDirectory() as folder:
        spark.createDataFrame(rows, "a int, b string, c array<float>").repartition(2).write.parquet(f"{folder}/rows")
        read = spark.read.parquet(f"{folder}/rows").cache()
        use_sql(read)
        use_pipeline(read, Path(folder, "model"))
    # Java writes the classes when it ends.
    java = SparkContext._gateway
    spark.stop()
    java.shutdown()
    java.proc.stdin.close()
    java.proc.wait()


def use_sql(df: DataFrame) -> None:
    grouped = df.groupBy("b").agg(F.sum("a").alias("sum"), F.collect_list("c").alias("all"))
    df.join(grouped, "b").withColumn("rank", F.row_number().over(Window.partitionBy("b").orderBy("a"))).collect()
    df.mapInArrow(lambda batches: batches, df.schema).rdd.barrier().mapPartitions(lambda part: part).collect()
    df.withColumn("a", F.udf(lambda a: a + 1, "int")("a")).orderBy("a").toPandas()


def use_pipeline(df: DataFrame, folder: Path) -> None:
    stages = [StringIndexer(inputCol="b", outputCol="label"), VectorAssembler(inputCols=["a"], outputCol="features")]
    Pipeline(stages=stages).fit(df).save(str(folder))
    applied = PipelineModel.load(str(folder)).transform(df).withColumn("prediction", F.col("label"))
    MulticlassClassificationEvaluator().evaluate(applied)


if __name__ == "__main__":
    main(sys.argv[1])
