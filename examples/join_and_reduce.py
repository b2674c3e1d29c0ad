"""Customers and their purchases: joined, reduced to one row for each customer, ranked.

python examples/join_and_reduce.py
"""

import argparse

from pyspark.sql import SparkSession

from spark_keras.preparation import TransformProcess, col, countRows

CUSTOMERS = [(1239, "Jane", "Citizen", "USA"), (2094, "John", "User", "France"), (3465, "Yumemi", "Hoshino", "Japan")]
PURCHASES = [
    (1239, "2016-03-01", "tea", 12.5),
    (1239, "2016-03-09", "kettle", 40.0),
    (3465, "2016-02-11", "tea", 11.0),
    (3465, "2016-03-02", "cup", 7.5),
    (3465, "2016-03-20", "tea", 10.0),
]


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)
    spark = SparkSession.builder.master(arguments.master).appName("join and reduce").getOrCreate()
    customers = spark.createDataFrame(CUSTOMERS, "customerID long, first string, last string, country string")
    purchases = spark.createDataFrame(PURCHASES, "customerID long, day string, product string, price double")

    # Each customer is there once: validate checks it.
    joined = TransformProcess(customers).join(purchases, on="customerID", how="inner", validate="1:m")
    rows = joined.transform(customers)
    print(f"Joined, {rows.count()} rows; one customer has bought nothing:")
    rows.orderBy("customerID", "day").show()

    reduced = (
        joined.concat("name", "first", "last", separator=" ")
        .groupBy("customerID", "name")
        .agg(
            purchases=countRows(),
            products=col("product").countDistinct(),
            total=col("price").sum(),
            tea=col("price").sum(where=col("product") == "tea"),
            latest=col("product").last(by="day"),
        )
        .rank("place", orderBy="total", descending=True)
    )
    print(reduced)
    reduced.transform(customers).orderBy("place").show()


if __name__ == "__main__":
    main()
