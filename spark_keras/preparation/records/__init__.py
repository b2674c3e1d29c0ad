"""One record through a process, as Python values and without Spark: what `TransformProcess.apply` does.

Each step has it as its method `record`, each condition as `answer`, of what is here. A value is None, a bool, int,
float, str, bytes, list or `datetime.date`; a point in time is a `datetime.datetime` with its zone, a time of no zone
one without.
"""
