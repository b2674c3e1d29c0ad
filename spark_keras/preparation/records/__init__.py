"""One record through a process, as Python values and without Spark: what `TransformProcess.apply` does.

Each step has a form here of its own; one of a user's own has it as its method `record`. A value is None, a bool, int,
float, str, bytes, list or `datetime.date`; a point in time is a `datetime.datetime` with its zone, a time of no zone
one without.
"""
