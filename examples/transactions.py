"""Card transactions made ready for learning: a schema, its check against the data, and a transform process.

Customers and merchants are removed, the rows of two countries kept, negative amounts corrected, and the time of day
taken from the time. The same process is saved, and applied as it was.

    python examples/transactions.py
"""

import argparse
import os
import tempfile

from pyspark.sql import SparkSession

from spark_keras.preparation import DataQuality, Schema, TransformProcess, col

TRANSACTIONS = """\
2016-01-01 17:00:00.000,830a7u3,u323fy8902,1,USA,100.00,Legit
2016-01-01 18:03:01.256,830a7u3,9732498oeu,3,FR,73.20,Legit
2016-01-03 02:53:32.231,78ueoau32,w234e989,1,USA,1621.00,Fraud
2016-01-03 09:30:16.832,t842uocd,9732498oeu,4,USA,43.19,Legit
2016-01-04 23:01:52.920,t842uocd,cza8873bm,10,MX,159.65,Legit
2016-01-05 02:28:10.648,t842uocd,fgcq9803,6,CAN,26.33,Fraud
2016-01-05 10:15:36.483,rgc707ke3,tn342v7,2,USA,-0.90,Legit
"""


def main(argv=None):
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--master", default="local[2]")
    arguments = parser.parse_args(argv)
    spark = SparkSession.builder.master(arguments.master).appName("transactions").getOrCreate()

    schema = (
        Schema()
        .string("time", "customer", "merchant")
        .integer("items", minimum=1)
        .categorical("country", ["USA", "CAN", "FR", "MX"])
        .double("amount", minimum=0)
        .categorical("label", ["Fraud", "Legit"])
    )
    process = (
        TransformProcess(schema)
        .remove("customer", "merchant")
        .keepWhere(col("country").isIn("USA", "CAN"))
        .replaceWhere("amount", 0.0, col("amount") < 0)
        .parseTime("time", "yyyy-MM-dd HH:mm:ss.SSS", zone="UTC")
        .deriveTime("time", {"hour": "hour"})
        .remove("time")
        .categoricalToOneHot("country")
        .categoricalToInteger("label")
    )
    # What comes out of each step is known before there are any data.
    print(process)

    with tempfile.TemporaryDirectory() as folder:
        path = os.path.join(folder, "transactions.csv")
        with open(path, "w") as file:
            file.write(TRANSACTIONS)
        transactions = spark.read.csv(path, schema=schema.toDDL())
        print("\nThe data against the schema; one amount is negative:")
        print(DataQuality.of(transactions, schema))
        print(f"\nValues that a step cannot use: {process.problems(transactions)}")

        process.save(os.path.join(folder, "process"))
        loaded = TransformProcess.load(os.path.join(folder, "process"))
        loaded.transform(transactions).show()


if __name__ == "__main__":
    main()
