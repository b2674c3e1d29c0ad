"""Transform processes as a whole: published examples, joins, refusals, what is printed, saving, pipelines."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from pyspark.ml import Pipeline, PipelineModel
from pyspark.ml.feature import StandardScaler, VectorAssembler
from pyspark.sql import functions as F

from spark_keras import DataFrameAnalyzer, DriftError, KerasClassifier
from spark_keras.preparation import Schema, TransformProcess, col

TRANSACTIONS = """\
2016-01-01 17:00:00.000,830a7u3,u323fy8902,1,USA,100.00,Legit
2016-01-01 18:03:01.256,830a7u3,9732498oeu,3,FR,73.20,Legit
2016-01-03 02:53:32.231,78ueoau32,w234e989,1,USA,1621.00,Fraud
2016-01-03 09:30:16.832,t842uocd,9732498oeu,4,USA,43.19,Legit
2016-01-04 23:01:52.920,t842uocd,cza8873bm,10,MX,159.65,Legit
2016-01-05 02:28:10.648,t842uocd,fgcq9803,6,CAN,26.33,Fraud
2016-01-05 10:15:36.483,rgc707ke3,tn342v7,2,USA,-0.90,Legit
"""
SCHEMA = (
    Schema()
    .string("time", "customer", "merchant")
    .integer("items")
    .categorical("country", ["USA", "CAN", "FR", "MX"])
    .double("amount")
    .categorical("label", ["Fraud", "Legit"])
)


def csv(spark, text, schema, path):
    (path / "rows.csv").write_text(text)
    return spark.read.csv(str(path / "rows.csv"), schema=schema.toDDL())


def cleaned():
    return (
        TransformProcess(SCHEMA)
        .remove("customer", "merchant")
        .keepWhere(col("country").isIn("USA", "CAN"))
        .replaceWhere("amount", 0.0, col("amount") < 0)
        .parseTime("time", "yyyy-MM-dd HH:mm:ss.SSS", zone="UTC")
        .deriveTime("time", {"hour": "hour"})
        .remove("time")
    )


# --- published examples ----------------------------------------------------------------------------------------------


@pytest.mark.oldest
@pytest.mark.parametrize("zone", ["UTC", "Asia/Kathmandu"])
def test_transactions(spark, tmp_path, zone):
    before = spark.conf.get("spark.sql.session.timeZone")
    spark.conf.set("spark.sql.session.timeZone", zone)
    made = cleaned().transform(csv(spark, TRANSACTIONS, SCHEMA, tmp_path)).collect()
    spark.conf.set("spark.sql.session.timeZone", before)
    assert [tuple(row) for row in made] == [
        (17, 1, "USA", 100.00, "Legit"),
        (2, 1, "USA", 1621.00, "Fraud"),
        (9, 4, "USA", 43.19, "Legit"),
        (2, 6, "CAN", 26.33, "Fraud"),
        (10, 2, "USA", 0.0, "Legit"),
    ]


def test_storm_reports(spark, tmp_path):
    schema = Schema().string("datetime", "severity", "location", "county", "state").double("lat", "lon")
    schema = schema.string("comment").categorical("type", ["TOR", "WIND", "HAIL"])
    texts = ["datetime", "severity", "location", "county", "state", "comment"]
    process = TransformProcess(schema).remove(*texts).categoricalToInteger("type")
    report = "TRAINED SPOTTER REPORTS TORNADO ON THE GROUND. (ICT)"
    line = f"161006-1655,UNK,2 SE BARTLETT,LABETTE,KS,37.03,-95.19,{report},TOR\n"
    assert process.transform(csv(spark, line, schema, tmp_path)).collect() == [(37.03, -95.19, 0)]


@pytest.fixture(scope="module")
def shop():
    from conftest import LOCAL, session_for

    spark = session_for(LOCAL)
    customers = [
        (1239, "Jane", "Citizen", "USA"),
        (2094, "John", "User", "France"),
        (3465, "Yumemi", "Hoshino", "Japan"),
    ]
    purchases = [(1239, 1, 9.5), (1239, 2, 20.0), (3465, 3, 1.0), (3465, 4, 2.0), (3465, 5, 3.0)]
    return (
        spark.createDataFrame(customers, "customerID long, first string, last string, country string"),
        spark.createDataFrame(purchases, "customerID long, purchase int, price double"),
    )


@pytest.mark.oldest
@pytest.mark.parametrize("how", ["inner", "left", "right", "full"])
def test_joins_are_those_of_pandas(shop, how):
    customers, purchases = shop
    others = purchases.unionByName(
        purchases.sparkSession.createDataFrame([(7, 6, 4.0), (None, 7, 5.0)], purchases.schema)
    )
    process = TransformProcess(customers).join(others, on="customerID", how=how)
    made = process.transform(customers)
    assert made.columns == ["customerID", "first", "last", "country", "purchase", "price"] == process.schema.names
    # Null keys match nothing; pandas would join them with each other, but there is one here only.
    named = "outer" if how == "full" else how
    expected = customers.toPandas().merge(others.toPandas(), on="customerID", how=named)
    expected = expected.astype(object).where(expected.notna(), None).values.tolist()
    assert sorted(map(str, map(list, made.collect()))) == sorted(
        str([row[0] if row[0] is None else int(row[0]), *row[1:4], row[4] if row[4] is None else int(row[4]), row[5]])
        for row in expected
    )
    for field in process.schema:
        assert field.nullable or made.where(F.col(field.name).isNull()).count() == 0


def test_customers_and_purchases(shop):
    customers, purchases = shop
    made = TransformProcess(customers).join(purchases, on="customerID").transform(customers).collect()
    assert len(made) == 5 and {row.customerID for row in made} == {1239, 3465}
    assert made[0].__fields__.count("customerID") == 1


def test_keys_of_a_join_are_checked(shop):
    customers, purchases = shop
    process = TransformProcess(purchases)
    once = process.join(customers, on={"customerID": "customerID"}, validate="m:1")
    assert once.transform(purchases).count() == 5
    twice = TransformProcess(customers).join(purchases, on="customerID", validate="1:1")
    with pytest.raises(
        Exception, match="Key of step join occurs more than once in the other table. Received: (1239|3465)"
    ):
        twice.transform(customers).collect()
    with pytest.raises(Exception, match="occurs more than once here"):
        process.join(customers, on="customerID", validate="1:m").transform(purchases).collect()
    for other, on, message in [
        (customers.withColumnRenamed("customerID", "id"), "customerID", "Unknown column in step join, the other table"),
        (
            customers.selectExpr("CAST(customerID AS string) customerID"),
            "customerID",
            "customerID: long here, .*string in",
        ),
        (customers.withColumn("price", F.lit(1)), "customerID", "on both sides. Received: \\['price'\\]"),
        (customers, [], "No keys in step join"),
    ]:
        with pytest.raises(ValueError, match=message):
            process.join(other, on=on)
    with pytest.raises(TypeError, match="Invalid table in step join. Received: 3"):
        process.join(3, on="customerID")


@pytest.mark.oldest
def test_joined_rows_are_saved_with_the_process_and_joined_tables_by_name(shop, tmp_path):
    customers, purchases = shop
    names = customers.withColumnRenamed("customerID", "id")
    process = TransformProcess(purchases).join(names, on={"customerID": "id"}, how="left")
    with pytest.raises(ValueError, match="Step 'join' joins a DataFrame, which JSON cannot hold"):
        process.toJSON()
    process.save(str(tmp_path / "rows"))
    loaded = TransformProcess.load(str(tmp_path / "rows"))
    expected = sorted(process.transform(purchases).collect())
    assert sorted(loaded.transform(purchases).collect()) == expected
    assert loaded.schema == process.schema

    names.createOrReplaceTempView("names_of_customers")
    by_name = TransformProcess(purchases).join("names_of_customers", on={"customerID": "id"}, how="left")
    copy = TransformProcess.fromJSON(by_name.toJSON())
    names.where("id = 1239").createOrReplaceTempView("names_of_customers")
    assert {row.first for row in copy.transform(purchases).collect()} == {"Jane", None}
    names.select("id", "first").createOrReplaceTempView("names_of_customers")
    with pytest.raises(ValueError, match="does not agree with the schema of step join. Received: no column 'last'"):
        copy.transform(purchases)
    purchases.sparkSession.catalog.dropTempView("names_of_customers")


# --- immutable, named, printed ---------------------------------------------------------------------------------------


def test_print_shows_the_schema_after_every_step():
    assert (
        str(cleaned().named("time is known by its hour"))
        == """\
TransformProcess, 6 steps
     → time: string, customer: string, merchant: string, items: integer, country: categorical {USA, CAN, FR,
       MX}, amount: double, label: categorical {Fraud, Legit}
1. remove('customer', 'merchant')
     → time: string, items: integer, country: categorical {USA, CAN, FR, MX}, amount: double, label:
       categorical {Fraud, Legit}
2. keepWhere(col('country').isIn('USA', 'CAN'))
     → the same columns
3. replaceWhere('amount', 0.0, col('amount') < 0)
     → the same columns
4. parseTime('time', ['yyyy-MM-dd HH:mm:ss.SSS'])
     → time: time UTC, items: integer, country: categorical {USA, CAN, FR, MX}, amount: double, label:
       categorical {Fraud, Legit}
5. deriveTime('time', {'hour': 'hour'})
     → time: time UTC, hour: integer 0…23, items: integer, country: categorical {USA, CAN, FR, MX}, amount:
       double, label: categorical {Fraud, Legit}
6. time is known by its hour: remove('time')
     → hour: integer 0…23, items: integer, country: categorical {USA, CAN, FR, MX}, amount: double, label:
       categorical {Fraud, Legit}"""
    )


def test_all_steps_are_one_plan_without_python(spark, tmp_path):
    process = cleaned().categoricalToInteger("label").categoricalToOneHot("country")
    df = csv(spark, TRANSACTIONS, SCHEMA, tmp_path)
    plan = process.transform(df)._jdf.queryExecution().executedPlan().toString()
    assert "Python" not in plan and plan.count("Project") == 1 and "Exchange" not in plan


# --- refused when added ----------------------------------------------------------------------------------------------

START = TransformProcess(SCHEMA)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: START.keepWhere(F.lit(True)), "A Column of pyspark can be neither checked without data nor saved"),
        (lambda: START.keepWhere(0 < col("amount") < 1), "`&`, `\\|` and `~` instead of"),
        (lambda: START.keepWhere(col("amount") and col("items") > 1), "`&`, `\\|` and `~` instead of"),
        (lambda: START.groupBy("label").agg(x="sum"), "Expected: reductions by the names of their columns"),
        (lambda: START.groupBy("label").agg(), "Expected: reductions by the names of their columns"),
        (lambda: START.rename("time"), "Invalid value for step rename"),
        (lambda: START.addTime("time", 1.5, "hours"), "Invalid amount in step addTime. Received: 1.5"),
        (lambda: START.constant("x", None), "Invalid value in step constant. Received: None"),
    ],
)
def test_other_things_than_steps_take_are_refused(make, message, spark):
    with pytest.raises(TypeError, match=message):
        make()


def test_data_that_disagree_with_the_schema_are_refused_before_a_job(spark, tmp_path):
    df = csv(spark, TRANSACTIONS, SCHEMA, tmp_path)
    with pytest.raises(ValueError) as error:
        cleaned().transform(df.drop("country").withColumn("amount", F.lit("1")).withColumn("extra", F.lit(1)))
    message = str(error.value)
    assert "does not agree with the schema that the process starts from" in message
    for part in (
        "no column 'country' (categorical {USA, CAN, FR, MX}), which step 'keepWhere' needs",
        "column 'amount' is string, not double",
    ):
        assert part in message
    assert "extra" not in message


# --- in a pipeline ---------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_pipeline_from_raw_rows_to_predictions_is_saved_and_loaded_as_one(spark, tmp_path):
    rng = np.random.default_rng(3)
    rows = []
    for i in range(240):
        amount, country = float(rng.normal(0, 100)), ["USA", "CAN", "FR"][i % 3]
        fraud = amount > 20 and country != "FR"
        rows.append((f"2016-01-{1 + i % 28:02d} {i % 24:02d}:00", country, amount, "Fraud" if fraud else "Legit"))
    df = spark.createDataFrame(rows, "time string, country string, amount double, label string").coalesce(2).cache()
    process = (
        TransformProcess(df)
        .parseTime("time", "yyyy-MM-dd HH:mm")
        .deriveTime("time", {"hour": "hour"})
        .toCategorical("country", ["USA", "CAN", "FR"])
        .categoricalToOneHot("country")
        .toCategorical("label", ["Legit", "Fraud"])
        .categoricalToInteger("label")
    )
    inputs = ["hour", "country[USA]", "country[CAN]", "country[FR]", "amount"]
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Dense(16, activation="relu"), keras.layers.Dense(2, activation="softmax")])
    model.compile(keras.optimizers.Adam(0.05), "sparse_categorical_crossentropy")
    pipeline = Pipeline(
        stages=[
            process,
            DataFrameAnalyzer(inputCols=["hour", "amount"], onDrift="error"),
            VectorAssembler(inputCols=inputs, outputCol="raw"),
            StandardScaler(inputCol="raw", outputCol="features", withMean=True),
            KerasClassifier(model=model, epochs=12, batchSize=16, numWorkers=1),
        ]
    )
    fitted = pipeline.fit(df)
    # The labels' names came through the categories.
    assert fitted.stages[-1].labels == ["Legit", "Fraud"]
    fitted.save(str(tmp_path / "fitted"))
    loaded = PipelineModel.load(str(tmp_path / "fitted"))
    assert str(loaded.stages[0]) == str(process) and loaded.stages[0].uid == process.uid
    predictions = loaded.transform(df).select("label", "prediction", "probability").collect()
    assert predictions == fitted.transform(df).select("label", "prediction", "probability").collect()
    assert np.mean([row.label == row.prediction for row in predictions]) > 0.9
    # Rows that it was not made for are refused by the analysis, those that are not rows at all by the process.
    with pytest.raises(DriftError, match="Column 'amount'"):
        loaded.transform(df.withColumn("amount", F.col("amount") * 100))
    with pytest.raises(ValueError, match="no column 'country'"):
        loaded.transform(df.drop("country"))
    # As an estimator that is not fitted yet, too.
    pipeline.save(str(tmp_path / "pipeline"))
    assert str(Pipeline.load(str(tmp_path / "pipeline")).getStages()[0]) == str(process)
    assert str(process.copy()) == str(process)
    df.unpersist()
