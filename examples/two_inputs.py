"""Two inputs: a recommender that learns a vector for each user and each item from ratings.

The ratings are made here, so that the best possible error is known: a low-rank matrix plus noise of 0.5 stars. Always
guessing the mean gives an RMSE of 1.1 stars; a perfect model cannot go below 0.5.

    python examples/two_inputs.py
"""

import argparse
import math

import keras
import numpy as np
import pandas as pd
from pyspark.ml.evaluation import RegressionEvaluator
from pyspark.sql import SparkSession
from pyspark.sql import functions as F

from spark_keras import KerasRegressor

USERS, ITEMS, RANK, NOISE = 300, 200, 2, 0.5


def ratings(spark, rows):
    """Ratings around 3 stars: every user has RANK tastes, every item RANK qualities."""
    random = np.random.default_rng(0)
    tastes = random.normal(size=(USERS, RANK)) / math.sqrt(RANK)
    qualities = random.normal(size=(ITEMS, RANK))
    user, item = random.integers(USERS, size=rows), random.integers(ITEMS, size=rows)
    stars = 3 + (tastes[user] * qualities[item]).sum(axis=1) + NOISE * random.normal(size=rows)
    return spark.createDataFrame(pd.DataFrame({"user_id": user, "item_id": item, "stars": stars}))


def network(dimensions=RANK):
    """The dot product of a user's and an item's vector, and how generous the user and how good the item is."""
    keras.utils.set_random_seed(1)
    user = keras.Input((), dtype="int32", name="user")
    item = keras.Input((), dtype="int32", name="item")
    match = keras.layers.Dot(axes=1)(
        [keras.layers.Embedding(USERS, dimensions)(user), keras.layers.Embedding(ITEMS, dimensions)(item)]
    )
    generosity, quality = keras.layers.Embedding(USERS, 1)(user), keras.layers.Embedding(ITEMS, 1)(item)
    together = keras.layers.Concatenate()([match, generosity, quality])
    model = keras.Model([user, item], keras.layers.Dense(1, name="stars")(together))
    model.compile(optimizer=keras.optimizers.Adam(0.01), loss="mse")
    return model


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--rows", type=int, default=20_000, help="number of ratings")
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)

    spark = SparkSession.builder.master(arguments.master).appName("two inputs").getOrCreate()
    train, test = ratings(spark, arguments.rows).randomSplit([0.8, 0.2], seed=1)

    regressor = KerasRegressor(
        model=network(),
        inputCols={"user": "user_id", "item": "item_id"},
        labelCol="stars",
        epochs=arguments.epochs,
        batchSize=64,
    )
    fitted = regressor.fit(train)
    print(fitted.summary)

    predictions = fitted.transform(test)
    predictions.show(5)
    evaluator = RegressionEvaluator(labelCol="stars", metricName="rmse")
    mean = train.agg(F.avg("stars")).first()[0]
    baseline = evaluator.evaluate(test.withColumn("prediction", F.lit(mean)))
    print(f"RMSE on unseen ratings, always guessing the mean: {baseline:.4f}")
    print(f"RMSE on unseen ratings, the network: {evaluator.evaluate(predictions):.4f}")


if __name__ == "__main__":
    main()
